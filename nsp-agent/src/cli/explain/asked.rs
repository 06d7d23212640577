//! The protocol and the port that a question is about, from the words of the command line.
//!
//! A port is written as in a policy, and read by the policy's parser, so that a line of the one can
//! be pasted into the other. This only adds what a question needs: one port and not a set, a bare
//! number, and `--proto`.

use crate::policy::{
    Refusal,
    diagnose::quoted,
    model::{PortSpec, Transport},
};

/// The protocol of a question that names none.
const PROTOCOL_DEFAULT: Transport = Transport::Tcp;

/// The IP protocol numbers that `icmp` stands for: ICMP over IPv4, ICMPv6 over IPv6.
const ICMP: [u8; 2] = [1, 58];

/// What is asked about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Asked {
    /// The IP protocol.
    pub(super) protocol: u8,
    /// The port; `None` is one that nobody cares about.
    pub(super) port: Option<u16>,
}

impl Asked {
    /// Reads a port (`22`, `22/tcp`, `icmp`, `proto/47`) and what `--proto` says, where it is said.
    pub(super) fn read(port: Option<&str>, proto: Option<&str>) -> Result<Self, Refusal> {
        let explicit = proto.map(protocol).transpose()?;
        let Some(text) = port else {
            return Ok(Self {
                protocol: explicit.unwrap_or(PROTOCOL_DEFAULT.number()),
                port: None,
            });
        };
        let asked = match (is_bare(text), explicit) {
            (true, Some(number)) => Self::bare(text, number)?,
            (true, None) => Self::of(&PortSpec::parse_of(text, PROTOCOL_DEFAULT)?, text)?,
            (false, _) => Self::of(&PortSpec::parse(text)?, text)?,
        };
        match (explicit, proto) {
            (Some(number), Some(proto)) if !asked.agrees_with(number) => Err(Refusal::new(
                format!("--proto {proto} contradicts the port {}", quoted(text)),
                "a packet has one protocol",
            )
            .cure("leave --proto out")),
            // Of the two numbers of `icmp` the explicit one stays.
            (Some(number), _) => Ok(Self { protocol: number, ..asked }),
            (None, _) => Ok(asked),
        }
    }

    /// A bare number under the protocol that `--proto` names.
    fn bare(text: &str, number: u8) -> Result<Self, Refusal> {
        let Some(transport) = Transport::ALL.into_iter().find(|it| it.number() == number) else {
            let what = format!("bad port {}", quoted(text));
            let why = format!("IP protocol {number} has no ports");
            return Err(Refusal::new(what, why).cure("leave the port out"));
        };
        Self::of(&PortSpec::parse_of(text, transport)?, text)
    }

    fn of(spec: &PortSpec, text: &str) -> Result<Self, Refusal> {
        match spec {
            PortSpec::Range(range) if range.first == range.last => {
                Ok(Self { protocol: range.transport.number(), port: Some(range.first) })
            }
            PortSpec::Range(range) => {
                let one = format!("{}/{}", range.first.max(1), range.transport.as_str());
                let what = format!("bad port {}", quoted(text));
                Err(Refusal::new(what, "a packet goes to one port").cure(one))
            }
            PortSpec::Icmp => Ok(Self { protocol: ICMP[0], port: None }),
            PortSpec::Protocol(number) => Ok(Self { protocol: *number, port: None }),
        }
    }

    fn agrees_with(self, number: u8) -> bool {
        self.protocol == number || ICMP.contains(&self.protocol) && ICMP.contains(&number)
    }
}

fn is_bare(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit())
}

/// Reads what `--proto` takes.
fn protocol(text: &str) -> Result<u8, Refusal> {
    if let Some(transport) = Transport::from_word(text) {
        return Ok(transport.number());
    }
    if text == "icmp" {
        return Ok(ICMP[0]);
    }
    text.parse().map_err(|_| {
        let what = format!("bad --proto {}", quoted(text));
        Refusal::new(what, "a protocol is tcp, udp, sctp, icmp or a number from 0 to 255")
    })
}

#[cfg(test)]
mod tests {
    use rstest::rstest;

    use super::*;

    #[rstest]
    #[case::nothing(None, None, 6, None)]
    #[case::number(Some("22"), None, 6, Some(22))]
    #[case::number_of_a_protocol(Some("53"), Some("udp"), 17, Some(53))]
    #[case::number_of_a_numbered_protocol(Some("53"), Some("17"), 17, Some(53))]
    #[case::tcp(Some("22/tcp"), None, 6, Some(22))]
    #[case::udp_over_the_default(Some("53/udp"), None, 17, Some(53))]
    #[case::sctp(Some("3868/sctp"), None, 132, Some(3868))]
    #[case::last(Some("65535/tcp"), None, 6, Some(65535))]
    #[case::range_of_one(Some("80-80/tcp"), None, 6, Some(80))]
    #[case::icmp(Some("icmp"), None, 1, None)]
    #[case::whole_protocol(Some("proto/47"), None, 47, None)]
    #[case::only_a_protocol(None, Some("icmp"), 1, None)]
    #[case::agreeing(Some("53/udp"), Some("udp"), 17, Some(53))]
    #[case::agreeing_by_number(Some("22/tcp"), Some("6"), 6, Some(22))]
    #[case::icmp_is_icmpv6_too(Some("icmp"), Some("58"), 58, None)]
    fn reads(
        #[case] port: Option<&str>,
        #[case] proto: Option<&str>,
        #[case] protocol: u8,
        #[case] expected: Option<u16>,
    ) {
        assert_eq!(Asked::read(port, proto), Ok(Asked { protocol, port: expected }));
    }

    #[rstest]
    #[case::zero(Some("0"), None, "a port is a number from 1 to 65535")]
    #[case::zero_with_protocol(Some("0/udp"), None, "a port is a number from 1 to 65535")]
    #[case::too_large(Some("65536"), None, "a port is a number from 1 to 65535")]
    #[case::far_too_large(Some("99999999999/tcp"), None, "a port is a number from 1 to 65535")]
    #[case::word(Some("ssh"), None, "a port is written 443/tcp")]
    #[case::empty(Some(""), None, "a port is written 443/tcp")]
    #[case::range(Some("80-90/tcp"), None, "a packet goes to one port")]
    #[case::all_of_tcp(Some("proto/6"), None, "a packet goes to one port")]
    #[case::contradiction(Some("22/tcp"), Some("udp"), "a packet has one protocol")]
    #[case::contradiction_icmp(Some("icmp"), Some("tcp"), "a packet has one protocol")]
    #[case::contradiction_number(Some("proto/47"), Some("50"), "a packet has one protocol")]
    #[case::port_of_icmp(Some("22"), Some("icmp"), "IP protocol 1 has no ports")]
    #[case::unknown_protocol(Some("22"), Some("quic"), "a protocol is tcp, udp")]
    #[case::protocol_too_large(None, Some("256"), "from 0 to 255")]
    fn refuses(#[case] port: Option<&str>, #[case] proto: Option<&str>, #[case] why: &str) {
        let refusal = Asked::read(port, proto).unwrap_err();
        assert!(refusal.why.contains(why), "{refusal:?}");
        let typed = if why.contains("protocol is") { proto } else { port };
        assert!(refusal.what.contains(typed.unwrap_or_default()), "{refusal:?}");
    }

    #[test]
    fn a_contradiction_names_both_sides() {
        let refusal = Asked::read(Some("22/tcp"), Some("udp")).unwrap_err();
        assert_eq!(refusal.what, "--proto udp contradicts the port `22/tcp`");
    }
}
