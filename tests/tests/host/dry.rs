//! A decision that writes nothing goes by what it would have written.

use nsp_common::{
    flow::{Flow, standing},
    overlay::presence,
    verdict::{Direction, Reason, Verdict},
};
use nsp_tests::{
    packet::{
        BOTH,
        Party::{Server, Stranger},
        eth, udp,
    },
    prog::{
        Entry, compiled,
        model::{Model, coarse_ns},
    },
};

/// Nobody's resource any more, and left alone.
const OPEN: &str = "[perimeter]\nname = \"lab\"\n";

/// The random packets of `prog::differential` found it: the description of such a packet was answered by
/// what its conversation had been before.
#[test]
fn conversation_by_a_temporary_allow_that_a_new_policy_leaves_alone_is_not_over() {
    let generation = compiled(OPEN, &mut Default::default());
    for family in BOTH {
        let answer = eth() / family.ip(Stranger, Server) / udp(443, 40_000);
        let packet = Entry::Xdp.parsed(&answer.bytes());
        let flow = Flow {
            seen_ns: coarse_ns(),
            generation: 1,
            association: 7,
            standing: standing::TEMPORARY,
            reason: Reason::Rule as u8,
            opener: Direction::Outbound as u8,
            ..Flow::EMPTY
        };
        let mut model = Model::new(&generation.compiled, 2);
        model.overlay.presence = presence::BLOCKS;
        model.flows.insert(packet.key, flow);
        let described = model.explain(&packet);
        assert_eq!((described.verdict, described.reason), (Verdict::Pass, Reason::Flow));
        assert!(!described.would_deny && !described.temporary, "{described:?}");
        assert_eq!(described, model.judge(&packet), "what it says (left), what it does");
    }
}
