//! The decision's look-ups over the BPF maps.

use aya_ebpf::helpers::{bpf_jiffies64, bpf_ktime_get_coarse_ns};
use nsp_common::{
    address::{Address, Family},
    class::{Class, PortEntry, RuleNumber},
    decide::{Allowed, Anew, Decision, Followed, IcmpBudget, Tables, Whose},
    event::Grain,
    flow::{Flow, FlowKey},
    generation::{Association, Current, Epoch, Generation},
    learned::Learned,
    link::resolving,
    overlay::Overlay,
    packet::{Packet, flags as packet_flags},
    selector::Selector,
};

use crate::{
    flow, judge,
    judge::followed,
    maps::{self, Found, Hook, Work, anew},
    ranges,
    sender::Sender,
};

/// ICMP errors that pass, a second and processor, and at once.
const ICMP_ERRORS_PER_S: u64 = 1000;
const SECOND: u64 = 1_000_000_000;

/// Reads the control words once for the packet in a work place: one generation, one instant, that
/// everything after goes by.
#[inline(always)]
pub(crate) fn observe(work: &mut Work) {
    // The coarse clock goes on at each tick and not in between; which tick it is costs the program one read,
    // the clock a call. Right behind a tick the one may lag the other: what is late then, is so by a tick.
    // SAFETY: helpers without arguments.
    unsafe {
        let tick = bpf_jiffies64();
        if work.tick != tick {
            work.tick = tick;
            work.now_ns = bpf_ktime_get_coarse_ns();
        }
    }
    let (current, epoch, overlay, filter_half) = match maps::control() {
        Some(control) => (
            Current(control.current),
            control.epoch,
            control.overlay as u32,
            control.filter_half as u32,
        ),
        None => (Current::NONE, 0, 0, 0),
    };
    work.filter_half = filter_half;
    work.overlay = overlay;
    work.epoch = epoch;
    work.slot = current.slot(work.now_ns);
    work.generation = maps::generation(work.slot);
    work.anew = anew::NOT;
    work.collapsed = 0;
}

/// The maps as the packet in a work place sees them ([`observe`]). What is said there is not copied
/// here: it would only fill the stack.
pub(crate) struct Live<S> {
    /// The conversation looked up last.
    found: Found,
    sender: S,
    /// The hook whose work place holds the packet.
    hook: u32,
    /// That work place.
    work: *mut Work,
}

impl<S: Sender> Live<S> {
    /// The maps for the packet in this work place, which is the hook's.
    #[inline(always)]
    pub(crate) fn of(sender: S, hook: u32, work: *mut Work) -> Self {
        Self { found: Found::NOTHING, sender, hook, work }
    }

    /// Nothing is written: who asks only wants to know.
    #[inline(always)]
    pub(crate) fn is_dry(&self) -> bool {
        let hook = self.hook;
        hook == Hook::Explain as u32 || hook == Hook::Call as u32 || hook == Hook::Send as u32
    }

    /// Looks for the conversation that is meant from now on.
    #[inline(always)]
    pub(crate) fn find(&mut self, key: &FlowKey) {
        self.found = match maps::may_have(self.work().filter_half, key) {
            true => maps::flow(key),
            false => Found::NOTHING,
        };
    }

    /// Whether a packet of a conversation has no access record of its own, and remembers it for the report.
    #[inline(always)]
    fn collapse(&self, flow: &Flow) -> bool {
        let epoch = Epoch(self.work().epoch);
        let is_collapsed =
            maps::is_full(epoch.is_odd(), Grain::Address, false) && flow.is_collapsed(epoch);
        // SAFETY: the work place of this processor; a field that nobody holds a reference to.
        unsafe { (*self.work).collapsed = u32::from(is_collapsed) };
        is_collapsed
    }

    /// What was observed.
    #[inline(always)]
    fn work(&self) -> &Work {
        // SAFETY: the work place is this processor's and outlives the packet; nobody holds a
        // reference that writes what is read here.
        unsafe { &*self.work }
    }
}

impl<S: Sender> Tables for Live<S> {
    #[inline(always)]
    fn now_ns(&self) -> u64 {
        self.work().now_ns
    }

    #[inline(always)]
    fn generation(&self) -> Generation {
        self.work().generation
    }

    #[inline(always)]
    fn slot(&self) -> u32 {
        self.work().slot
    }

    #[inline(always)]
    fn flow(&mut self, key: &FlowKey) -> Option<Flow> {
        self.find(key);
        let anew = self.work().anew;
        if self.found.flow.is_null() || anew == anew::OVER {
            return None;
        }
        // SAFETY: the work place of this processor. What was judged anew lies there already; in a dry run
        // nowhere else.
        unsafe {
            if anew != anew::LIVES {
                flow::copy(self.found.flow, &raw mut (*self.work).entry.flow);
            }
            Some((*self.work).entry.flow)
        }
    }

    #[inline(always)]
    fn follow(&mut self, _packet: &Packet, _generation: &Generation) -> Followed {
        match judge::nsp_follow(self.hook) {
            // SAFETY: the work place is this processor's and outlives the packet; only fields that
            // nobody holds a reference to are touched.
            followed::BY => Followed::By(unsafe { (*self.work).decision }),
            followed::LATER => Followed::Later,
            _ => Followed::Nothing,
        }
    }

    #[inline(always)]
    fn judged_anew(&mut self, _key: &FlowKey, _flow: &mut Flow, _generation: &Generation) -> Anew {
        Anew::Later
    }

    #[inline(always)]
    fn rejudged(&mut self, judged: &Flow) {
        if !self.found.flow.is_null() && !self.is_dry() {
            flow::settle(self.found.flow, judged);
        }
    }

    #[inline(always)]
    fn touch(&mut self, packet: &Packet, flow: &Flow) {
        if self.found.flow.is_null() || self.is_dry() {
            return;
        }
        let seen_ns = Flow::seen(self.now_ns(), self.collapse(flow));
        if flow::touch(packet, self.found, flow, seen_ns) {
            // The copy there, not the entry: one of those that floods turn over may be another's by now.
            // SAFETY: the work place as above.
            unsafe {
                let entry = &mut (*self.work).entry;
                entry.flow.progress = flow.progress_after(packet);
                entry.flow.seen_ns = seen_ns;
                entry.flow.packets += 1;
                entry.flow.bytes += u64::from(packet.length);
            }
            judge::nsp_promote(self.hook);
        }
    }

    #[inline(always)]
    fn forget(&mut self, key: &FlowKey) {
        if self.found.flow.is_null() || self.is_dry() {
            return;
        }
        if self.found.is_proven {
            maps::remove_proven(key);
        } else {
            // SAFETY: a map value, not null.
            let opener = unsafe { (*self.found.flow).opened_by() };
            maps::remove_unproven(key, opener);
        }
    }

    #[inline(always)]
    fn fragment_head(&self, packet: &Packet) -> Option<Flow> {
        let head = maps::fragment_head(packet)?;
        // Reassembly gives up after 60 s (RFC 8200 4.5), and what a policy said is over with it.
        let fresh = self.now_ns().saturating_sub(head.seen_ns) < 60 * SECOND
            && head.generation == self.work().generation.number;
        fresh.then_some(head)
    }

    #[inline(always)]
    fn class_of(&self, address: &Address, family: Family) -> u32 {
        ranges::class_of(self.slot(), address, family)
    }

    #[inline(always)]
    fn class(&self, number: u32) -> Class {
        maps::class(self.slot(), number).unwrap_or(Class { cells: 0, flags: 0, _pad: 0 })
    }

    #[inline(always)]
    fn routed_back(&self, remote: &Address, family: Family, ifindex: u32) -> bool {
        let groups = maps::route_groups(remote, family);
        if self.work().packet.has(packet_flags::CALL) {
            // It will leave by one of these.
            return groups != 0;
        }
        let Some(link) = maps::link(ifindex) else { return false };
        groups >> (link.group & 63) & 1 == 1
    }

    #[inline(always)]
    fn port(&self, protocol: u8, port: u16) -> PortEntry {
        maps::port(self.slot(), protocol, port)
    }

    #[inline(always)]
    fn select(&self, selector: &Selector) -> u16 {
        maps::select(selector)
    }

    #[inline(always)]
    fn cgroup_association(&self) -> u16 {
        self.sender.association(self.slot())
    }

    #[inline(always)]
    fn is_recursive(&self) -> bool {
        self.sender.resolving() & resolving::RECURSIVE != 0
    }

    #[inline(always)]
    fn association(&self, number: u16) -> Association {
        maps::association(self.slot(), number)
    }

    #[inline(always)]
    fn rule(&self, lane: u32, class: u32, port_class: u16) -> RuleNumber {
        let Some(header) = maps::class(self.slot(), class) else { return 0 };
        let Some(cell) = maps::cell(self.slot(), header.cells.wrapping_add(lane)) else { return 0 };
        if cell.owner != class + 1 {
            return 0;
        }
        let at = cell.row * self.work().generation.row_length + u32::from(port_class);
        maps::row(self.slot(), at).unwrap_or(0)
    }

    #[inline(always)]
    fn rule_identity(&self, number: RuleNumber) -> u32 {
        maps::rule_identity(self.slot(), number).unwrap_or(0)
    }

    #[inline(always)]
    fn learned(&self, address: &Address, family: Family) -> Option<&Learned> {
        maps::learned(address, family)
    }

    #[inline(always)]
    fn name_class(&self, name: u32) -> u32 {
        maps::name_class(self.slot(), name).unwrap_or(0)
    }

    #[inline(always)]
    fn overlay(&self) -> u32 {
        self.work().overlay
    }

    #[inline(always)]
    fn temporary(&self, address: &Address, family: Family) -> Option<&Overlay> {
        maps::temporary(address, family)
    }

    #[inline(always)]
    fn temporary_of_name(&self, name: u32) -> Option<&Overlay> {
        maps::temporary_of_name(name)
    }

    #[inline(always)]
    fn blocked(&self, _packet: &Packet, whose: Whose) -> u32 {
        judge::nsp_blocked(self.hook, judge::number_of(whose), whose.name)
    }

    #[inline(always)]
    fn allowed(&self, _packet: &Packet, whose: Whose) -> Allowed {
        let allowed = judge::nsp_allowed(self.hook, judge::number_of(whose), whose.name);
        Allowed { rule: allowed as u32, name: (allowed >> 32) as u32 }
    }

    #[inline(always)]
    fn overlaid(&mut self, _packet: &Packet, decision: &mut Decision) {
        judge::nsp_overlaid(self.hook);
        // SAFETY: the work place as above; the decision lies there since `follow`.
        *decision = unsafe { (*self.work).decision };
    }

    #[inline(always)]
    fn endpoint(&self, address: &Address) -> u32 {
        maps::endpoint(address)
    }

    #[inline(always)]
    fn icmp_budget(&mut self, budget: IcmpBudget) -> bool {
        if self.is_dry() {
            return true;
        }
        let Some(bucket) = maps::icmp_budget(budget) else { return false };
        // SAFETY: per-processor memory of the map's value type, not null.
        let bucket = unsafe { &mut *bucket };
        if self.now_ns().saturating_sub(bucket.filled_ns) >= SECOND {
            bucket.filled_ns = self.now_ns();
            bucket.tokens = ICMP_ERRORS_PER_S;
        }
        if bucket.tokens == 0 {
            return false;
        }
        bucket.tokens -= 1;
        true
    }
}
