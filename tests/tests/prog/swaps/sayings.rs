//! What a policy says of each packet: its verdict, and the record that it is told in.

use std::collections::HashMap;

use nsp_agent::datapath::Drained;
use nsp_common::{event::RecordKey, verdict::Verdict};
use nsp_tests::prog::{Lab, Runner};

use super::probes::Probe;

/// What becomes of one packet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Saying {
    /// Whether it passes.
    pub(super) verdict: Verdict,
    /// Where it is told, the generation's number left out; some that pass are only counted.
    pub(super) key: Option<RecordKey>,
}

/// What the policy in force says of each packet, asked one by one.
pub(super) fn asked(lab: &mut Lab, runner: &Runner, probes: &[Probe]) -> Vec<Saying> {
    lab.clear();
    let ask = |probe: &Probe| {
        let verdict = runner.judge(&probe.frame);
        let (records, events) = lab.records();
        let key = match records[..] {
            [] => None,
            [(key, record)] => {
                assert_eq!(record.packets, 1, "{}", probe.name);
                Some(of_any(key))
            }
            _ => panic!("{}: one packet, one record, not {records:?}", probe.name),
        };
        assert_eq!(events.len(), records.len(), "{}", probe.name);
        Saying { verdict, key }
    };
    probes.iter().map(ask).collect()
}

/// What all of these come to together: packets by record.
pub(super) fn told(sayings: &[Saying]) -> HashMap<RecordKey, u64> {
    let mut told = HashMap::new();
    for key in sayings.iter().filter_map(|saying| saying.key) {
        *told.entry(key).or_insert(0) += 1;
    }
    told
}

/// Packets by record, the generations' numbers left out.
pub(super) fn summed(records: &Drained) -> HashMap<RecordKey, u64> {
    let mut sums = HashMap::new();
    for (key, record) in records {
        *sums.entry(of_any(*key)).or_insert(0) += record.packets;
    }
    sums
}

/// A key without its generation's number.
pub(super) const fn of_any(key: RecordKey) -> RecordKey {
    RecordKey { generation: 0, ..key }
}
