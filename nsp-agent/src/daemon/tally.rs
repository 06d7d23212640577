//! What one session was refused, summed up by process and destination. Pure.

use std::collections::BTreeMap;

use nsp_common::{
    event::{Grain, Record, RecordKey, flags},
    net::transport::protocol::{ICMP, ICMPV6, SCTP, TCP, UDP},
    verdict::Reason,
};

use crate::{access_log::record::AccessRecord, control::exec::Blocked};

/// Destinations that are remembered: what does not fit is summed up without its address.
const ENTRIES_MAX: usize = 4096;

/// A sum over records.
#[derive(Clone, Debug)]
pub(super) struct Tally {
    since_ns: u64,
    entries: BTreeMap<Entry, u64>,
}

/// What is one line: [`Blocked`] without its count, in the order of lines.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Entry {
    process: Option<String>,
    pid: Option<u32>,
    name: Option<String>,
    address: Option<String>,
    port: Option<u16>,
    protocol: String,
    reason: String,
}

impl Tally {
    /// Of what happens from now on: an earlier session may have had the same identity.
    pub(super) fn since(now_ns: u64) -> Self {
        Self { since_ns: now_ns, entries: BTreeMap::new() }
    }

    /// Adds a record of the session's association, if it is about something refused.
    pub(super) fn add(&mut self, key: &RecordKey, record: &Record, said: &AccessRecord) {
        let refused = flags::DENIED | flags::WOULD_DENY;
        if key.flags & refused == 0
            || key.flags & flags::OUTBOUND == 0
            || record.last_ns < self.since_ns
        {
            return;
        }
        // Of a question that was refused the name is told, and not whom it would have been put to.
        let is_question = key.reason == Reason::StrictDns as u8 && said.destination_fqdn.is_some();
        let has_address = key.remote != [0; 16] && !is_question;
        let mut entry = Entry {
            process: said.comm.clone(),
            pid: said.pid,
            name: said.destination_fqdn.clone(),
            address: (has_address && key.grain == Grain::Address as u8)
                .then(|| said.destination_ip_address.clone()),
            port: said.destination_port.filter(|_| !is_question),
            protocol: protocol(key.protocol),
            reason: said.reason.clone(),
        };
        if self.entries.len() >= ENTRIES_MAX && !self.entries.contains_key(&entry) {
            entry = Entry { name: None, address: None, port: None, ..entry };
        }
        *self.entries.entry(entry).or_default() += record.count.max(1);
    }

    /// Everything, in the order of processes.
    pub(super) fn into_blocked(self) -> Vec<Blocked> {
        let blocked = self.entries.into_iter().map(|(entry, count)| {
            let Entry { process, pid, name, address, port, protocol, reason } = entry;
            Blocked { pid, process, name, address, port, protocol, reason, count }
        });
        blocked.collect()
    }
}

/// As a policy writes it.
fn protocol(number: u8) -> String {
    match number {
        TCP => "tcp".to_owned(),
        UDP => "udp".to_owned(),
        SCTP => "sctp".to_owned(),
        ICMP | ICMPV6 => "icmp".to_owned(),
        other => format!("proto/{other}"),
    }
}

#[cfg(test)]
mod tests {
    use nsp_common::{address::Address, verdict::Category};

    use super::*;
    use crate::access_log::{catalogue::Catalogue, clock::Clock};

    const DENIED: u8 = flags::DENIED | flags::OUTBOUND;

    fn key(bits: u8, reason: Reason) -> RecordKey {
        RecordKey {
            remote: Address::v4([198, 51, 100, 7]).octets,
            local: Address::v4([192, 0, 2, 1]).octets,
            rule: 0,
            name: 0,
            generation: 1,
            ifindex: 2,
            service_port: 443,
            association: 1,
            protocol: TCP,
            family: 4,
            reason: reason as u8,
            category: Category::PublicOutboundPerimeterRulesDenied as u8,
            flags: bits,
            grain: Grain::Address as u8,
            _pad: [0; 6],
        }
    }

    fn record(last_ns: u64) -> Record {
        let mut comm = [0; 16];
        comm[..4].copy_from_slice(b"curl");
        Record { count: 2, packets: 2, last_ns, pid: 42, comm, ..Record::default() }
    }

    fn tally(records: &[(RecordKey, Record, Option<&str>)]) -> Vec<Blocked> {
        let mut tally = Tally::since(1000);
        for (key, record, name) in records {
            let mut said = AccessRecord::of(key, record, &Catalogue::default(), &Clock::read());
            said.destination_fqdn = name.map(str::to_owned);
            tally.add(key, record, &said);
        }
        tally.into_blocked()
    }

    #[test]
    fn records_of_one_destination_are_summed_up() {
        let one = (key(DENIED, Reason::NoRule), record(2000), Some("t.example.net"));
        let blocked = tally(&[one, one]);
        assert_eq!(
            blocked,
            [Blocked {
                pid: Some(42),
                process: Some("curl".to_owned()),
                name: Some("t.example.net".to_owned()),
                address: Some("198.51.100.7".to_owned()),
                port: Some(443),
                protocol: "tcp".to_owned(),
                reason: "no rule".to_owned(),
                count: 4,
            }]
        );
    }

    #[test]
    fn what_passed_what_came_in_and_what_was_before_is_not_blocked() {
        let passed = (key(flags::OUTBOUND, Reason::Rule), record(2000), None);
        let came_in = (key(flags::DENIED, Reason::NoRule), record(2000), None);
        let before = (key(DENIED, Reason::NoRule), record(999), None);
        assert_eq!(tally(&[passed, came_in, before]), []);
        let would = (key(flags::OUTBOUND | flags::WOULD_DENY, Reason::NoRule), record(2000), None);
        assert_eq!(tally(&[would]).len(), 1);
    }

    #[test]
    fn of_a_refused_question_the_name_is_told() {
        let asked = (key(DENIED, Reason::StrictDns), record(2000), Some("t.example.net"));
        let [blocked] = &tally(&[asked])[..] else { panic!("one line") };
        assert_eq!((blocked.address.as_deref(), blocked.port), (None, None));
        let unread = (key(DENIED, Reason::StrictDns), record(2000), None);
        let [blocked] = &tally(&[unread])[..] else { panic!("one line") };
        assert_eq!(blocked.address.as_deref(), Some("198.51.100.7"));
    }

    #[test]
    fn a_sum_does_not_grow_for_ever() {
        let many: Vec<_> = (0..ENTRIES_MAX as u32 + 10)
            .map(|at| {
                let [a, b, c, d] = (0xc633_0000 + at).to_be_bytes();
                let remote = Address::v4([a, b, c, d]).octets;
                (RecordKey { remote, ..key(DENIED, Reason::NoRule) }, record(2000), None)
            })
            .collect();
        let blocked = tally(&many);
        assert_eq!(blocked.len(), ENTRIES_MAX + 1);
        assert_eq!(blocked.iter().map(|it| it.count).sum::<u64>(), 2 * many.len() as u64);
        assert_eq!(blocked.iter().find(|it| it.address.is_none()).map(|it| it.count), Some(20));
    }
}
