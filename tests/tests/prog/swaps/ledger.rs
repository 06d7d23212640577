//! What the flood is told in, held against what the policies say and against what was sent.

use std::collections::HashMap;

use nsp_common::{
    event::{RecordKey, flags},
    verdict::Verdict,
};
use nsp_tests::prog::{Lab, Tally};

use super::{
    probes::{Fate, Probe},
    sayings::{Saying, of_any},
};

/// What a packet is about, whatever is said of it.
type Subject = ([u8; 16], [u8; 16], u8, u16, u8);

fn subject(key: RecordKey) -> Subject {
    (key.remote, key.local, key.protocol, key.service_port, key.flags & flags::OUTBOUND)
}

/// The packets, what each policy says of them, and the records so far.
pub(super) struct Ledger {
    pub(super) probes: Vec<Probe>,
    /// By policy and packet.
    says: [Vec<Saying>; 2],
    /// Which policy a generation is, by number.
    owners: HashMap<u32, usize>,
    /// Packets by what they are about: all in records, and those that were dropped.
    told: HashMap<Subject, [u64; 2]>,
}

impl Ledger {
    pub(super) fn new(probes: Vec<Probe>) -> Self {
        Self {
            probes,
            says: [Vec::new(), Vec::new()],
            owners: HashMap::new(),
            told: HashMap::new(),
        }
    }

    /// What a policy says of a packet.
    pub(super) fn says(&self, policy: usize, probe: usize) -> Saying {
        self.says[policy][probe]
    }

    /// What a policy says alone, which is what it was written for.
    pub(super) fn learn(&mut self, policy: usize, says: Vec<Saying>, lab: &Lab) {
        let rules: HashMap<u32, &str> =
            lab.identities.rules().map(|(identity, _, _, name)| (identity, name)).collect();
        for (probe, saying) in self.probes.iter().zip(&says) {
            let by = saying.key.and_then(|key| rules.get(&key.rule)).copied();
            let is_right = match probe.fates[policy] {
                Fate::By(rule) => (saying.verdict, by) == (Verdict::Pass, Some(rule)),
                Fate::Passes => (saying.verdict, by) == (Verdict::Pass, None),
                Fate::Drops => saying.verdict == Verdict::Drop,
            };
            assert!(is_right, "{} in policy {policy}: {by:?} {saying:?}", probe.name);
        }
        self.says[policy] = says;
    }

    /// This generation is that policy.
    pub(super) fn published(&mut self, number: u32, policy: usize) {
        self.owners.insert(number, policy);
    }

    /// Takes the records so far. Each is one that its generation's policy would write.
    pub(super) fn drain(&mut self, lab: &mut Lab) {
        let (records, events) = lab.records();
        let keys = records.iter().map(|(key, _)| *key).chain(events.iter().map(|it| it.key));
        for key in keys {
            let owner = self.owners[&key.generation];
            let is_said = self.says[owner].iter().any(|saying| saying.key == Some(of_any(key)));
            assert!(is_said, "{}", self.complaint(key, owner));
        }
        for (key, record) in records {
            let sums = self.told.entry(subject(key)).or_default();
            sums[0] += record.packets;
            sums[1] += if key.flags & flags::DENIED != 0 { record.packets } else { 0 };
        }
    }

    fn complaint(&self, key: RecordKey, owner: usize) -> String {
        let mut lines = vec![format!("policy {owner} never says {key:?}; of alike packets")];
        for (policy, says) in self.says.iter().enumerate() {
            for (saying, probe) in says.iter().zip(&self.probes) {
                if saying.key.is_some_and(|it| subject(it) == subject(key)) {
                    lines.push(format!("{policy} says of {}: {saying:?}", probe.name));
                }
            }
        }
        lines.join("\n")
    }

    /// Every packet of a flood that is over passed or not as one of the policies says, was counted once,
    /// and is in the records.
    pub(super) fn balance(&mut self, tally: &Tally, lab: &mut Lab) {
        let named = |(at, verdict): &(usize, Verdict)| (&self.probes[*at].name, *verdict);
        let wrong: Vec<_> = tally.wrong.iter().map(named).collect();
        assert!(wrong.is_empty(), "neither policy says so: {wrong:?}");
        // One epoch ended, and the other.
        self.drain(lab);
        self.drain(lab);
        assert_eq!(self.told, self.sent(tally), "packets in records: all, dropped");
        let delta = lab.delta();
        let unwanted = |name: &str| name.starts_with("lost") || name.contains("NoPolicy");
        let found: Vec<_> = delta.iter().filter(|(name, _)| unwanted(name)).collect();
        assert!(found.is_empty(), "{found:?}");
        // "Inbound Pass Rule": the other counters count the same packets again.
        let is_reason = |name: &str| name.split(' ').count() == 3;
        let counted = delta.iter().filter(|(name, _)| is_reason(name));
        let counted: u64 = counted.map(|(_, (packets, _))| packets).sum();
        assert_eq!(counted, tally.all(), "every packet is counted once");
    }

    /// What must be in the records of a flood.
    fn sent(&self, tally: &Tally) -> HashMap<Subject, [u64; 2]> {
        let mut sent: HashMap<Subject, [u64; 2]> = HashMap::new();
        for at in 0..self.probes.len() {
            let keys = [0, 1].map(|policy| self.says(policy, at).key);
            let Some(key) = keys[0].or(keys[1]) else { continue };
            // What passes without a record is dropped with one.
            let is_always_told = keys.iter().all(Option::is_some);
            let all = if is_always_told { tally.judged(at) } else { tally.dropped[at] };
            let sums = sent.entry(subject(key)).or_default();
            sums[0] += all;
            sums[1] += tally.dropped[at];
        }
        sent
    }
}
