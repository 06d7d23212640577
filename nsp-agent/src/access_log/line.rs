//! A record as one line for people.
//!
//! `12:03 WOULD-DENY in 198.51.100.7 → postgres 5432/tcp no rule ×41`

use std::fmt;

use jiff::{Timestamp, Zoned, tz::TimeZone};
use nsp_common::verdict::Reason;

use super::{
    escape::OneLine,
    record::{AccessRecord, MatchedRule, ResultAction, ResultDirection},
};

/// Where and when the reader is.
#[derive(Clone, Debug)]
pub struct Reader {
    now: Zoned,
}

impl Reader {
    /// A reader in a time zone, at a moment: the lines of other days show their date.
    pub fn new(zone: TimeZone, now: Timestamp) -> Self {
        Self { now: now.to_zoned(zone) }
    }

    /// Somebody at this host, now.
    pub fn here() -> Self {
        Self { now: Zoned::now() }
    }

    /// The line of a record, without its end. Whatever the record holds, it is one line and does
    /// nothing to a terminal.
    pub fn line(&self, record: &AccessRecord) -> String {
        Line { record, reader: self }.to_string()
    }
}

/// The first word of a line: what became of the record's traffic.
pub fn outcome(record: &AccessRecord) -> &'static str {
    match record.result_action {
        ResultAction::Denied => "DENY",
        ResultAction::Approved if record.reason == Reason::Kept.name() => "KEPT",
        ResultAction::Approved if record.would_deny() => "WOULD-DENY",
        ResultAction::Approved => "ALLOW",
    }
}

struct Line<'a> {
    record: &'a AccessRecord,
    reader: &'a Reader,
}

impl fmt::Display for Line<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { record, reader } = self;
        let time = record.time_generated.to_zoned(reader.now.time_zone().clone());
        if time.date() != reader.now.date() {
            write!(f, "{} ", time.date())?;
        }
        write!(f, "{:02}:{:02} {} ", time.hour(), time.minute(), outcome(record))?;
        self.ends(f)?;
        self.port(f)?;
        self.why(f)?;
        if let (Some(pid), Some(comm)) = (record.pid, &record.comm) {
            write!(f, " by {}[{pid}]", OneLine(comm))?;
        }
        match record.count {
            // Its conversations were counted in an earlier record.
            0 => write!(f, ", continued"),
            1 => Ok(()),
            count => write!(f, " ×{count}"),
        }
    }
}

impl Line<'_> {
    /// `in 198.51.100.7 → postgres`, `out postgres → api.example.com (203.0.113.9)`.
    fn ends(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let record = self.record;
        let source = OneLine(&record.source_ip_address);
        let destination = OneLine(&record.destination_ip_address);
        let resource = record.resource().map(OneLine);
        match record.result_direction {
            ResultDirection::Inbound => {
                let target = resource.as_ref().unwrap_or(&destination);
                write!(f, "in {source} → {target}")
            }
            ResultDirection::Outbound => {
                write!(f, "out {} → ", resource.as_ref().unwrap_or(&source))?;
                match record.destination_fqdn.as_deref() {
                    Some(fqdn) => write!(f, "{} ({destination})", OneLine(fqdn)),
                    None => write!(f, "{destination}"),
                }
            }
        }
    }

    fn port(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let protocol = self.record.destination_protocol.to_lowercase();
        match self.record.destination_port {
            Some(port) => write!(f, " {port}/{}", OneLine(&protocol)),
            None => write!(f, " {}", OneLine(&protocol)),
        }
    }

    fn why(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.record.matched_rule {
            // Of a denial the rule is what would have allowed it, and the reason why it did not.
            Some(MatchedRule { access_rule })
                if self.record.result_action != ResultAction::Denied =>
            {
                write!(f, " rule {}", OneLine(access_rule))
            }
            _ => write!(f, " {}", OneLine(&self.record.reason)),
        }
    }
}

#[cfg(test)]
mod tests;
