//! Questions that go out.

use aya_ebpf::helpers::generated::bpf_skb_cgroup_id;
use nsp_common::{
    learned::{Asked, Unit},
    link::resolving,
    verdict::Lesson,
};

use super::{Buffer, copied, group, nsp_read_message, question, tell};
use crate::{
    call::is_agent,
    maps,
    sender::{Sender as _, Socket},
};

/// Remembers the question that begins `skip` bytes into what goes out. By TCP several may go together;
/// answers where the next one begins, or zero.
#[inline(always)]
pub(crate) fn ask(hook: u32, skip: u32, source: &Buffer) -> u32 {
    let (Some(work), Some(reading)) = (maps::work(hook), maps::reading(hook)) else { return 0 };
    let Some(copied) = copied(&work.packet, skip, source, reading) else { return 0 };
    let next = if work.packet.is_tcp() { skip + 2 + u32::from(copied.length) } else { 0 };
    let header = copied.header;
    if header.is_response || !header.is_query || header.questions != 1 || !copied.is_whole {
        return next;
    }
    reading.walk.begin(copied.length, 0);
    nsp_read_message(hook);
    if !reading.walk.is_done() {
        return next;
    }
    let only_listed = maps::resolving(0) & resolving::ONLY_LISTED != 0;
    let teaches =
        !only_listed || is_agent(work.cookie) || Socket(source.0).resolving() & TEACHING != 0;
    let unit = if teaches { maps::unit(work.slot, reading) } else { None };
    reading.question = question(work, header.id);
    reading.asked = Asked {
        hash: reading.walk.question_hash(),
        at_ns: work.now_ns,
        unit: unit.unwrap_or(Unit { name: 0, quota: 0 }),
        kind: reading.walk.question_type,
        group: group(work.packet.ifindex),
        _pad: [0; 5],
    };
    // SAFETY: the context is the kernel's own; without a socket the answer is zero.
    let cgroup = unsafe { bpf_skb_cgroup_id(source.0) };
    if maps::ask(reading, cgroup) {
        tell(work, Lesson::Asked);
    }
    next
}

/// Whose questions teach, where only those of some do.
const TEACHING: u32 = resolving::STUB | resolving::RECURSIVE;
