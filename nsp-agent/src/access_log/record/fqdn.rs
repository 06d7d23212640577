//! `DestinationFqdn`: the name that was asked for, where the address tells it.

use nsp_common::{
    event::{Grain, RecordKey, flags},
    learned::Naming,
    verdict::Reason,
};

use super::AccessRecord;
use crate::names::naming;

/// Whether the peer's address may tell what name a record is about.
pub fn may_be_told(key: &RecordKey) -> bool {
    key.flags & flags::OUTBOUND != 0 && key.grain == Grain::Address as u8
}

/// The name that an address was learned for last, if the record is about it. What passed by a name
/// shows the one that it passed by; what is denied, or would be, the one that somebody wanted.
fn told(key: &RecordKey, naming: &Naming) -> Option<String> {
    let is_refused = key.flags & (flags::DENIED | flags::WOULD_DENY) != 0;
    let is_by_name = key.name != 0 && key.name == naming.unit;
    let is_question = key.reason == Reason::StrictDns as u8;
    let is_told = is_question || may_be_told(key) && (is_refused || is_by_name);
    is_told.then(|| naming::text(naming)).flatten()
}

impl AccessRecord {
    /// The row with the name that was asked for, if `naming` of its peer's address tells; else with the
    /// pattern of the rule.
    #[must_use]
    pub fn with_asked_name(mut self, key: &RecordKey, naming: Option<&Naming>) -> Self {
        if let Some(name) = naming.and_then(|naming| told(key, naming)) {
            self.destination_fqdn = Some(name);
        }
        self
    }
}

#[cfg(test)]
mod tests {
    use nsp_common::{event::Record, verdict::Category};
    use rstest::rstest;

    use super::*;
    use crate::access_log::sample::{catalogue, clock, would_deny};

    /// Name 1 of the sample catalogue is `store.example.com`.
    const PATTERN: Option<&str> = Some("store.example.com");
    const ASKED: Option<&str> = Some("www.example.com");

    #[rstest]
    #[case::by_the_wildcard(1, flags::OUTBOUND, Grain::Address, ASKED)]
    #[case::summed_up(1, flags::OUTBOUND | flags::DENIED, Grain::Network, PATTERN)]
    #[case::by_a_prefix(0, flags::OUTBOUND, Grain::Address, None)]
    #[case::denied(0, flags::OUTBOUND | flags::DENIED, Grain::Address, ASKED)]
    #[case::would_be_denied(0, flags::OUTBOUND | flags::WOULD_DENY, Grain::Address, ASKED)]
    #[case::inbound(0, flags::DENIED, Grain::Address, None)]
    fn row_has_the_name_that_was_asked_for(
        #[case] name: u32,
        #[case] flags: u8,
        #[case] grain: Grain,
        #[case] expected: Option<&str>,
    ) {
        let key = RecordKey { name, flags, grain: grain as u8, ..would_deny() };
        let sums = Record { count: 1, packets: 1, ..Record::default() };
        let row = AccessRecord::of(&key, &sums, &catalogue(), &clock());
        assert_ne!(row.category, Category::None.name());
        let naming = naming::by_agent("www.example.com", 1, 100).unwrap();
        let row = row.with_asked_name(&key, Some(&naming));
        assert_eq!(row.destination_fqdn.as_deref(), expected);
    }

    #[test]
    fn refused_question_has_its_name_and_never_another_s() {
        // The number stands for the question; it may be that of a name of the policy too.
        let key = RecordKey {
            name: 1,
            flags: flags::OUTBOUND | flags::DENIED,
            reason: Reason::StrictDns as u8,
            ..would_deny()
        };
        let row = AccessRecord::of(&key, &Record::default(), &catalogue(), &clock());
        assert_eq!(row.destination_fqdn, None);
        let naming = naming::by_agent("secret.example.org", 0, 100).unwrap();
        let row = row.with_asked_name(&key, Some(&naming));
        assert_eq!(row.destination_fqdn.as_deref(), Some("secret.example.org"));
    }

    #[test]
    fn another_name_of_the_address_is_not_the_one_it_passed_by() {
        let key = RecordKey { name: 1, flags: flags::OUTBOUND, ..would_deny() };
        let row = AccessRecord::of(&key, &Record::default(), &catalogue(), &clock());
        let naming = naming::by_agent("www.example.com", 2, 100).unwrap();
        let row = row.with_asked_name(&key, Some(&naming));
        assert_eq!(row.destination_fqdn.as_deref(), PATTERN);
    }
}
