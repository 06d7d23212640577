//! Writing down what was found, as a policy that `nsp check` accepts. Pure text.
//!
//! Every resource is in transition, and no two take the same port. What comes from the host's files
//! and programs is quoted where it is a value, and robbed of control characters where it is a comment.

mod host;

use std::{collections::BTreeSet, fmt::Write as _};

use super::{
    published::Published,
    services::{Service, spelt},
    time_servers::TimeServers,
    wireguard::Wireguard,
};
use crate::{
    host::platform::Platform,
    policy::model::{PortRange, Transport},
};

/// What was found.
#[derive(Debug, Default)]
pub(super) struct Found {
    /// Interfaces that will be judged, and why.
    pub(super) judged: Vec<(String, String)>,
    /// Resolvers on other machines.
    pub(super) resolvers: Vec<String>,
    pub(super) platform: Platform,
    pub(super) services: Vec<Service>,
    pub(super) published: Published,
    pub(super) time_servers: TimeServers,
    pub(super) wireguard: Wireguard,
}

/// The policy.
pub(super) fn policy(found: &Found) -> String {
    let Found { judged, resolvers, platform, services, published, time_servers, wireguard } = found;
    let mut text = String::from(
        "# Written by nsp init from what this host does. Nothing is dropped: every resource is in\n\
         # transition. Run it, read `nsp logs`, fill in the rules, then set access_mode = \"enforced\".\n\n\
         [perimeter]\nname = \"this-host\"\npublic_network_access = \"enabled\"\n\n",
    );
    for (name, why) in judged {
        comment(&mut text, &format!("interface {name} will be judged: {why}"));
    }
    if !resolvers.is_empty() {
        let list = resolvers.join(" ");
        comment(&mut text, &format!("resolvers of this host, trusted for DNS: {list}"));
    }
    cloud(&mut text, *platform);
    for note in &published.notes {
        comment(&mut text, note);
    }
    let mut resources =
        Resources { text, taken: Vec::new(), names: [host::NAME.to_owned()].into() };
    for service in services {
        resources.service(service, time_servers);
    }
    for (range, to) in &published.ports {
        resources.published(range, to);
    }
    let mut text = resources.text;
    host::write(&mut text, time_servers, wireguard);
    text
}

fn cloud(text: &mut String, platform: Platform) {
    if platform != Platform::None {
        let known = "its metadata service, agents and health probes need no rule; a profile with \
                     metadata = \"deny\" does without them";
        comment(text, &format!("this is a machine of {platform}: {known}"));
    }
}

/// The resources of parts of the host, as they are written one after the other.
struct Resources {
    text: String,
    /// Ports that have a resource.
    taken: Vec<PortRange>,
    names: BTreeSet<String>,
}

impl Resources {
    fn service(&mut self, service: &Service, time_servers: &TimeServers) {
        let Service { name, unit, ports } = service;
        let free: Vec<PortRange> = ports.iter().flat_map(|range| self.free(range)).collect();
        if free.is_empty() && unit.is_none() {
            return;
        }
        let name = self.unique(name);
        self.text.push('\n');
        for range in ports.iter().filter(|range| !free.contains(range)) {
            comment(&mut self.text, &format!("{range} is another resource's too, which keeps it"));
        }
        self.profile(&name);
        // A time server asks others from the port that it answers on.
        let time = PortRange { transport: Transport::Udp, first: 123, last: 123 };
        if ports.contains(&time) {
            host::time_rule(&mut self.text, &key(&name), time_servers);
        }
        self.resource(&name, unit.as_deref(), &free);
    }

    fn published(&mut self, range: &PortRange, to: &BTreeSet<String>) {
        let free = self.free(range);
        if free.is_empty() {
            return;
        }
        let name = self.unique(&format!("published-{}", spelt(range)));
        let to = Vec::from_iter(to.iter().map(String::as_str)).join(", ");
        self.text.push('\n');
        let line = format!(
            "Published by address translation, without a listener on this host: leads to {to}"
        );
        comment(&mut self.text, &line);
        self.profile(&name);
        self.resource(&name, None, &free);
    }

    fn profile(&mut self, name: &str) {
        let key = key(name);
        write(
            &mut self.text,
            format_args!(
                "# Who may reach it: add rules, one table each, for example\n\
                 # [profile.{key}.inbound.office]\n\
                 # address_prefixes = [\"203.0.113.0/24\"]\n\
                 [profile.{key}]\n"
            ),
        );
    }

    fn resource(&mut self, name: &str, unit: Option<&str>, ports: &[PortRange]) {
        let text = &mut self.text;
        write(text, format_args!("\n[resource.{}]\n", key(name)));
        if let Some(unit) = unit {
            write(text, format_args!("unit = {}\n", quoted(unit)));
        }
        if !ports.is_empty() {
            write(text, format_args!("ports = {}\n", list(ports)));
        }
        write(text, format_args!("profile = {}\naccess_mode = \"transition\"\n", quoted(name)));
        self.taken.extend_from_slice(ports);
    }

    /// What is left of a range when every port has at most one resource.
    fn free(&self, range: &PortRange) -> Vec<PortRange> {
        let mut free = vec![*range];
        for taken in &self.taken {
            free = free.into_iter().flat_map(|range| without(&range, taken)).collect();
        }
        free
    }

    /// A name of Azure's form that no other resource has.
    fn unique(&mut self, wanted: &str) -> String {
        let plain = |c: char| if c.is_ascii_alphanumeric() || "_.-".contains(c) { c } else { '-' };
        let name: String = wanted.chars().map(plain).take(NAME_LEN_MAX).collect();
        let name = match name.trim_matches(['-', '.', '_']) {
            "" => "service",
            name => name,
        };
        let numbered = (2..).map(|number| format!("{name}-{number}"));
        let mut candidates = [name.to_owned()].into_iter().chain(numbered);
        let unique = candidates.find(|name| !self.names.contains(name));
        let unique = unique.expect("there are always more numbers");
        self.names.insert(unique.clone());
        unique
    }
}

/// Shorter than a name may be, so that a number fits behind it.
const NAME_LEN_MAX: usize = 70;

/// The parts of a range that are outside another one.
fn without(range: &PortRange, other: &PortRange) -> Vec<PortRange> {
    let PortRange { transport, first, last } = *range;
    if !range.overlaps(other) {
        return vec![*range];
    }
    let below = first..other.first;
    let above = (other.last < last).then(|| PortRange { transport, first: other.last + 1, last });
    let below = (!below.is_empty()).then(|| PortRange { transport, first, last: other.first - 1 });
    below.into_iter().chain(above).collect()
}

/// A name as part of a table's header: with a dot in it, it would be two parts.
fn key(name: &str) -> String {
    if name.contains('.') { quoted(name) } else { name.to_owned() }
}

/// A string of TOML; JSON's have the same form.
fn quoted(text: &str) -> String {
    serde_json::Value::from(text).to_string()
}

/// A list of strings.
fn list<T: ToString>(values: impl IntoIterator<Item = T>) -> String {
    let values: Vec<String> = values.into_iter().map(|value| quoted(&value.to_string())).collect();
    format!("[{}]", values.join(", "))
}

/// A comment of one line.
fn comment(text: &mut String, line: &str) {
    let line = line.replace(char::is_control, " ");
    write(text, format_args!("# {}\n", line.trim_end()));
}

fn write(text: &mut String, words: std::fmt::Arguments<'_>) {
    // Writing to a string does not fail.
    let _written = text.write_fmt(words);
}

#[cfg(test)]
mod tests;
