//! What `nsp exec --allow` takes: one destination, by name or address, with or without ports.

use ipnet::IpNet;

use super::{
    diagnose::{Position, Refusal, quoted},
    fqdn::Fqdn,
    model::OutboundRule,
    name::Name,
    ports::{PortSet, PortSpec},
    prefix::{PrefixSet, parse_prefix, widest},
};

/// One destination: `github.com`, `*.crates.io:443/tcp`, `192.0.2.0/24:8000-8090/tcp`,
/// `[2001:db8::/32]:443/tcp`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Allowed {
    peer: Peer,
    ports: Option<PortSpec>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Peer {
    Name(Fqdn),
    Prefix(IpNet),
}

impl Allowed {
    /// Reads one.
    ///
    /// # Errors
    /// What is wrong with it, and the cure.
    pub(crate) fn parse(text: &str) -> Result<Self, Refusal> {
        let (peer, ports) = split(text)?;
        let peer = match address_part(peer) {
            Some(prefix) => Peer::Prefix(narrow(parse_prefix(prefix)?)?),
            None => Peer::Name(own(peer.parse()?)?),
        };
        let ports = ports.map(PortSpec::parse).transpose();
        let ports = ports.map_err(|refusal| Refusal {
            what: format!("bad ports in {}", quoted(text)),
            // The cure is for the whole of what was typed.
            cure: refusal.cure.map(|cure| format!("{peer}:{}", cure.trim_matches('"'))),
            ..refusal
        })?;
        Ok(Self { peer, ports })
    }

    /// The access rule that it stands for, and its name. Equal destinations have equal names, and
    /// others have others: a conversation in the kernel stands by its rule's name, also when the
    /// next session has that name again.
    pub(crate) fn rule(&self) -> (Name, OutboundRule) {
        let rule = OutboundRule {
            prefixes: match &self.peer {
                Peer::Prefix(prefix) => [*prefix].into_iter().collect(),
                Peer::Name(_) => PrefixSet::default(),
            },
            fqdns: match &self.peer {
                Peer::Name(name) => vec![name.clone()],
                Peer::Prefix(_) => Vec::new(),
            },
            ports: self.ports.map_or(PortSet::Any, |ports| PortSet::listed([ports])),
            allow_any: false,
            allow_public_suffix: false,
            position: Position::default(),
        };
        (Name::naming(&self.to_string()), rule)
    }
}

impl std::fmt::Display for Peer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Name(name) => name.fmt(f),
            Self::Prefix(IpNet::V4(prefix)) => prefix.fmt(f),
            Self::Prefix(IpNet::V6(prefix)) => write!(f, "[{prefix}]"),
        }
    }
}

impl std::fmt::Display for Allowed {
    /// As it can be read again.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.peer.fmt(f)?;
        match self.ports {
            Some(ports) => write!(f, ":{ports}"),
            None => Ok(()),
        }
    }
}

/// The peer, and the ports where there are some.
fn split(text: &str) -> Result<(&str, Option<&str>), Refusal> {
    if text.starts_with('[') {
        let bad = || {
            let why = "an IPv6 address with ports is written [2001:db8::1]:443/tcp";
            Refusal::new(format!("bad destination {}", quoted(text)), why)
        };
        let end = text.find(']').ok_or_else(bad)?;
        let (peer, rest) = (&text[..=end], &text[end + 1..]);
        return match (rest, rest.strip_prefix(':')) {
            ("", _) => Ok((peer, None)),
            (_, Some(ports)) => Ok((peer, Some(ports))),
            _ => Err(bad()),
        };
    }
    if parse_prefix(text).is_ok() || text.contains("://") {
        return Ok((text, None));
    }
    match text.split_once(':') {
        // One colon: what follows are ports. Several: an IPv6 address, or what was meant for one.
        Some((peer, ports)) if !ports.contains(':') => Ok((peer, Some(ports))),
        _ => Ok((text, None)),
    }
}

/// What is written as an address or a prefix, without brackets; a name is not.
fn address_part(peer: &str) -> Option<&str> {
    let bare = peer.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')).unwrap_or(peer);
    let address = bare.split_once('/').map_or(bare, |(address, _)| address);
    (address.parse::<std::net::IpAddr>().is_ok() || address.contains(':') && !peer.contains("://"))
        .then_some(bare)
}

fn narrow(prefix: IpNet) -> Result<IpNet, Refusal> {
    match widest(prefix) {
        None => Ok(prefix),
        Some(whom) => Err(Refusal::new(
            format!("`{prefix}` is {whom}"),
            "a perimeter with such a hole is none",
        )),
    }
}

/// Not a wildcard below which everybody can have a name.
fn own(name: Fqdn) -> Result<Fqdn, Refusal> {
    if name.is_below_public_suffix() {
        let what = format!("`{name}` admits every name below a public suffix");
        return Err(Refusal::new(what, "anybody can register one"));
    }
    Ok(name)
}

#[cfg(test)]
mod tests {
    use rstest::rstest;

    use super::*;

    #[rstest]
    #[case::name("github.com", "github.com")]
    #[case::wildcard("*.Crates.io", "*.crates.io")]
    #[case::ports("github.com:443/tcp", "github.com:443/tcp")]
    #[case::range("github.com:8000-8090/udp", "github.com:8000-8090/udp")]
    #[case::v4("192.0.2.1", "192.0.2.1/32")]
    #[case::v4_prefix_and_port("192.0.2.0/24:443/tcp", "192.0.2.0/24:443/tcp")]
    #[case::v6("2001:db8::1", "[2001:db8::1/128]")]
    #[case::v6_prefix_and_port("[2001:db8::/32]:443/tcp", "[2001:db8::/32]:443/tcp")]
    #[case::icmp("192.0.2.1:icmp", "192.0.2.1/32:icmp")]
    fn what_is_read_can_be_read_again(#[case] text: &str, #[case] expected: &str) {
        let allowed = Allowed::parse(text).unwrap();
        assert_eq!(allowed.to_string(), expected);
        assert_eq!(Allowed::parse(expected).unwrap(), allowed);
    }

    #[rstest]
    #[case::everybody("0.0.0.0/0", "every IPv4 address")]
    #[case::everybody_v6("::/0", "every IPv6 address")]
    #[case::top("*.com", "first label")]
    #[case::public_suffix("*.co.uk", "public suffix")]
    #[case::one_label("localhost", "localhost")]
    #[case::empty("", "bad name")]
    #[case::host_bits("192.0.2.1/24", "192.0.2.1/24")]
    #[case::unclosed("[2001:db8::1", "destination")]
    #[case::url("https://github.com/x", "github.com")]
    #[case::not_v6("2001:db8::zz", "2001:db8::zz")]
    fn what_is_no_destination_is_refused(#[case] text: &str, #[case] shown: &str) {
        let refusal = Allowed::parse(text).unwrap_err();
        let all = format!("{} {}", refusal.what, refusal.why);
        assert!(all.contains(shown), "{all}");
    }

    #[test]
    fn a_bare_port_is_cured() {
        let refusal = Allowed::parse("github.com:443").unwrap_err();
        assert_eq!(refusal.cure.as_deref(), Some("github.com:443/tcp"));
    }

    #[test]
    fn rules_of_different_destinations_have_different_names() {
        let name = |text: &str| Allowed::parse(text).unwrap().rule().0.to_string();
        assert_eq!(name("github.com"), "github.com");
        let texts = [
            "a.example.com",
            "*.a.example.com",
            "any.a.example.com",
            "a.example.com:443/tcp",
            "a.example.com-443-tcp",
            "192.0.2.0/24",
            "2001:db8::/32",
            "2001:db8::32",
        ];
        let names: std::collections::BTreeSet<String> = texts.iter().map(|it| name(it)).collect();
        assert_eq!(names.len(), texts.len(), "{names:?}");
        let long = format!("{}.example.com", "a".repeat(60));
        assert_ne!(name(&format!("x.{long}")), name(&format!("x.{long}:443/tcp")));
    }
}
