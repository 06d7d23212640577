//! How often both sides came to what.

use std::collections::BTreeMap;

use nsp_common::{
    decision::Decision,
    verdict::{Reason, Verdict},
};
use nsp_tests::prog::Entry;

/// Of so many samples one, at least, is of each reason.
const OF_REASON: u64 = 1000;
/// Of so many one, at least, is of each verdict.
const OF_VERDICT: u64 = 20;

#[derive(Debug, Default)]
pub(super) struct Tally {
    /// Packets that the programs judged.
    pub(super) packets: u64,
    /// Packets that the kernel runs no program on.
    pub(super) too_short: u64,
    /// Packets that were described to the dry run.
    pub(super) described: u64,
    verdicts: BTreeMap<Verdict, u64>,
    reasons: BTreeMap<Reason, u64>,
    entries: BTreeMap<String, u64>,
}

impl Tally {
    pub(super) fn add(&mut self, entry: Entry, decision: &Decision) {
        self.packets += 1;
        *self.verdicts.entry(decision.verdict).or_default() += 1;
        *self.reasons.entry(decision.reason).or_default() += 1;
        *self.entries.entry(format!("{entry:?}")).or_default() += 1;
    }

    /// Only the dry run can be told who sends.
    pub(super) fn add_described(&mut self, decision: &Decision) {
        self.described += 1;
        if decision.reason == Reason::Recursive {
            *self.reasons.entry(decision.reason).or_default() += 1;
        }
    }

    pub(super) fn print(&self) {
        println!("{:?}, {} too short to be run", self.entries, self.too_short);
        for (reason, samples) in &self.reasons {
            println!("  {samples:>8}  {reason:?}");
        }
    }

    /// One line of it.
    pub(super) fn summary(&self) -> String {
        let share = |verdict| self.of_verdict(verdict) as f64 * 100.0 / self.packets as f64;
        let fewest = self.reasons.iter().min_by_key(|(_, samples)| **samples);
        let (reason, samples) = fewest.expect("there were packets");
        format!(
            "{:.1} % passed, {:.1} % dropped, {} reasons, the fewest samples {samples} of {reason:?}; \
             {} descriptions for the dry run: 0 differences",
            share(Verdict::Pass),
            share(Verdict::Drop),
            self.reasons.len(),
            self.described,
        )
    }

    fn of_verdict(&self, verdict: Verdict) -> u64 {
        self.verdicts.get(&verdict).copied().unwrap_or(0)
    }

    /// Whether there were enough of all that can be reached, and none of what cannot.
    pub(super) fn check(&self, unreached: &[(Reason, &str)]) {
        for verdict in Verdict::ALL {
            let samples = self.of_verdict(*verdict);
            assert!(samples >= self.packets / OF_VERDICT, "only {samples} with {verdict:?}");
        }
        let wanted = self.packets / OF_REASON;
        for reason in Reason::ALL {
            let samples = self.reasons.get(reason).copied().unwrap_or(0);
            match unreached.iter().find(|(it, _)| it == reason) {
                Some((_, why)) => assert_eq!(samples, 0, "{reason:?} came up, but: {why}"),
                None => assert!(samples >= wanted, "only {samples} of {wanted} with {reason:?}"),
            }
        }
    }
}
