//! `nsp init`: a first policy from what this host does, all in transition.

use std::{collections::BTreeMap, fmt::Write as _, path::PathBuf};

use clap::Args;

use super::Failure;
use crate::{
    daemon::with_sources,
    host::{
        cgroups::{self, Tree, unit_of},
        links, resolvers, routes,
        sockets::{self, Listener},
    },
    policy,
};

/// Look at this host and write a first policy: its services, all in transition, so that nothing is
/// dropped and the access log shows what would be.
#[derive(Args, Debug)]
pub(crate) struct Init {
    /// Write it there; - is standard output
    #[arg(short, long, value_name = "FILE", default_value = "-")]
    output: PathBuf,
    /// The host's resolver configuration
    #[arg(long, value_name = "FILE", env = "NSP_RESOLV_CONF", default_value = "/etc/resolv.conf")]
    resolv_conf: PathBuf,
}

/// What listens together: a unit, or a port without one.
#[derive(Default)]
struct Service {
    unit: Option<String>,
    ports: Vec<(u16, &'static str)>,
}

/// What was found.
struct Found {
    services: BTreeMap<String, Service>,
    judged: Vec<(String, String)>,
    resolvers: Vec<String>,
}

impl Init {
    pub(super) fn run(self) -> Result<(), Failure> {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .map_err(|error| Failure::failed(format!("cannot start the runtime: {error}")))?;
        let found = runtime.block_on(look(&self.resolv_conf))?;
        let text = write_policy(&found);
        if self.output.as_os_str() == "-" {
            print!("{text}");
            return Ok(());
        }
        if self.output.exists() {
            return Err(Failure::failed(format!("{} exists already", self.output.display()))
                .with_cure("nsp init -o ANOTHER-FILE"));
        }
        std::fs::write(&self.output, text).map_err(|error| {
            Failure::failed(format!("cannot write {}: {error}", self.output.display()))
        })?;
        // What is written here must be accepted there.
        policy::load(&self.output).map_err(|errors| Failure::failed(errors.to_string()))?;
        println!("wrote {}; next: nsp check {0}", self.output.display());
        Ok(())
    }
}

async fn look(resolv_conf: &std::path::Path) -> Result<Found, Failure> {
    let failed = |error: &dyn std::error::Error| Failure::failed(with_sources(error));
    let links = links::read().await.map_err(|error| failed(&error))?;
    let routes = routes::read().await.map_err(|error| failed(&error))?;
    let listeners = sockets::listeners().await.map_err(|error| failed(&error))?;
    let private: Vec<ipnet::IpNet> =
        crate::compile::PRIVATE_PREFIXES.iter().filter_map(|text| text.parse().ok()).collect();
    let choices = links::choose(&links, &routes, &[], &private);
    let judged =
        choices.judged().map(|choice| (choice.name.clone(), choice.reason.clone())).collect();
    let tree = cgroups::mount_point().ok().and_then(|mount| Tree::read(&mount).ok());
    let files = resolvers::ResolverFiles { resolv_conf: resolv_conf.into(), ..Default::default() };
    let resolvers = resolvers::read(&files)
        .map(|found| found.remote().map(|it| it.address.to_string()).collect())
        .unwrap_or_default();
    Ok(Found { services: services(&listeners, tree.as_ref()), judged, resolvers })
}

/// Groups listeners that can be reached from outside.
fn services(listeners: &[Listener], tree: Option<&Tree>) -> BTreeMap<String, Service> {
    let ephemeral = sockets::ephemeral_ports().unwrap_or(32768..=60999);
    let mut services: BTreeMap<String, Service> = BTreeMap::new();
    for listener in listeners {
        // A UDP client that is not connected looks like a listener.
        let is_client = listener.protocol == 17 && ephemeral.contains(&listener.port);
        if listener.address.is_loopback() || is_client {
            continue;
        }
        let protocol = if listener.protocol == 17 { "udp" } else { "tcp" };
        let unit = listener
            .cgroup
            .and_then(|id| tree?.path_of(id))
            .and_then(unit_of)
            .filter(|unit| unit.ends_with(".service"))
            .map(ToOwned::to_owned);
        let name = match &unit {
            Some(unit) => name_of(unit.trim_end_matches(".service")),
            None => format!("port-{}-{protocol}", listener.port),
        };
        let service = services.entry(name).or_insert(Service { unit, ports: Vec::new() });
        service.ports.push((listener.port, protocol));
        service.ports.sort_unstable();
        service.ports.dedup();
    }
    services
}

/// A name of Azure's form: letters, digits, dots, dashes and underscores.
fn name_of(text: &str) -> String {
    let plain = |c: char| if c.is_ascii_alphanumeric() || "_.-".contains(c) { c } else { '-' };
    let name: String = text.chars().map(plain).take(80).collect();
    name.trim_matches(['-', '.', '_']).to_owned()
}

fn write_policy(found: &Found) -> String {
    let mut text = String::from(
        "# Written by nsp init from what this host does. Nothing is dropped: every resource is in\n\
         # transition. Run it, read `nsp logs`, fill in the rules, then set access_mode = \"enforced\".\n\n\
         [perimeter]\nname = \"this-host\"\npublic_network_access = \"enabled\"\n\n",
    );
    for (name, why) in &found.judged {
        // Writing to a string does not fail.
        let _written = writeln!(text, "# interface {name} will be judged: {why}");
    }
    if !found.resolvers.is_empty() {
        let list = found.resolvers.join(" ");
        let _written = writeln!(text, "# resolvers of this host, trusted for DNS: {list}");
    }
    for (name, service) in &found.services {
        let ports: Vec<String> =
            service.ports.iter().map(|(port, protocol)| format!("\"{port}/{protocol}\"")).collect();
        let _written = write!(
            text,
            "\n# Who may reach it: add rules, one table each, for example\n\
             # [profile.{name}.inbound.office]\n\
             # address_prefixes = [\"203.0.113.0/24\"]\n\
             [profile.{name}]\n\n[resource.{name}]\n"
        );
        if let Some(unit) = &service.unit {
            let _written = writeln!(text, "unit = \"{unit}\"");
        }
        let _written = writeln!(
            text,
            "ports = [{}]\nprofile = \"{name}\"\naccess_mode = \"transition\"",
            ports.join(", ")
        );
    }
    text
}
