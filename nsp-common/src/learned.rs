//! Addresses learned for names: which names, and until when; and the questions they answer.
//!
//! What is learned is held by *unit*: the identity of an exact name or of a wildcard, which outlives
//! generations. Each unit has a quota of addresses, kept by a ring: a new address takes the next
//! place, and where somebody has it whose time is not over, the one after that.

use crate::{address::Address, flow_key::FlowKey, name::KEY_LEN};

/// Names that one address can stand for at a time. Shared hosting puts thousands of names on an
/// address; those a policy lists are few.
pub const NAMES_PER_ADDRESS: usize = 8;

/// One name of an address.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[repr(C)]
pub struct LearnedName {
    /// Identity of the name; zero is a free place.
    pub name: u32,
    /// Second of the coarse monotonic clock at which it ends for new conversations.
    pub expires_s: u32,
}

/// Value of the learned-address table.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[repr(C)]
pub struct Learned {
    /// The names, in no order.
    pub names: [LearnedName; NAMES_PER_ADDRESS],
    /// The place that each of them has in its unit's ring. A place of a ring that an address is written
    /// at and that is not this one is free: the address was forgotten and learned again since.
    pub places: [u32; NAMES_PER_ADDRESS],
}

impl LearnedName {
    /// Whether it may open a conversation now.
    #[inline(always)]
    pub const fn is_valid(&self, now_ns: u64) -> bool {
        self.name != 0 && now_ns / 1_000_000_000 < self.expires_s as u64
    }
}

/// Addresses that an exact name may have.
pub const QUOTA_EXACT: u32 = 256;
/// Addresses that all names below a wildcard may have.
pub const QUOTA_BELOW: u32 = 32768;
/// Shortest time an address is learned for: a program needs a moment between asking and connecting.
pub const TTL_S_MIN: u32 = 5;
/// Longest time an address is learned for.
pub const TTL_S_MAX: u32 = 24 * 3600;
/// How long past its time an address may open conversations, for programs that cache longer than they
/// should.
pub const GRACE_S: u32 = 120;
/// How long a question waits for its answer.
pub const PATIENCE_S: u64 = 30;

/// Questions of one cgroup that wait for their answers.
pub const QUESTIONS_PER_CGROUP: u32 = 512;

/// Value of the table of names: what a name, or all below one, is held by.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[repr(C)]
pub struct Unit {
    /// The identity; zero where no rule is meant.
    pub name: u32,
    /// [`QUOTA_EXACT`] or [`QUOTA_BELOW`].
    pub quota: u32,
}

/// Key of a question that was sent: from where to whom, and its number.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[repr(C)]
pub struct QuestionKey {
    /// The conversation with the resolver.
    pub flow: FlowKey,
    /// The transaction id.
    pub id: u16,
    /// Zero.
    pub _pad: u16,
}

/// A place in the quota of a cgroup that asks.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[repr(C)]
pub struct AskerPlace {
    /// Its id.
    pub cgroup: u64,
    /// Which place.
    pub index: u32,
    /// Zero.
    pub _pad: u32,
}

/// A question that was sent.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[repr(C)]
pub struct Asked {
    /// Hash of the name, as [`crate::dns::Walk::question_hash`].
    pub hash: u64,
    /// When; coarse monotonic ns.
    pub at_ns: u64,
    /// What the name is held by.
    pub unit: Unit,
    /// The type that was asked for.
    pub kind: u16,
    /// The link group it left by.
    pub group: u8,
    /// Zero.
    pub _pad: [u8; 5],
}

/// Where an address was learned from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum Source {
    /// A resolver's answer that came in.
    Answer = 1,
    /// An answer of this host's own stub or recursive resolver.
    Stub = 2,
    /// The agent asked.
    Agent = 3,
}

/// The name that an address was in an answer for last, whether or not a rule has that name. Value of a
/// table by address (IPv4 in mapped form).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(C)]
pub struct Naming {
    /// When, seconds of the coarse monotonic clock.
    pub at_s: u32,
    /// What the name is held by; zero when no rule has it.
    pub unit: u32,
    /// Bytes of the key, its zero included.
    pub length: u16,
    /// [`Source`] as a number.
    pub source: u8,
    /// Zero.
    pub _pad: u8,
    /// The key of the name ([`crate::name`]); what is behind it means nothing.
    pub key: [u8; KEY_LEN],
}

/// What goes over the ring of names: one whose answer could not be read as it passed. The agent asks
/// for it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(C)]
pub struct Wanted {
    /// What the name is held by.
    pub unit: Unit,
    /// Bytes of the key, its zero included.
    pub length: u16,
    /// Why, a [`crate::verdict::Lesson`] as a number.
    pub why: u8,
    /// Zero.
    pub _pad: [u8; 5],
    /// As in [`Naming`].
    pub key: [u8; KEY_LEN],
}

/// The process that a socket was last used by, as far as its calls told. Value of a table by the
/// socket's cookie.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[repr(C)]
pub struct Caller {
    /// Its cgroup, by id.
    pub cgroup: u64,
    /// The process.
    pub pid: u32,
    /// Zero.
    pub _pad: u32,
    /// Its name, zeros behind it.
    pub comm: [u8; 16],
}

/// A place in the ring of a unit.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[repr(C)]
pub struct RingKey {
    /// The unit's identity.
    pub name: u32,
    /// Which place.
    pub index: u32,
}

/// Who has a place in the ring.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(C)]
pub struct RingEntry {
    /// The address.
    pub address: Address,
    /// [`crate::address::Family`] as a number.
    pub family: u32,
}

/// When an address learned now is over for new conversations, in seconds of the coarse monotonic
/// clock.
#[inline(always)]
pub const fn expires_s(ttl_s: u32, now_ns: u64) -> u32 {
    let held = if ttl_s < TTL_S_MIN {
        TTL_S_MIN
    } else if ttl_s > TTL_S_MAX {
        TTL_S_MAX
    } else {
        ttl_s
    };
    (now_ns / 1_000_000_000) as u32 + held + GRACE_S
}

crate::shared!(Unit, 8);
crate::shared!(QuestionKey, 44);
crate::shared!(Asked, 32);
crate::shared!(Naming, 268);
crate::shared!(Wanted, 272);
crate::shared!(Caller, 32);
crate::shared!(AskerPlace, 16);
crate::shared!(RingKey, 8);
crate::shared!(RingEntry, 20);
crate::shared!(LearnedName, 8);
crate::shared!(Learned, 96);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn time_to_live_has_a_floor_and_a_ceiling() {
        let now_ns = 1000 * 1_000_000_000 + 999_999_999;
        let held = |ttl_s| expires_s(ttl_s, now_ns) - 1000 - GRACE_S;
        assert_eq!([0, 1, 5].map(held), [TTL_S_MIN; 3]);
        assert_eq!(held(6), 6);
        assert_eq!([TTL_S_MAX, TTL_S_MAX + 1, u32::MAX >> 1].map(held), [TTL_S_MAX; 3]);
    }

    #[test]
    fn name_opens_until_its_second_begins() {
        let name = LearnedName { name: 1, expires_s: 5 };
        assert!(name.is_valid(4_999_999_999));
        assert!(!name.is_valid(5_000_000_000));
        assert!(!LearnedName { name: 0, expires_s: 5 }.is_valid(0), "a free place");
    }
}
