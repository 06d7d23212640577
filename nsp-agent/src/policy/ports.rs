//! Port sets: NSP's extension to Azure's access rules.

use std::fmt;

use super::diagnose::{Refusal, quoted};

/// A transport protocol that has ports.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Transport {
    /// TCP, protocol 6.
    Tcp,
    /// UDP, protocol 17.
    Udp,
    /// SCTP, protocol 132.
    Sctp,
}

impl Transport {
    /// Every transport.
    pub const ALL: [Self; 3] = [Self::Tcp, Self::Udp, Self::Sctp];

    /// The word a policy uses for it.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Tcp => "tcp",
            Self::Udp => "udp",
            Self::Sctp => "sctp",
        }
    }

    /// The IP protocol number.
    pub fn number(self) -> u8 {
        match self {
            Self::Tcp => 6,
            Self::Udp => 17,
            Self::Sctp => 132,
        }
    }

    pub(crate) fn from_word(word: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|transport| transport.as_str() == word)
    }
}

/// A range of ports of one transport; `first <= last`, both included.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct PortRange {
    /// The transport.
    pub transport: Transport,
    /// The first port.
    pub first: u16,
    /// The last port.
    pub last: u16,
}

impl PortRange {
    /// Whether some port is in both ranges.
    pub fn overlaps(&self, other: &Self) -> bool {
        self.transport == other.transport && self.first <= other.last && other.first <= self.last
    }
}

impl fmt::Display for PortRange {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { transport, first, last } = self;
        if first == last {
            write!(f, "{first}/{}", transport.as_str())
        } else {
            write!(f, "{first}-{last}/{}", transport.as_str())
        }
    }
}

/// One element of a port set.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum PortSpec {
    /// Ports of a transport. `proto/6`, `proto/17` and `proto/132` are all ports, 0 included.
    Range(PortRange),
    /// ICMP over IPv4 and ICMPv6 over IPv6.
    Icmp,
    /// A whole IP protocol that has no ports here.
    Protocol(u8),
}

impl PortSpec {
    /// Reads `443/tcp`, `8000-8090/tcp`, `icmp` or `proto/47`.
    pub(crate) fn parse(text: &str) -> Result<Self, Refusal> {
        if text == "icmp" {
            return Ok(Self::Icmp);
        }
        let bad = |why: &str| Refusal::new(format!("bad port {}", quoted(text)), why);
        let form = "a port is written 443/tcp, 8000-8090/tcp, 53/udp, icmp or proto/47";
        let Some((left, right)) = text.split_once('/') else {
            return Err(match text.to_ascii_lowercase().as_str() {
                "icmpv6" | "icmp6" | "icmp" => bad(form).cure("\"icmp\""),
                word if Transport::from_word(word).is_some() => {
                    bad(form).cure(format!("\"1-65535/{word}\""))
                }
                _ if parse_ports(text).is_ok() => bad(form).cure(format!("\"{text}/tcp\"")),
                _ => bad(form),
            });
        };
        if left == "proto" {
            return match number::<u8>(right) {
                Some(number) => Ok(Self::protocol(number)),
                None => Err(bad("an IP protocol is a number from 0 to 255")),
            };
        }
        let Some(transport) = Transport::from_word(right) else {
            let lower = right.to_ascii_lowercase();
            return Err(if Transport::from_word(&lower).is_some() {
                bad(form).cure(format!("\"{left}/{lower}\""))
            } else if Transport::from_word(left).is_some() && parse_ports(right).is_ok() {
                bad(form).cure(format!("\"{right}/{left}\""))
            } else {
                bad("the part after `/` is tcp, udp or sctp")
            });
        };
        match parse_ports(left) {
            Ok((first, last)) => Ok(Self::Range(PortRange { transport, first, last })),
            Err(PortsError::Reversed(first, last)) => {
                Err(bad("the range is reversed").cure(format!("\"{last}-{first}/{right}\"")))
            }
            Err(PortsError::Any) => Err(bad(form).cure(format!("\"1-65535/{right}\""))),
            Err(PortsError::Number) => Err(bad("a port is a number from 1 to 65535")),
        }
    }

    /// Reads a bare number or range of a transport that is known from elsewhere, which a policy does
    /// not have and a command line does.
    pub(crate) fn parse_of(text: &str, transport: Transport) -> Result<Self, Refusal> {
        // What is refused is shown as it was typed.
        let bad = |Refusal { what: _, why, cure }| Refusal {
            what: format!("bad port {}", quoted(text)),
            why,
            cure,
        };
        Self::parse(&format!("{text}/{}", transport.as_str())).map_err(bad)
    }

    fn protocol(number: u8) -> Self {
        match Transport::ALL.into_iter().find(|transport| transport.number() == number) {
            Some(transport) => Self::Range(PortRange { transport, first: 0, last: u16::MAX }),
            None => Self::Protocol(number),
        }
    }
}

impl fmt::Display for PortSpec {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Range(PortRange { transport, first: 0, last: u16::MAX }) => {
                write!(f, "proto/{}", transport.number())
            }
            Self::Range(range) => range.fmt(f),
            Self::Icmp => f.write_str("icmp"),
            Self::Protocol(number) => write!(f, "proto/{number}"),
        }
    }
}

enum PortsError {
    Number,
    Reversed(u16, u16),
    Any,
}

fn parse_ports(text: &str) -> Result<(u16, u16), PortsError> {
    if text == "*" {
        return Err(PortsError::Any);
    }
    let (first, last) = text.split_once('-').unwrap_or((text, text));
    match (port(first), port(last)) {
        (Some(first), Some(last)) if first <= last => Ok((first, last)),
        (Some(first), Some(last)) => Err(PortsError::Reversed(first, last)),
        _ => Err(PortsError::Number),
    }
}

fn port(text: &str) -> Option<u16> {
    number(text).filter(|port| *port > 0)
}

/// A decimal number without sign or leading zeros.
fn number<T: std::str::FromStr>(text: &str) -> Option<T> {
    let plain = text.bytes().all(|b| b.is_ascii_digit()) && (text == "0" || !text.starts_with('0'));
    plain.then(|| text.parse().ok()).flatten()
}

/// The ports that an access rule admits.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum PortSet {
    /// Every protocol and port: the document has no `ports` key.
    Any,
    /// Only these; sorted, with ranges that overlap or touch joined. Empty admits nothing.
    Listed(Vec<PortSpec>),
}

impl PortSet {
    /// A set of the given elements, joined.
    pub fn listed(specs: impl IntoIterator<Item = PortSpec>) -> Self {
        let mut specs: Vec<PortSpec> = specs.into_iter().collect();
        specs.sort_unstable();
        specs.dedup_by(|next, kept| match (next, kept) {
            (PortSpec::Range(next), PortSpec::Range(kept)) => {
                let joins = next.transport == kept.transport
                    && u32::from(next.first) <= u32::from(kept.last) + 1;
                if joins {
                    kept.last = kept.last.max(next.last);
                }
                joins
            }
            (next, kept) => next == kept,
        });
        Self::Listed(specs)
    }

    /// Whether it admits nothing at all.
    pub fn is_none(&self) -> bool {
        matches!(self, Self::Listed(specs) if specs.is_empty())
    }
}

#[cfg(test)]
mod tests;
