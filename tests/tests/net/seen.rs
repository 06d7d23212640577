//! What the agent says it has seen: its access log and its counters.

use std::{thread, time::Duration};

use nsp_tests::{agent::Agent, deadline::Deadline};
use serde_json::Value;

/// How long a record may take to reach the log; a loaded machine is slow.
const WITHIN: Duration = Duration::from_secs(5);

/// The record in which each of these columns has this value.
///
/// # Panics
/// When there is none within five seconds; the message has the whole log.
#[track_caller]
pub(crate) fn record(agent: &Agent, columns: &Value) -> Value {
    let found = poll(|| records(agent, columns).into_iter().next());
    let Some(record) = found else { panic!("no record {columns}\n{}", agent.access_log()) };
    record
}

/// All records, as far as they are written, in which each of these columns has this value.
pub(crate) fn records(agent: &Agent, columns: &Value) -> Vec<Value> {
    let mut records = parse(&written(agent));
    records.retain(|record| has(record, columns));
    records
}

/// The records in a log. Its last line may still be on its way to the disk.
fn parse(log: &str) -> Vec<Value> {
    let lines = log.split_inclusive('\n').filter(|line| line.ends_with('\n'));
    lines.map(|line| serde_json::from_str(line).expect("a line of JSON")).collect()
}

/// The log, with everything in it that the agent still held. There is no file before the first
/// record.
fn written(agent: &Agent) -> String {
    let log = agent.nsp(&["logs", "--json"]);
    let said = String::from_utf8_lossy(&log.stderr);
    assert!(log.status.success() || said.contains("there is no access log"), "nsp logs: {said}");
    String::from_utf8(log.stdout).expect("JSON is UTF-8")
}

/// Asks until there is an answer; every question starts a process, so not all the time.
fn poll<T>(mut ask: impl FnMut() -> Option<T>) -> Option<T> {
    const PAUSE: Duration = Duration::from_millis(50);
    Deadline::after(WITHIN).poll(|| {
        let answer = ask();
        if answer.is_none() {
            thread::sleep(PAUSE);
        }
        answer
    })
}

/// Says that there is no such record, once the log has all that the kernel counted.
///
/// # Panics
/// When there is one.
#[track_caller]
pub(crate) fn no_record(agent: &Agent, columns: &Value) {
    settle(agent);
    let found = records(agent, columns);
    assert!(found.is_empty(), "{columns} is in the log:\n{}", agent.access_log());
}

/// Waits until every packet that the kernel counted for the log is in it, or counted as lost.
///
/// # Panics
/// When that takes five seconds: then packets vanish.
#[track_caller]
pub(crate) fn settle(agent: &Agent) {
    settle_at(agent, 0);
}

/// The same, and for these packets to be counted at all: a frame that was sent is on its way for
/// as long as a busy machine likes.
///
/// # Panics
/// When either takes five seconds.
#[track_caller]
pub(crate) fn settle_at(agent: &Agent, packets: u64) {
    let mut last = (0, 0, 0);
    let settled = poll(|| {
        let (log, status) = (parse(&agent.access_log()), status(agent));
        last = (logged(&log), counted(&status), judged(&status));
        if last.0 != last.1 {
            // It may still hold some: this makes it write them.
            written(agent);
        }
        (last.0 == last.1 && last.2 >= packets).then_some(())
    });
    let (logged, counted, judged) = last;
    assert!(
        settled.is_some(),
        "of {packets} packets the kernel counted {judged}; {counted} for the log, which has {logged}"
    );
}

/// Packets in these records.
pub(crate) fn logged(records: &[Value]) -> u64 {
    records.iter().map(|record| number(&record["Packets"])).sum()
}

/// Packets that the kernel counted for the log and did not lose on the way.
pub(crate) fn counted(status: &Value) -> u64 {
    let lost =
        number(&status["counters"]["lostRecords"]) + number(&status["accessLog"]["packetsLost"]);
    judged(status) - lost
}

/// Packets that belong in the log.
fn judged(status: &Value) -> u64 {
    let categories = status["counters"]["logged"].as_object().expect("counters by category");
    categories.values().map(number).sum()
}

/// `nsp status --json`.
pub(crate) fn status(agent: &Agent) -> Value {
    serde_json::from_str(&agent.nsp_ok(&["status", "--json"])).expect("JSON")
}

/// Packets with this reason, direction and verdict, as `nsp status` names them.
pub(crate) fn packets(agent: &Agent, reason: &str, direction: &str, verdict: &str) -> u64 {
    let status = status(agent);
    let wanted = serde_json::json!({"reason": reason, "direction": direction, "verdict": verdict});
    let reasons = status["counters"]["reasons"].as_array().expect("counters by reason");
    reasons.iter().filter(|it| has(it, &wanted)).map(|it| number(&it["packets"])).sum()
}

/// Whether each column of `columns` has its value in `record`.
pub(crate) fn has(record: &Value, columns: &Value) -> bool {
    let mut wanted = columns.as_object().into_iter().flatten();
    wanted.all(|(name, value)| record.get(name) == Some(value))
}

/// A number in JSON.
pub(crate) fn number(value: &Value) -> u64 {
    value.as_u64().unwrap_or_else(|| panic!("{value} is no number"))
}
