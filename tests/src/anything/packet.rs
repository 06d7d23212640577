//! Bytes as a frame: the parser and the decision.

use std::sync::OnceLock;

use nsp_common::{
    packet::{Packet, flags},
    verdict::{Category, Reason, TrafficClass, Verdict},
};

use crate::prog::{ENFORCED, Entry, Generation, compiled, model::Model};

/// Most of what is read of a frame lies before this.
const HEADERS: usize = 160;

/// Takes the first byte for the way in, and the rest for a frame.
///
/// # Panics
/// When what a frame says depends on bytes that are none of it, or something is let through that could not
/// be read.
pub fn packet(bytes: &[u8]) {
    let Some((way, frame)) = bytes.split_first() else { return };
    let entry = Entry::ALL[usize::from(*way) % Entry::ALL.len()];
    let packet = entry.parsed(frame);
    assert_eq!(packet.length as usize, frame.len());
    if packet.flaw == 0 {
        padding_says_nothing(entry, frame, &packet);
    }
    for length in 0..frame.len().min(HEADERS) {
        let cut = entry.parsed(&frame[..length]);
        if cut.flaw == 0 {
            // All that its headers claim was there.
            let cut = Packet { length: packet.length, ..cut };
            assert_eq!(cut, packet, "{entry:?}: the first {length} of {frame:02x?}");
        }
    }
    judged(entry, &packet, frame);
}

fn padding_says_nothing(entry: Entry, frame: &[u8], packet: &Packet) {
    for padding in [[0; 9], [0xff; 9]] {
        let padded = entry.parsed(&[frame, &padding].concat());
        let padded = Packet { length: packet.length, ..padded };
        assert_eq!(padded, *packet, "{entry:?}: {frame:02x?} with {padding:02x?} behind it");
    }
}

fn judged(entry: Entry, packet: &Packet, frame: &[u8]) {
    static GENERATION: OnceLock<Generation> = OnceLock::new();
    let generation = GENERATION.get_or_init(|| compiled(ENFORCED, &mut Default::default()));
    let decision = Model::new(&generation.compiled, 1).explain(packet);
    let said = || format!("{entry:?} {frame:02x?}: {packet:?} {decision:?}");
    // The whole host is enforced, and no device is known: nobody is private here.
    if decision.verdict == Verdict::Drop {
        assert!(!decision.would_deny && decision.category() != Category::None, "{}", said());
        return;
    }
    let passes = match decision.reason {
        Reason::Rule => packet.has(flags::ADDRESSED) && packet.flaw == 0,
        Reason::NotIp => packet.flaw == Reason::NotIp as u8,
        Reason::NeighbourDiscovery => packet.hop_limit == 255,
        Reason::MulticastListener => packet.hop_limit == 1,
        Reason::Dhcp | Reason::Igmp | Reason::Multicast => packet.has(flags::ADDRESSED),
        _ => false,
    };
    assert!(passes, "{}", said());
    assert!(!decision.would_deny, "{}", said());
    let is_known = decision.reason != Reason::NotIp;
    assert_eq!(decision.class != TrafficClass::Unknown, is_known, "{}", said());
}
