//! The live overlay: what an operator allows or blocks for a time, beside the policy.
//!
//! An entry is about a prefix or a name, and holds its own deadline, which the programs keep whether or
//! not the agent lives. A longest-prefix table gives one value an address, so the value of a prefix holds
//! every entry that covers it (the agent writes them there), and there is room for [`PLACES`].
//!
//! **Invariant:** entries outlive generations, so they hold interned identities only.

use crate::{net::protocol, verdict::Direction};

/// Entries that can cover one address, or one name.
pub const PLACES: usize = 4;

/// Bits of [`Temporary::actions`].
pub mod action {
    /// About conversations that the other end opens.
    pub const INBOUND: u8 = 1 << 0;
    /// About conversations that this host opens.
    pub const OUTBOUND: u8 = 1 << 1;
    /// They are blocked; without it they are allowed.
    pub const BLOCK: u8 = 1 << 2;
    /// Only those of one protocol and a range of its ports.
    pub const PORTS: u8 = 1 << 3;
}

/// Bits of [`crate::generation::Control::overlay`]: what there is to be looked up.
pub mod presence {
    /// Something is allowed.
    pub const ALLOWS: u32 = 1 << 0;
    /// Something is blocked.
    pub const BLOCKS: u32 = 1 << 1;
    /// Some of it by name.
    pub const NAMES: u32 = 1 << 2;
}

/// One entry.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[repr(C)]
pub struct Temporary {
    /// Second of the coarse monotonic clock at which it is over; zero is a free place.
    pub until_s: u32,
    /// Its identity as a rule, which records name.
    pub identity: u32,
    /// Identity of the profile whose resources it is about; zero is everything on this host.
    pub profile: u16,
    /// With [`action::PORTS`]: the first port at the side that is asked, host order.
    pub first_port: u16,
    /// And the last.
    pub last_port: u16,
    /// With [`action::PORTS`]: the protocol; ICMP is that of either family.
    pub protocol: u8,
    /// Bits of [`action`].
    pub actions: u8,
}

/// Value of the tables: every entry that covers a prefix, or a name.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[repr(C)]
pub struct Overlay {
    /// The entries; the most specific first.
    pub places: [Temporary; PLACES],
}

/// What an entry is held against.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Subject {
    /// Second of the coarse monotonic clock.
    pub now_s: u32,
    /// Identity of the profile of the resource that is concerned, or zero.
    pub profile: u16,
    /// The port at the side that is asked.
    pub port: u16,
    /// The protocol.
    pub protocol: u8,
    /// The side that opens the conversation.
    pub opener: Direction,
}

impl Temporary {
    /// Whether it is about this, and not over.
    #[inline(always)]
    pub const fn is_about(&self, subject: &Subject) -> bool {
        let way = match subject.opener {
            Direction::Inbound => action::INBOUND,
            Direction::Outbound => action::OUTBOUND,
        };
        let spoken =
            if subject.protocol == protocol::ICMPV6 { protocol::ICMP } else { subject.protocol };
        subject.now_s < self.until_s
            && self.actions & way != 0
            && (self.profile == 0 || self.profile == subject.profile)
            && (self.actions & action::PORTS == 0
                || spoken == self.protocol
                    && self.first_port <= subject.port
                    && subject.port <= self.last_port)
    }
}

impl Overlay {
    /// The identity of the first entry about this that blocks, or zero.
    #[inline(always)]
    pub fn blocks(&self, subject: &Subject) -> u32 {
        self.first(subject, action::BLOCK)
    }

    /// The identity of the first entry about this that allows, or zero.
    #[inline(always)]
    pub fn allows(&self, subject: &Subject) -> u32 {
        self.first(subject, 0)
    }

    /// Whether this host may open some conversation or other, on any port: who may connect to a name may ask
    /// for it.
    #[inline(always)]
    pub fn lets_out(&self, profile: u16, now_s: u32) -> bool {
        for entry in &self.places {
            if entry.actions & (action::OUTBOUND | action::BLOCK) == action::OUTBOUND
                && now_s < entry.until_s
                && (entry.profile == 0 || entry.profile == profile)
            {
                return true;
            }
        }
        false
    }

    #[inline(always)]
    fn first(&self, subject: &Subject, kind: u8) -> u32 {
        for entry in &self.places {
            if entry.actions & action::BLOCK == kind && entry.is_about(subject) {
                return entry.identity;
            }
        }
        0
    }
}

crate::shared!(Temporary, 16);
crate::shared!(Overlay, 64);

#[cfg(test)]
mod tests {
    use super::*;

    const SUBJECT: Subject =
        Subject { now_s: 100, profile: 7, port: 443, protocol: 6, opener: Direction::Outbound };

    const ENTRY: Temporary = Temporary {
        until_s: 101,
        identity: 3,
        profile: 0,
        first_port: 0,
        last_port: 0,
        protocol: 0,
        actions: action::OUTBOUND,
    };

    #[test]
    fn an_entry_is_over_at_its_second_and_not_before() {
        assert!(ENTRY.is_about(&SUBJECT));
        assert!(!ENTRY.is_about(&Subject { now_s: 101, ..SUBJECT }));
        // A free place is about nothing, whatever the clock says.
        assert!(!Temporary::default().is_about(&Subject { now_s: 0, ..SUBJECT }));
    }

    #[test]
    fn way_profile_and_ports_narrow_it() {
        assert!(!ENTRY.is_about(&Subject { opener: Direction::Inbound, ..SUBJECT }));
        assert!(Temporary { profile: 7, ..ENTRY }.is_about(&SUBJECT));
        assert!(!Temporary { profile: 8, ..ENTRY }.is_about(&SUBJECT));
        let actions = action::OUTBOUND | action::PORTS;
        let ports = Temporary { actions, protocol: 6, first_port: 443, last_port: 444, ..ENTRY };
        assert!(ports.is_about(&SUBJECT));
        assert!(ports.is_about(&Subject { port: 444, ..SUBJECT }));
        assert!(!ports.is_about(&Subject { port: 445, ..SUBJECT }));
        assert!(!ports.is_about(&Subject { port: 442, ..SUBJECT }));
        assert!(!ports.is_about(&Subject { protocol: 17, ..SUBJECT }));
        let icmp = Temporary { actions, protocol: 1, first_port: 0, last_port: u16::MAX, ..ENTRY };
        assert!(icmp.is_about(&Subject { protocol: 58, ..SUBJECT }));
        assert!(!icmp.is_about(&SUBJECT));
    }

    #[test]
    fn who_may_connect_on_some_port_may_ask() {
        let out = |entry: Temporary, profile, now_s| {
            let free = Temporary::default();
            Overlay { places: [free, entry, free, free] }.lets_out(profile, now_s)
        };
        let narrow = Temporary { profile: 7, actions: ENTRY.actions | action::PORTS, ..ENTRY };
        assert!(out(narrow, 7, 100));
        assert!(!out(narrow, 8, 100) && !out(narrow, 7, 101));
        assert!(!out(Temporary { actions: action::INBOUND, ..ENTRY }, 7, 100));
        assert!(!out(Temporary { actions: ENTRY.actions | action::BLOCK, ..ENTRY }, 7, 100));
    }

    #[test]
    fn what_blocks_never_allows() {
        let block = Temporary { identity: 9, actions: action::OUTBOUND | action::BLOCK, ..ENTRY };
        let free = Temporary::default();
        let overlay = Overlay { places: [block, ENTRY, free, free] };
        assert_eq!((overlay.blocks(&SUBJECT), overlay.allows(&SUBJECT)), (9, 3));
        let overlay = Overlay { places: [block, free, free, free] };
        assert_eq!((overlay.blocks(&SUBJECT), overlay.allows(&SUBJECT)), (9, 0));
    }
}
