//! What one session was refused, summed up by process and destination. Pure.

use std::collections::BTreeMap;

use nsp_common::{
    event::{Grain, Record, RecordKey, flags},
    net::transport::protocol::{ICMP, ICMPV6, SCTP, TCP, UDP},
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
        let has_address = key.remote != [0; 16];
        let mut entry = Entry {
            process: said.comm.clone(),
            pid: said.pid,
            name: said.destination_fqdn.clone(),
            address: (has_address && key.grain == Grain::Address as u8)
                .then(|| said.destination_ip_address.clone()),
            port: said.destination_port,
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
