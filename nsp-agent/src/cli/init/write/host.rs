//! The resource that is the rest of the host, with what the host itself must reach.

use std::{
    collections::BTreeSet,
    net::{IpAddr, SocketAddr},
};

use super::{comment, list, write as put};
use crate::cli::init::{time_servers::TimeServers, wireguard::Wireguard};

/// What the resource and its profile are called.
pub(super) const NAME: &str = "host";

/// Writes the profile and the resource, the last one of the file.
pub(super) fn write(text: &mut String, time_servers: &TimeServers, wireguard: &Wireguard) {
    text.push_str(
        "\n# The rest of this host: other ports, and all that it and its containers send, but for what\n\
         # the units above send. Add rules, for example\n\
         # [profile.host.inbound.monitoring]\n\
         # address_prefixes = [\"203.0.113.0/24\"]\n\
         # ports = [\"9100/tcp\", \"icmp\"]\n\
         # [profile.host.outbound.os-updates]\n\
         # fqdns = [\"deb.debian.org\", \"security.debian.org\"]\n\
         # ports = [\"80/tcp\", \"443/tcp\"]\n\
         # [profile.host.outbound.mail]\n\
         # address_prefixes = [\"203.0.113.25\"]\n\
         # ports = [\"587/tcp\"]\n\
         [profile.host]\n\n",
    );
    for note in &time_servers.notes {
        comment(text, note);
    }
    if time_servers.is_empty() {
        let line = "No time servers were found: allow those in use, on 123/udp, before you enforce";
        comment(text, line);
    }
    time_rule(text, NAME, time_servers);
    tunnels(text, wireguard);
    text.push_str(
        "\n[resource.host]\nhost = true\nprofile = \"host\"\naccess_mode = \"transition\"\n",
    );
}

/// Writes the rule that lets a profile ask the time, if there is anybody to ask.
pub(super) fn time_rule(text: &mut String, profile: &str, time_servers: &TimeServers) {
    let TimeServers { names, addresses, files, notes: _ } = time_servers;
    if time_servers.is_empty() {
        return;
    }
    let files = Vec::from_iter(files.iter().map(|file| file.display().to_string())).join(", ");
    comment(text, &format!("The time servers, from {files}."));
    if !names.is_empty() {
        text.push_str(
            "# The agent resolves the names by itself; a pool, which gives every asker others, is\n\
             # safer replaced by servers with fixed addresses.\n",
        );
    }
    put(text, format_args!("[profile.{profile}.outbound.time-servers]\n"));
    if !names.is_empty() {
        put(text, format_args!("fqdns = {}\n", list(names)));
    }
    if !addresses.is_empty() {
        put(text, format_args!("address_prefixes = {}\n", list(addresses)));
    }
    text.push_str("ports = [\"123/udp\"]\n");
}

/// Writes the rule for the peers of tunnels, or why there is none.
fn tunnels(text: &mut String, wireguard: &Wireguard) {
    let Wireguard { links, endpoints, note } = wireguard;
    if links.is_empty() {
        return;
    }
    let links = links.join(", ");
    if let Some(why) = note {
        let line =
            format!("WireGuard ({links}): its peers are not known, because {why}; allow them");
        return comment(text, &line);
    }
    if endpoints.is_empty() {
        return comment(text, &format!("WireGuard ({links}): no peer has an endpoint now"));
    }
    comment(text, &format!("WireGuard ({links}): where its peers are now."));
    text.push_str(
        "# Peers that move, or that open the tunnel from outside, need rules of their own.\n\
         [profile.host.outbound.wireguard]\n",
    );
    let addresses: BTreeSet<IpAddr> = endpoints.iter().map(|it| it.ip().to_canonical()).collect();
    let ports: BTreeSet<u16> = endpoints.iter().map(SocketAddr::port).collect();
    let ports = ports.iter().map(|port| format!("{port}/udp"));
    put(text, format_args!("address_prefixes = {}\nports = {}\n", list(&addresses), list(ports)));
}
