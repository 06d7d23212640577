//! Which answers teach, and what, by the rules as they are documented: written once more, without the
//! product's code.

use std::{
    collections::HashMap,
    net::{IpAddr, Ipv4Addr, Ipv6Addr},
    ops::RangeInclusive,
};

use super::{reference, subject::Lesson};

/// An address that an answer teaches.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Taught {
    /// Which of the oracle's names it is learned for.
    pub name: usize,
    /// The address.
    pub address: IpAddr,
    /// Its time to live.
    pub ttl_s: u32,
}

/// Name and type.
type Question = (Vec<u8>, u16);

/// A host that asks, and remembers what it asked for.
#[derive(Clone, Debug, Default)]
pub struct Oracle {
    /// Keys of names that rules are about; of wildcards their beginnings.
    names: Vec<Vec<u8>>,
    /// By port and number: the asked name and type, and which of the names that is.
    asked: HashMap<(u16, u16), (Question, usize)>,
}

impl Oracle {
    /// With rules about these names, written as in a policy.
    pub fn of_names(names: &[impl AsRef<str>]) -> Self {
        let key = |name: &str| {
            let (base, end) = name.strip_prefix("*.").map_or((name, &[0][..]), |base| (base, &[]));
            let labels = base.rsplit('.').map(|label| {
                let length = u8::try_from(label.len()).expect("a short label");
                [&[length][..], label.as_bytes()].concat()
            });
            [labels.collect::<Vec<_>>().concat(), end.to_vec()].concat()
        };
        let names = names.iter().map(|name| key(name.as_ref())).collect();
        Self { names, asked: HashMap::new() }
    }

    /// A question goes out: whether its answer may teach.
    pub fn asks(&mut self, port: u16, message: &[u8]) -> bool {
        let Some(header) = Header::of(message) else { return false };
        let Some(question) = reference::question(message) else { return false };
        let key = &question.0;
        // A wildcard is not about the name itself.
        let is_meant = |name: &Vec<u8>| {
            key == name
                || name.last() != Some(&0) && key.starts_with(name) && key.len() > name.len() + 1
        };
        let name = self.names.iter().position(is_meant);
        if header.is_response || !header.is_query {
            return false;
        }
        let Some(name) = name else {
            // In place of what was asked so before.
            self.asked.remove(&(port, header.id));
            return false;
        };
        self.asked.insert((port, header.id), (question, name));
        true
    }

    /// Whether a question from this port with the number of this message waits for its answer.
    pub fn awaits(&self, port: u16, message: &[u8]) -> bool {
        Header::of(message).is_some_and(|header| self.asked.contains_key(&(port, header.id)))
    }

    /// An answer comes in, in time and from where the question went; `lesson` is what it says, if it
    /// can be read to its end.
    pub fn hears(&mut self, port: u16, message: &[u8], lesson: Option<Lesson>) -> Vec<Taught> {
        let Some(header) = Header::of(message) else { return Vec::new() };
        let of_asked = (port, header.id);
        let Some((asked, name)) = self.asked.get(&of_asked) else { return Vec::new() };
        let name = *name;
        if !header.is_response || !header.is_query || header.questions != 1 {
            return Vec::new();
        }
        // Of a failure, and of what was cut off, only the question is read.
        let question = if header.code == 0 && !header.is_truncated {
            lesson.as_ref().map(|it| (it.key.clone(), it.kind))
        } else {
            reference::question(message)
        };
        if question.as_ref() != Some(asked) {
            return Vec::new();
        }
        // The first answer counts and no other, whatever it says.
        self.asked.remove(&of_asked);
        if header.is_truncated || header.code != 0 {
            return Vec::new();
        }
        let addresses = lesson.into_iter().flat_map(|it| it.addresses);
        let public = addresses.filter(|(address, _)| may_stand_for_a_name(*address));
        public.map(|(address, ttl_s)| Taught { name, address, ttl_s }).collect()
    }
}

/// When addresses heard of between these two moments (seconds) are over.
pub fn expiry(ttl_s: u32, heard_s: RangeInclusive<u64>) -> RangeInclusive<u64> {
    // At least five seconds, at most a day; and two minutes for programs that cache.
    let held = u64::from(ttl_s.clamp(5, 24 * 3600)) + 120;
    heard_s.start() + held..=heard_s.end() + held
}

struct Header {
    id: u16,
    is_response: bool,
    is_query: bool,
    is_truncated: bool,
    code: u8,
    questions: u16,
}

impl Header {
    fn of(message: &[u8]) -> Option<Self> {
        let header: &[u8; 12] = message.first_chunk()?;
        Some(Self {
            id: u16::from_be_bytes([header[0], header[1]]),
            is_response: header[2] >> 7 == 1,
            is_query: (header[2] >> 3) & 15 == 0,
            is_truncated: header[2] >> 1 & 1 == 1,
            code: header[3] & 15,
            questions: u16::from_be_bytes([header[4], header[5]]),
        })
    }
}

/// Public addresses, and no others; also those that lead to an IPv4 address.
pub fn may_stand_for_a_name(address: IpAddr) -> bool {
    match address {
        IpAddr::V4(v4) => is_public_v4(v4),
        IpAddr::V6(v6) => is_public_v6(v6),
    }
}

fn is_public_v4(address: Ipv4Addr) -> bool {
    let [first, second, ..] = address.octets();
    let is_shared = first == 100 && second & 0xc0 == 64;
    !(address.is_private()
        || is_shared
        || address.is_link_local()
        || address.is_loopback()
        || first == 0
        || first >= 224)
}

fn is_public_v6(address: Ipv6Addr) -> bool {
    let words = address.segments();
    let v4 = |high: u16, low: u16| Ipv4Addr::from(u32::from(high) << 16 | u32::from(low));
    // Mapped and compatible ones, the unspecified, loopback.
    if words[..5] == [0; 5] && matches!(words[5], 0 | 0xffff) {
        return false;
    }
    // Multicast, link-local and site-local, unique local.
    if words[0] >> 8 >= 0xfc {
        return false;
    }
    match words {
        [0x64, 0xff9b, .., high, low] => is_public_v4(v4(high, low)),
        [0x2002, high, low, ..] => is_public_v4(v4(high, low)),
        [0x2001, 0, .., high, low] => is_public_v4(v4(!high, !low)),
        _ => true,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn public_addresses_stand_for_names_and_no_others() {
        for (address, may) in [
            ("192.0.2.1", true),
            ("10.0.0.1", false),
            ("100.64.0.1", false),
            ("100.128.0.1", true),
            ("169.254.169.254", false),
            ("255.255.255.255", false),
            ("2001:db8::1", true),
            ("fe80::1", false),
            ("fd00::1", false),
            ("::ffff:192.0.2.1", false),
            ("64:ff9b::192.0.2.1", true),
            ("64:ff9b::10.0.0.1", false),
            ("2002:a00:1::1", false),
            // Teredo hides its address, inverted: 10.0.0.1.
            ("2001:0:1:2:3:4:f5ff:fffe", false),
        ] {
            let address: IpAddr = address.parse().unwrap();
            assert_eq!(may_stand_for_a_name(address), may, "{address}");
        }
    }
}
