//! One compiled policy: its header, its associations, and the word that makes it the current one.

use crate::verdict::{AccessMode, Direction};

/// Slots that generations are built in: zero, which is what "nothing published" points at; the current one,
/// the one before it, and the one being built, after a grace period.
pub const SLOTS: u32 = 4;

/// Associations in one generation. Their numbers are interned and outlive it.
pub const ASSOCIATIONS_MAX: u32 = 4096;

/// Port classes in one generation; a row of rules is this long at most.
pub const PORT_CLASSES_MAX: u32 = 256;

/// Bits of [`Generation::flags`].
pub mod flags {
    /// An association is enforced inbound.
    pub const ENFORCED_INBOUND: u32 = 1 << 0;
    /// An association is enforced outbound.
    pub const ENFORCED_OUTBOUND: u32 = 1 << 1;
    /// There are selectors by address.
    pub const BY_ADDRESS: u32 = 1 << 2;
    /// There are selectors by interface.
    pub const BY_INTERFACE: u32 = 1 << 3;
    /// There are selectors by cgroup.
    pub const BY_CGROUP: u32 = 1 << 4;
    /// There are outbound rules by name.
    pub const BY_NAME: u32 = 1 << 5;
    /// `forwarded = "pass"`.
    pub const PASS_FORWARDED: u32 = 1 << 6;
    /// There are resources: DNS is read, to learn for rules, and to tell names.
    pub const BY_DNS: u32 = 1 << 9;
    /// Names are asked for by those alone whose rules have them: an association is
    /// [`association::STRICT_DNS`](super::association::STRICT_DNS).
    pub const STRICT_DNS: u32 = 1 << 10;
    /// A recursive resolver of this host may ask anybody.
    pub const RECURSIVE: u32 = 1 << 11;
    /// There are associations with a perimeter of their own:
    /// [`association::ALONE`](super::association::ALONE).
    pub const ALONE: u32 = 1 << 12;
    /// The range table is so large that it is in no near cache: what a look-up reads first is asked for early.
    pub const FAR: u32 = 1 << 13;
    /// An association that any local address and device may concern is enforced inbound.
    pub const ENFORCED_INBOUND_ANYWHERE: u32 = 1 << 7;
    /// An association that any local address and device may concern is enforced outbound.
    pub const ENFORCED_OUTBOUND_ANYWHERE: u32 = 1 << 8;
}

/// `public_network_access`: what becomes of traffic that concerns no associated resource.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum PublicAccess {
    /// Left alone.
    Enabled = 0,
    /// Passed and logged as would-deny.
    Transition = 1,
    /// Denied.
    SecuredByPerimeter = 2,
}

/// Header of one generation.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[repr(C)]
pub struct Generation {
    /// Counts up from one; zero is an empty slot.
    pub number: u32,
    /// Bits of [`flags`].
    pub flags: u32,
    /// Length of a row of rules.
    pub row_length: u32,
    /// The association of the whole host, or zero.
    pub host: u16,
    /// [`PublicAccess`] as a number.
    pub public_access: u8,
    /// Zero.
    pub _pad: u8,
}

impl Generation {
    /// Nothing published.
    pub const EMPTY: Self =
        Self { number: 0, flags: 0, row_length: 0, host: 0, public_access: 0, _pad: 0 };

    /// Whether all bits of `flag` are set.
    #[inline(always)]
    pub const fn has(&self, flag: u32) -> bool {
        self.flags & flag == flag
    }
}

/// Bits of [`Association::flags`].
pub mod association {
    /// The association exists in this generation.
    pub const PRESENT: u16 = 1 << 0;
    /// Enforced inbound.
    pub const ENFORCED_INBOUND: u16 = 1 << 1;
    /// Enforced outbound.
    pub const ENFORCED_OUTBOUND: u16 = 1 << 2;
    /// Private peers need a rule too.
    pub const PRIVATE_BY_RULES: u16 = 1 << 3;
    /// Cloud endpoints are denied.
    pub const METADATA_DENIED: u16 = 1 << 4;
    /// What is denied outbound fails by its own timeout, not at once.
    pub const DENIED_SILENTLY: u16 = 1 << 5;
    /// Enforced outbound, and only names of its outbound rules may be asked for.
    pub const STRICT_DNS: u16 = 1 << 6;
    /// A perimeter of its own: members of the host's perimeter and linked ones need a rule too, and
    /// calls are judged whatever device they lead to.
    pub const ALONE: u16 = 1 << 7;
}

/// A resource with its profile and modes, in one generation.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[repr(C)]
pub struct Association {
    /// Conversations opened before this instant (coarse monotonic, ns) are not kept when the
    /// association is enforced: the time of the last strict apply.
    pub cut_before_ns: u64,
    /// The profile's number in this generation.
    pub profile: u16,
    /// Bits of [`association`].
    pub flags: u16,
    /// The profile's identity, which entries of the overlay name it by.
    pub profile_identity: u16,
    /// Zero.
    pub _pad: u16,
}

impl Association {
    /// Nobody's.
    pub const EMPTY: Self =
        Self { cut_before_ns: 0, profile: 0, flags: 0, profile_identity: 0, _pad: 0 };

    /// Whether all bits of `flag` are set.
    #[inline(always)]
    pub const fn has(&self, flag: u16) -> bool {
        self.flags & flag == flag
    }

    /// The mode in one direction.
    #[inline(always)]
    pub const fn mode(&self, direction: Direction) -> AccessMode {
        let flag = match direction {
            Direction::Inbound => association::ENFORCED_INBOUND,
            Direction::Outbound => association::ENFORCED_OUTBOUND,
        };
        if self.has(flag) { AccessMode::Enforced } else { AccessMode::Transition }
    }
}

/// The word that a packet reads once: which slot is current, which was before, until when.
///
/// `deadline:48 | previous:8 | active:8`. The deadline counts 2^20 ns (about a millisecond) of the
/// coarse monotonic clock; past it the previous slot is current again without anybody's help. Zero
/// is no deadline.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Current(pub u64);

/// Bits of a nanosecond clock that a deadline does not resolve.
const DEADLINE_SHIFT: u32 = 20;

impl Current {
    /// Nothing published: slot zero is never used for a policy, its header stays empty.
    pub const NONE: Self = Self(0);

    /// Confirmed: no deadline.
    pub const fn confirmed(active: u8) -> Self {
        Self((active as u64) << 8 | active as u64)
    }

    /// On trial until `deadline_ns`.
    pub const fn until(active: u8, previous: u8, deadline_ns: u64) -> Self {
        Self((deadline_ns >> DEADLINE_SHIFT) << 16 | (previous as u64) << 8 | active as u64)
    }

    /// What it becomes when nobody confirms it: the previous slot for good. Confirmed words stay as they are.
    pub const fn taken_back(self) -> Self {
        Self::confirmed((self.0 >> 8) as u8)
    }

    /// The slot to use now.
    #[inline(always)]
    pub const fn slot(self, now_ns: u64) -> u32 {
        let deadline = self.0 >> 16;
        let slot = if deadline != 0 && now_ns >> DEADLINE_SHIFT >= deadline {
            self.0 >> 8
        } else {
            self.0
        };
        (slot & 0xff) as u32
    }
}

/// The word of access records that a packet reads once: which of the two sets of tables is being filled (the
/// lowest bit), and since when (the rest, coarse monotonic ns).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Epoch(pub u64);

impl Epoch {
    /// The epoch after this one. It begins two ticks of the clock before now: what a program calls now may be
    /// a tick old, and nothing of this epoch may look older than it.
    #[must_use]
    pub const fn next(self, now_ns: u64, tick_ns: u64) -> Self {
        Self(now_ns.saturating_sub(2 * tick_ns) & !1 | (self.0 & 1 ^ 1))
    }

    /// Whether the second set is being filled.
    #[inline(always)]
    pub const fn is_odd(self) -> bool {
        self.0 & 1 == 1
    }

    /// What was before this instant was in an epoch before.
    #[inline(always)]
    pub const fn began_ns(self) -> u64 {
        self.0 & !1
    }
}

/// What all programs share and the agent sets: one entry of an array.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[repr(C)]
pub struct Control {
    /// [`Current`], as one word.
    pub current: u64,
    /// [`Epoch`], as one word.
    pub epoch: u64,
    /// Bits of [`crate::overlay::presence`]: what the live overlay has.
    pub overlay: u64,
    /// The half of the filter of conversations that is read ([`crate::flow_filter`]).
    pub filter_half: u64,
}

crate::shared!(Generation, 16);
crate::shared!(Association, 16);
crate::shared!(Control, 32);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn epochs_take_turns_and_begin_a_little_early() {
        let first = Epoch::default().next(1_000_000_001, 4_000_000);
        assert!(first.is_odd() && first.began_ns() == 992_000_000);
        let second = first.next(2_000_000_000, 4_000_000);
        assert!(!second.is_odd() && second.began_ns() == 1_992_000_000);
        assert_eq!(second.next(1, 4_000_000), Epoch(1));
    }

    #[test]
    fn the_previous_slot_returns_at_the_deadline_and_not_before() {
        let deadline = 5_000_000_000;
        let current = Current::until(2, 1, deadline);
        assert_eq!(current.slot(deadline - (1 << DEADLINE_SHIFT)), 2);
        assert_eq!(current.slot(deadline), 1);
        assert_eq!(Current::confirmed(3).slot(u64::MAX), 3);
        assert_eq!(current.taken_back(), Current::confirmed(1));
        assert_eq!(Current::confirmed(3).taken_back(), Current::confirmed(3));
        assert_eq!(Current::NONE.taken_back(), Current::NONE);
    }
}
