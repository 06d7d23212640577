//! Bytes as what the kernel's maps and ring hold: an event, and the record that it is about.

use jiff::{Timestamp, tz::TimeZone};
use nsp_agent::access_log::{
    catalogue::Catalogue, clock::Clock, line::Reader, record::AccessRecord,
};
use nsp_common::event::{Event, Record};

/// Takes the first bytes for an event, and what is behind it for its record. Whatever numbers they have,
/// they become one line of the log, which reads back the same, and one line for people.
///
/// # Panics
/// When they do not.
pub fn event(bytes: &[u8]) {
    let Some(event) = Event::from_bytes(bytes) else {
        assert!(bytes.len() < size_of::<Event>());
        return;
    };
    let rest = &bytes[size_of::<Event>()..];
    let record = Record::from_bytes(rest).unwrap_or(Record {
        packets: 1,
        first_ns: event.at_ns,
        last_ns: event.at_ns,
        opener_port: event.opener_port,
        ..Record::EMPTY
    });
    let clock = Clock { monotonic_ns: 1 << 40, wall: Timestamp::UNIX_EPOCH };
    let row = AccessRecord::of(&event.key, &record, &Catalogue::default(), &clock);
    let json = row.to_json();
    assert!(!json.contains(char::is_control), "{json:?}");
    assert_eq!(AccessRecord::from_json(json.as_bytes()).as_ref(), Some(&row), "{json}");
    let line = Reader::new(TimeZone::UTC, Timestamp::UNIX_EPOCH).line(&row);
    assert!(!line.is_empty() && !line.contains(char::is_control), "{line:?}");
}
