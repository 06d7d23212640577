//! Who sends: by its cgroups, which each hook asks for in its own way.

use aya_ebpf::{
    bindings::__sk_buff,
    helpers::generated::{bpf_get_current_ancestor_cgroup_id, bpf_skb_ancestor_cgroup_id},
};
use nsp_common::selector::{CGROUP_LEVELS, Selector};

use crate::{judge, maps};

/// Who sent a packet, where a hook can tell.
pub(crate) trait Sender {
    /// The cgroup at `level` above the root of the sender's hierarchy, or zero.
    fn ancestor_cgroup(&self, level: i32) -> u64;

    /// [`nearest_association`], by a function that the verifier checks by itself where there is one.
    #[inline(always)]
    fn association(&self, slot: u32) -> u16
    where
        Self: Sized,
    {
        nearest_association(self, slot)
    }

    /// [`resolving_bits`], by a function that the verifier checks by itself where there is one.
    #[inline(always)]
    fn resolving(&self) -> u32
    where
        Self: Sized,
    {
        resolving_bits(self)
    }
}

/// Nobody: packets that come in.
pub(crate) struct NoSender;

impl Sender for NoSender {
    #[inline(always)]
    fn ancestor_cgroup(&self, _level: i32) -> u64 {
        0
    }

    #[inline(always)]
    fn association(&self, _slot: u32) -> u16 {
        0
    }

    #[inline(always)]
    fn resolving(&self) -> u32 {
        0
    }
}

/// The socket a packet goes out by.
pub(crate) struct Socket(pub(crate) *mut __sk_buff);

impl Sender for Socket {
    #[inline(always)]
    fn ancestor_cgroup(&self, level: i32) -> u64 {
        // SAFETY: the context is the kernel's own; the helper answers zero without a socket.
        unsafe { bpf_skb_ancestor_cgroup_id(self.0, level) }
    }

    #[inline(always)]
    fn association(&self, slot: u32) -> u16 {
        judge::nsp_association_socket(self.0, slot) as u16
    }

    #[inline(always)]
    fn resolving(&self) -> u32 {
        judge::nsp_resolving_socket(self.0)
    }
}

/// The process that calls.
pub(crate) struct Caller;

impl Sender for Caller {
    #[inline(always)]
    fn ancestor_cgroup(&self, level: i32) -> u64 {
        // SAFETY: a helper that takes any level and answers zero beyond the last.
        unsafe { bpf_get_current_ancestor_cgroup_id(level) }
    }

    #[inline(always)]
    fn association(&self, slot: u32) -> u16 {
        judge::nsp_association_caller(slot) as u16
    }

    #[inline(always)]
    fn resolving(&self) -> u32 {
        judge::nsp_resolving_caller()
    }
}

/// A sender that is only described: its cgroups by level are in the work place of this hook.
pub(crate) struct Described(pub(crate) u32);

impl Sender for Described {
    #[inline(always)]
    fn ancestor_cgroup(&self, level: i32) -> u64 {
        maps::work(self.0).map_or(0, |work| work.cgroups[level as usize & 7])
    }

    #[inline(always)]
    fn association(&self, slot: u32) -> u16 {
        judge::nsp_association_described(self.0, slot) as u16
    }

    #[inline(always)]
    fn resolving(&self) -> u32 {
        judge::nsp_resolving_described(self.0)
    }
}

/// The association of the nearest ancestor of a sender that has one in a slot, or zero.
#[inline(always)]
pub(crate) fn nearest_association<S: Sender>(sender: &S, slot: u32) -> u16 {
    // From the innermost level that exists outwards would need the depth; from the top down, the
    // last hit is the nearest ancestor.
    let mut nearest = 0;
    for level in 1..=CGROUP_LEVELS {
        let id = sender.ancestor_cgroup(level);
        if id == 0 {
            break;
        }
        let number = maps::select(&Selector::cgroup(slot, id));
        if number != 0 {
            nearest = number;
        }
    }
    nearest
}

/// Bits of [`nsp_common::link::resolving`] of all cgroups that a sender is in, the root too.
#[inline(always)]
pub(crate) fn resolving_bits<S: Sender>(sender: &S) -> u32 {
    let mut bits = 0;
    for level in 0..=CGROUP_LEVELS {
        let id = sender.ancestor_cgroup(level);
        if id == 0 && level > 0 {
            break;
        }
        bits |= maps::resolving(id);
    }
    bits
}
