//! The decision: what happens to one packet, and why.
//!
//! A pure function over lazy look-ups. The kernel programs implement [`Tables`] over BPF maps, the
//! agent's `explain` and the tests over ordinary collections, and both get the same answer.
//!
//! The order is the design's, and every step ends the matter when it applies. ([`decide`] has two
//! halves, [`settle`] and [`weigh`], which are a function each in the kernel programs.)
//!
//! 1. not IP: passes; forwarded, on a host that routes: passes
//! 2. martian source: malformed in spirit, dropped where enforced
//! 3. infrastructure: discovery, DHCP, multicast, resolvers, cloud endpoints (`infrastructure.rs`,
//!    `platform.rs`)
//!    `nsp block` comes next, for packets of conversations and for others (`overlay.rs`)
//! 4. a tracked conversation: its own verdict, re-judged once a generation (`conversation.rs`)
//! 5. a private peer by the right interface, 6. a member or linked peer: allowed
//! 7. malformed or unclassifiable: dropped where enforced
//! 8. a public peer: the access rules of the resource's profile (`rules.rs`), then `nsp allow`
//! 9. no associated resource: `public_network_access`

mod conversation;
mod infrastructure;
mod overlay;
mod platform;
mod resource;
mod rules;

pub use crate::decision::{Decision, FlowAction};
pub use conversation::{follow, rejudge};
pub use overlay::{Allowed, LAPSED, Whose, allowed, blocked, key_of, lapse, overlaid, settle_by};
pub use resource::{Seat, of_key as resource_of, of_sender as sender_of};

use crate::{
    address::{Address, Family},
    class::{self, Class, PortEntry, RuleNumber},
    flow::{Flow, FlowKey, standing},
    generation::{Association, Generation, PublicAccess, flags as generation_flags},
    learned::Learned,
    overlay::{Overlay, presence},
    packet::{Packet, flags},
    selector::Selector,
    verdict::{AccessMode, Direction, Reason, TrafficClass, Verdict},
};

/// Everything the decision may look up, one method a table. Each is called at most a few times a
/// packet, and only when the steps before it did not settle the matter.
pub trait Tables {
    /// Coarse monotonic clock, ns.
    fn now_ns(&self) -> u64;
    /// The current generation; its number is zero before the first is published.
    fn generation(&self) -> Generation;
    /// The slot of the current generation, the first part of a [`Selector`].
    fn slot(&self) -> u32;
    /// The tracked conversation with this key, expired or not.
    fn flow(&mut self, key: &FlowKey) -> Option<Flow>;
    /// What the packet's conversation stands for in the current generation, aged by the packet
    /// ([`follow`]). The kernel programs put a function of its own here, which the
    /// verifier checks once.
    #[inline(always)]
    fn follow(&mut self, packet: &Packet, generation: &Generation) -> Followed
    where
        Self: Sized,
    {
        follow(packet, self, generation)
    }
    /// Judges a conversation anew. The kernel programs do it in between, for their stack's sake.
    #[inline(always)]
    fn judged_anew(&mut self, key: &FlowKey, flow: &mut Flow, generation: &Generation) -> Anew
    where
        Self: Sized,
    {
        if rejudge(key, flow, self, generation) { Anew::Lives } else { Anew::Over }
    }
    /// Writes back what re-judging the conversation found last by [`Tables::flow`] came to.
    fn rejudged(&mut self, flow: &Flow);
    /// Ages the conversation found last, which was `flow`, by a packet of it: time, sums, who has
    /// spoken.
    fn touch(&mut self, packet: &Packet, flow: &Flow);
    /// Takes out the conversation found last, which has this key.
    fn forget(&mut self, key: &FlowKey);
    /// What became of the first fragment of the datagram this later fragment belongs to.
    fn fragment_head(&self, packet: &Packet) -> Option<Flow>;
    /// The class number of an address.
    fn class_of(&self, address: &Address, family: Family) -> u32;
    /// One class.
    fn class(&self, number: u32) -> Class;
    /// Whether this host would route to `remote` by the device (or its group) of the packet.
    fn routed_back(&self, remote: &Address, family: Family, ifindex: u32) -> bool;
    /// What the policy says about a local or remote port.
    fn port(&self, protocol: u8, port: u16) -> PortEntry;
    /// The association a selector leads to, or zero.
    fn select(&self, selector: &Selector) -> u16;
    /// The association of the cgroup that sent the packet, or of its nearest listed ancestor.
    fn cgroup_association(&self) -> u16;
    /// Whether the sender is a recursive resolver of this host.
    fn is_recursive(&self) -> bool;
    /// One association of the current generation.
    fn association(&self, number: u16) -> Association;
    /// The rule at (lane, class, port class), or zero.
    fn rule(&self, lane: u32, class: u32, port_class: u16) -> RuleNumber;
    /// The identity of a rule.
    fn rule_identity(&self, number: RuleNumber) -> u32;
    /// The names an address was learned for.
    fn learned(&self, address: &Address, family: Family) -> Option<&Learned>;
    /// The class of a name, or zero.
    fn name_class(&self, name: u32) -> u32;
    /// Bits of [`crate::overlay::presence`].
    fn overlay(&self) -> u32;
    /// What the live overlay has about an address.
    fn temporary(&self, address: &Address, family: Family) -> Option<&Overlay>;
    /// What the live overlay has about a name.
    fn temporary_of_name(&self, name: u32) -> Option<&Overlay>;
    /// The identity of the overlay's entry that blocks the packet's conversation ([`blocked`]). This and
    /// the next are functions of their own in the kernel programs, too.
    #[inline(always)]
    fn blocked(&self, packet: &Packet, whose: Whose) -> u32
    where
        Self: Sized,
    {
        blocked(key_of(packet), whose, self)
    }
    /// The overlay's entry that allows the packet's conversation ([`allowed`]).
    #[inline(always)]
    fn allowed(&self, packet: &Packet, whose: Whose) -> Allowed
    where
        Self: Sized,
    {
        allowed(key_of(packet), whose, self)
    }
    /// What the overlay says of the packet's conversation ([`overlaid`]); one that is over in transition is
    /// a tolerated one from now on.
    #[inline(always)]
    fn overlaid(&mut self, packet: &Packet, decision: &mut Decision)
    where
        Self: Sized,
    {
        let key = key_of(packet);
        let Some(mut flow) = self.flow(key) else { return };
        let generation = self.generation();
        // A dry run has judged it anew without a trace.
        if flow.generation != generation.number && !rejudge(key, &mut flow, self, &generation) {
            return;
        }
        let said = overlaid(key, &flow, self);
        if said & LAPSED != 0 && !flow.stands(standing::ENFORCED) {
            lapse(&mut flow);
            self.rejudged(&flow);
        }
        settle_by(decision, said, packet);
    }
    /// Bits of [`crate::link::endpoint`] for an address.
    fn endpoint(&self, address: &Address) -> u32;
    /// Takes one from a budget of ICMP errors; false when it is spent.
    fn icmp_budget(&mut self, budget: IcmpBudget) -> bool;
}

/// What a conversation that is judged anew comes to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Anew {
    /// It goes on, as it was judged.
    Lives,
    /// It is to be forgotten.
    Over,
    /// Not yet: whoever asked is to judge it, and to settle the packet again.
    Later,
}

/// What looking for a packet's conversation comes to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Followed {
    /// There is none.
    Nothing,
    /// What it stands for.
    By(Decision),
    /// As [`Anew::Later`]; nothing was changed.
    Later,
}

/// What ICMP errors are about. Those about trusted peers need no conversation, so anybody can forge
/// them; they must not use up what the others have.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u32)]
pub enum IcmpBudget {
    /// A tracked conversation.
    Tracked = 0,
    /// A private peer, a member, a linked perimeter.
    Trusted = 1,
}

impl Decision {
    /// What the perimeter does not allow: dropped where enforced, passed and marked elsewhere.
    #[inline(always)]
    pub(crate) const fn refuse(reason: Reason, class: TrafficClass, seat: &Seat) -> Self {
        let (verdict, would_deny) = match seat.mode {
            AccessMode::Enforced => (Verdict::Drop, false),
            AccessMode::Transition => (Verdict::Pass, !seat.left_alone),
        };
        Self {
            verdict,
            // What is malformed keeps its own counter, also where it is left alone.
            reason: match reason {
                Reason::NoResource if seat.left_alone => Reason::Unassociated,
                other => other,
            },
            class,
            opener: seat.opener,
            mode: seat.mode,
            would_deny,
            temporary: false,
            flow: FlowAction::None,
            association: seat.association,
            rule: 0,
            name: 0,
        }
    }
}

/// What the steps before the resource is known come to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Step {
    /// The matter is settled.
    Decided(Decision),
    /// Not allowed, for this reason; whether that drops it depends on the resource.
    Refused(Reason, TrafficClass),
    /// As above, and without ports nobody can say whose packet it is.
    Unclassifiable(Reason, TrafficClass),
    /// Go on.
    Undecided,
    /// The packet's conversation is to be judged anew first ([`Anew::Later`]).
    Later,
}

/// Judges one packet.
#[inline(always)]
pub fn decide<T: Tables>(packet: &Packet, tables: &mut T) -> Decision {
    let generation = tables.generation();
    match settle(packet, tables, &generation) {
        Step::Decided(decision) => decision,
        step => weigh(step, packet, tables, &generation),
    }
}

/// Steps 1 to 4: what can be said before anybody asks whose packet it is.
#[inline(always)]
pub fn settle<T: Tables>(packet: &Packet, tables: &mut T, generation: &Generation) -> Step {
    let way = packet.way();
    if generation.number == 0 {
        return Step::Decided(Decision::pass(Reason::NoPolicy, TrafficClass::Unknown, way));
    }
    // 1.
    if packet.flaw == Reason::NotIp as u8 {
        return Step::Decided(Decision::pass(Reason::NotIp, TrafficClass::Unknown, way));
    }
    if packet.has(flags::FORWARDED) && generation.has(generation_flags::PASS_FORWARDED) {
        return forwarded(packet, tables, generation);
    }
    if !packet.has(flags::ADDRESSED) {
        let reason = flaw(packet).unwrap_or(Reason::TruncatedLink);
        return Step::Unclassifiable(reason, TrafficClass::Unknown);
    }
    // 2.
    if is_martian(packet) {
        return Step::Refused(Reason::Martian, TrafficClass::Martian);
    }
    // 3.
    match infrastructure::judge(packet, tables, generation) {
        Step::Undecided => {}
        step => return step,
    }
    // What DHCP, DAD and MLD send from no address has passed; nobody else has none.
    if way == Direction::Inbound && packet.key.remote.is_unspecified(packet.ip_family()) {
        return Step::Refused(Reason::Martian, TrafficClass::Martian);
    }
    // 4.
    conversation::judge(packet, tables, generation)
}

/// Steps 5 to 9, and what refusals before them mean for the resource that is concerned.
#[inline(always)]
pub fn weigh<T: Tables>(
    step: Step,
    packet: &Packet,
    tables: &mut T,
    generation: &Generation,
) -> Decision {
    let seat = resource::seat(packet, tables, generation);
    // 3., as far as it asks who sends.
    if matches!(step, Step::Undecided)
        && let Some(decision) = infrastructure::recursive(packet, tables, generation)
    {
        return decision;
    }
    if tables.overlay() & presence::BLOCKS != 0 && packet.has(flags::ADDRESSED) {
        let rule = tables.blocked(packet, Whose::seated(&seat));
        if rule != 0 {
            let mut decision = Decision::pass(Reason::Blocked, TrafficClass::Public, seat.opener);
            decision.association = seat.association;
            overlay::block(&mut decision, rule);
            return decision;
        }
    }
    match step {
        Step::Decided(decision) => return decision,
        Step::Refused(reason, class) => return Decision::refuse(reason, class, &seat),
        Step::Unclassifiable(reason, class) => {
            return unclassifiable(reason, class, packet, tables, generation, seat);
        }
        Step::Undecided | Step::Later => {}
    }
    let class_number = tables.class_of(&packet.key.remote, packet.ip_family());
    // 3., as far as it asks the profile.
    if let Some(decision) = platform::judge(packet, tables, &seat, class_number) {
        return decision;
    }
    // 5. and 6.
    if let Some(decision) = trusted(packet, tables, &seat, class_number) {
        return decision;
    }
    // 7.
    let flaw =
        if packet.has(flags::LATER_FRAGMENT) { Some(Reason::OrphanFragment) } else { flaw(packet) };
    if let Some(reason) = flaw {
        return unclassifiable(reason, TrafficClass::Public, packet, tables, generation, seat);
    }
    // 8. and 9.
    rules::judge(packet, tables, generation, &seat, class_number)
}

/// A packet that a host which routes lets through unjudged. What answers it comes in by the same
/// door as the host's own traffic, so it opens a conversation by which the answer is known.
#[inline(always)]
fn forwarded<T: Tables>(packet: &Packet, tables: &mut T, generation: &Generation) -> Step {
    let mut decision = Decision::pass(Reason::Forwarded, TrafficClass::Unknown, packet.way());
    if packet.has(flags::KEYED) && packet.flaw == 0 {
        let followed = if packet.is_bare_syn() {
            Followed::Nothing
        } else {
            tables.follow(packet, generation)
        };
        decision.flow = match followed {
            Followed::Nothing => FlowAction::Open,
            Followed::By(_) => FlowAction::Touch,
            Followed::Later => return Step::Later,
        };
    }
    Step::Decided(decision)
}

/// What the parser found wanting.
#[inline(always)]
fn flaw(packet: &Packet) -> Option<Reason> {
    if packet.flaw == 0 { None } else { Reason::from_number(packet.flaw) }
}

/// A source that cannot be, or one that is also the destination (the LAND attack).
#[inline(always)]
fn is_martian(packet: &Packet) -> bool {
    let family = packet.ip_family();
    if family == Family::V6 && (packet.key.remote.is_mapped() || packet.key.local.is_mapped()) {
        return true;
    }
    packet.way() == Direction::Inbound
        && (packet.source().is_martian_source(family) && !packet.source().is_unspecified(family)
            || packet.key.remote.octets == packet.key.local.octets)
}

/// Peers that need no rule: private addresses, members, linked perimeters. All of them only by the
/// device this host would answer on: an address alone proves nothing.
#[inline(always)]
fn trusted<T: Tables>(
    packet: &Packet,
    tables: &T,
    seat: &Seat,
    class_number: u32,
) -> Option<Decision> {
    let bits = tables.class(class_number).flags;
    if bits & (class::flags::PRIVATE | class::flags::MEMBER | class::flags::LINKED) == 0
        || seat.alone
    {
        return None;
    }
    if !tables.routed_back(&packet.key.remote, packet.ip_family(), packet.ifindex) {
        return None;
    }
    let (reason, class) = if bits & class::flags::MEMBER != 0 {
        (Reason::Intra, TrafficClass::Intra)
    } else if bits & class::flags::LINKED != 0 {
        (Reason::Cross, TrafficClass::Cross)
    } else if seat.private_by_rules {
        return None;
    } else {
        (Reason::Private, TrafficClass::Private)
    };
    let mut decision = Decision::pass(reason, class, seat.opener);
    decision.association = seat.association;
    decision.mode = seat.mode;
    Some(decision)
}

/// Without ports it cannot be said whose packet this is: it is dropped when any resource that it
/// may concern is enforced.
#[inline(always)]
fn unclassifiable<T: Tables>(
    reason: Reason,
    class: TrafficClass,
    packet: &Packet,
    tables: &T,
    generation: &Generation,
    mut seat: Seat,
) -> Decision {
    if may_be_enforced(packet, tables, generation) {
        seat.mode = AccessMode::Enforced;
        seat.left_alone = false;
    }
    Decision::refuse(reason, class, &seat)
}

/// Whether an enforced association covers the packet's local address or its device.
#[inline(always)]
fn may_be_enforced<T: Tables>(packet: &Packet, tables: &T, generation: &Generation) -> bool {
    let (somewhere, anywhere) = match packet.way() {
        Direction::Inbound => {
            (generation_flags::ENFORCED_INBOUND, generation_flags::ENFORCED_INBOUND_ANYWHERE)
        }
        Direction::Outbound => {
            (generation_flags::ENFORCED_OUTBOUND, generation_flags::ENFORCED_OUTBOUND_ANYWHERE)
        }
    };
    if generation.public_access == PublicAccess::SecuredByPerimeter as u8
        || generation.has(anywhere)
    {
        return true;
    }
    if !generation.has(somewhere) {
        return false;
    }
    if !packet.has(flags::ADDRESSED) {
        return true;
    }
    let slot = tables.slot();
    let by_device = tables.select(&Selector::interface(slot, packet.ifindex));
    tables.association(by_device).mode(packet.way()) as u8 == AccessMode::Enforced as u8
        || tables.select(&Selector::enforced(slot, &packet.key.local, packet.way())) != 0
}
