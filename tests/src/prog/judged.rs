//! What became of one packet, held against what should have.

use nsp_agent::{compile::identities::Identities, datapath::Drained};
use nsp_common::{
    address::Address,
    event::{Event, Record, RecordKey, flags},
    verdict::{Category, Direction, Reason, Verdict},
};

use super::lab::{Delta, category_name, reason_name};

/// A packet that was judged. Every method asserts the verdict, the change of all counters, and the
/// record with its event.
#[must_use = "a judged packet is held against what should have become of it"]
pub struct Judged<'a> {
    pub(super) what: String,
    pub(super) verdict: Verdict,
    pub(super) direction: Direction,
    pub(super) length: u64,
    pub(super) addresses: Option<(Address, Address)>,
    pub(super) delta: Delta,
    pub(super) records: Drained,
    pub(super) events: Vec<Event>,
    pub(super) resource: Option<&'static str>,
    pub(super) identities: &'a Identities,
}

/// A record of one packet.
pub type Recorded = (RecordKey, Record);

impl Judged<'_> {
    /// An access rule allows it.
    pub fn allowed(self, rule: &str) -> Recorded {
        let category = match self.direction {
            Direction::Inbound => Category::PublicInboundPerimeterRulesAllowed,
            Direction::Outbound => Category::PublicOutboundPerimeterRulesAllowed,
        };
        self.passes_by(rule, Reason::Rule, category)
    }

    /// It passes as part of a conversation that a rule allowed when `opener` opened it.
    pub fn follows(self, rule: &str, opener: Direction) -> Recorded {
        let category = match opener {
            Direction::Inbound => Category::PublicInboundPerimeterRulesAllowed,
            Direction::Outbound => Category::PublicOutboundPerimeterRulesAllowed,
        };
        self.passes_by(rule, Reason::Flow, category)
    }

    /// It is dropped, and recorded as denied on the way it goes.
    pub fn refused(self, reason: Reason) -> Recorded {
        let category = match self.direction {
            Direction::Inbound => Category::PublicInboundPerimeterRulesDenied,
            Direction::Outbound => Category::PublicOutboundPerimeterRulesDenied,
        };
        self.drops(reason, category)
    }

    /// It is dropped before its addresses could be read.
    pub fn refused_unread(mut self, reason: Reason) -> Recorded {
        self.addresses = Some((Address::UNSPECIFIED, Address::UNSPECIFIED));
        self.refused(reason)
    }

    /// It passes, and would not if its way were enforced.
    pub fn would_deny(self, reason: Reason) -> Recorded {
        let category = match self.direction {
            Direction::Inbound => Category::PublicInboundResourceRulesAllowed,
            Direction::Outbound => Category::PublicOutboundResourceRulesAllowed,
        };
        self.passes(reason, category)
    }

    /// It passes and is counted, without a record.
    pub fn ignored(self, reason: Reason) {
        self.check(Verdict::Pass, reason, Category::None, None);
    }

    /// It passes without a rule, with a record.
    pub fn passes(self, reason: Reason, category: Category) -> Recorded {
        self.check(Verdict::Pass, reason, category, None).expect("a category other than none")
    }

    /// It passes by a rule, with a record.
    pub fn passes_by(self, rule: &str, reason: Reason, category: Category) -> Recorded {
        self.check(Verdict::Pass, reason, category, Some(rule)).expect("a category")
    }

    /// It is dropped, with a record.
    pub fn drops(self, reason: Reason, category: Category) -> Recorded {
        self.check(Verdict::Drop, reason, category, None).expect("a category other than none")
    }

    /// It is dropped although a rule allows its conversation, and recorded as denied on its way.
    pub fn drops_by(self, rule: &str, reason: Reason) -> Recorded {
        let category = match self.direction {
            Direction::Inbound => Category::PublicInboundPerimeterRulesDenied,
            Direction::Outbound => Category::PublicOutboundPerimeterRulesDenied,
        };
        self.check(Verdict::Drop, reason, category, Some(rule)).expect("a category")
    }

    fn check(
        &self,
        verdict: Verdict,
        reason: Reason,
        category: Category,
        rule: Option<&str>,
    ) -> Option<Recorded> {
        let what = &self.what;
        let counted = (1, self.length);
        let mut expected = Delta::from([(reason_name(reason, self.direction, verdict), counted)]);
        if category != Category::None {
            expected.insert(category_name(category), counted);
        }
        assert_eq!(
            self.delta,
            expected,
            "{what} {:?}: counters changed (left), should have (right)",
            self.addresses.map(|(source, destination)| (source.octets, destination.octets)),
        );
        assert_eq!(self.verdict, verdict, "{what}: {reason:?} was counted, the action differs");
        if category == Category::None {
            assert!(self.records.is_empty(), "{what}: an unwanted record {:?}", self.records);
            assert!(self.events.is_empty(), "{what}: an unwanted event {:?}", self.events);
            return None;
        }
        let [(key, record)] = self.records[..] else {
            panic!("{what}: one packet, one record, not {:?}", self.records);
        };
        let events: Vec<_> = self.events.iter().map(|event| event.key).collect();
        assert_eq!(events, [key], "{what}: the first packet of a kind is told");
        self.check_key(&key, verdict, reason, category, rule);
        assert_eq!((record.packets, record.bytes), counted, "{what}: the record's sums");
        Some((key, record))
    }

    fn check_key(
        &self,
        key: &RecordKey,
        verdict: Verdict,
        reason: Reason,
        category: Category,
        rule: Option<&str>,
    ) {
        let what = &self.what;
        let would_deny = matches!(
            category,
            Category::PublicInboundResourceRulesAllowed
                | Category::PublicOutboundResourceRulesAllowed
        );
        // Packets of a conversation join the record of its opening.
        let reason = match reason {
            Reason::Flow if would_deny => Reason::NoRule,
            Reason::Flow if rule.is_some() => Reason::Rule,
            other => other,
        };
        assert_eq!(Category::from_number(key.category), Some(category), "{what}: category");
        assert_eq!(Reason::from_number(key.reason), Some(reason), "{what}: the record's reason");
        let set = |bit| key.flags & bit != 0;
        assert_eq!(set(flags::DENIED), verdict == Verdict::Drop, "{what}: flag denied");
        assert_eq!(set(flags::WOULD_DENY), would_deny, "{what}: flag would-deny");
        assert_eq!(set(flags::OUTBOUND), is_outbound(category), "{what}: flag outbound");
        let named = self.identities.rules().find(|(identity, ..)| *identity == key.rule);
        assert_eq!(named.map(|(_, _, _, name)| name), rule, "{what}: rule");
        let resource = self.identities.associations().find(|(it, _)| *it == key.association);
        assert_eq!(resource.map(|(_, name)| name), self.resource, "{what}: resource");
        if let Some((source, destination)) = self.addresses {
            let ends = match self.direction {
                Direction::Inbound => (source, destination),
                Direction::Outbound => (destination, source),
            };
            let recorded = (key.remote, key.local);
            assert_eq!(recorded, (ends.0.octets, ends.1.octets), "{what}: remote and local");
        }
    }
}

const fn is_outbound(category: Category) -> bool {
    matches!(
        category,
        Category::PublicOutboundPerimeterRulesAllowed
            | Category::PublicOutboundPerimeterRulesDenied
            | Category::PublicOutboundResourceRulesAllowed
            | Category::CrossPerimeterOutboundAllowed
            | Category::OutboundAttempt
    )
}
