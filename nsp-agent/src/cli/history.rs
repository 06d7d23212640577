//! `nsp history`: what was changed, by whom, and what came of it.

use std::{
    io::{ErrorKind, Write as _},
    path::PathBuf,
};

use clap::Args;
use serde_json::Value;

use super::{Failure, STATE_DIR};
use crate::history::{self, Entry, Past, Who};

/// Show what was changed, by whom, and what came of it; also what changed unasked, such as a start or a hook
/// that was put back. Reads the file itself: no agent has to run.
#[derive(Args, Debug)]
pub(crate) struct History {
    /// Only the last N
    #[arg(short, value_name = "N")]
    number: Option<usize>,
    /// Print the records as they are, JSON Lines
    #[arg(long)]
    json: bool,
    /// The agent's state
    #[arg(long, value_name = "DIR", env = "NSP_STATE_DIR", default_value = STATE_DIR)]
    state_dir: PathBuf,
}

impl History {
    pub(super) fn run(self) -> Result<(), Failure> {
        let directory = self.state_dir.display();
        let read = history::read(&self.state_dir);
        let Past { entries, unreadable } = read.map_err(|error| {
            let what = format!("history: cannot read that of {directory}: {error}");
            match error.kind() {
                ErrorKind::PermissionDenied => {
                    Failure::needs_privileges(what).with_cure("sudo nsp history")
                }
                _ => Failure::failed(what),
            }
        })?;
        if unreadable != 0 {
            eprintln!("nsp: {unreadable} lines of the history could not be read");
        }
        if entries.is_empty() {
            eprintln!("nsp: {directory} has no history yet");
        }
        let skipped = entries.len().saturating_sub(self.number.unwrap_or(usize::MAX));
        let mut out = std::io::stdout().lock();
        for entry in &entries[skipped..] {
            let line = if self.json {
                serde_json::to_string(entry).map_err(|error| Failure::failed(error.to_string()))?
            } else {
                line(entry)
            };
            // A reader that has gone (a closed pipe) has seen enough.
            if writeln!(out, "{line}").is_err() {
                break;
            }
        }
        Ok(())
    }
}

/// `2026-01-31T12:00:00.123Z apply by uid 0 (logged in as 1000, nsp 4711): done; policy 3f2a… -> 99c1…`
fn line(entry: &Entry) -> String {
    let Entry { time, what, by, detail, outcome, why, before, after, generation, lost_before } =
        entry;
    let mut line = format!("{time} {what}");
    if let Some(by) = by {
        line += &format!(" by {}", who(by));
    }
    line += &format!(": {}", outcome.words());
    if let Some(why) = why {
        line += &format!(", {why}");
    }
    let words = words(detail);
    if !words.is_empty() {
        line += &format!("; {words}");
    }
    line += &match (before.as_deref().map(short), after.as_deref().map(short)) {
        (Some(before), Some(after)) if before != after => format!("; policy {before} -> {after}"),
        (_, Some(after)) => format!("; policy {after}"),
        (Some(before), None) => format!("; policy {before} -> none"),
        (None, None) => String::new(),
    };
    if let Some(generation) = generation {
        line += &format!(", generation {generation}");
    }
    if *lost_before != 0 {
        line += &format!("; {lost_before} records before this one are LOST");
    }
    // Who may change something is root, and yet no text of theirs moves a cursor.
    line.chars().map(|it| if it.is_control() { '?' } else { it }).collect()
}

fn who(by: &Who) -> String {
    let Who { uid, pid, process, login_uid } = by;
    let mut more = Vec::new();
    if let Some(login) = login_uid {
        more.push(format!("logged in as {login}"));
    }
    let process = [process.clone(), pid.map(|pid| pid.to_string())];
    let process = process.into_iter().flatten().collect::<Vec<_>>().join(" ");
    more.extend(Some(process).filter(|it| !it.is_empty()));
    if more.is_empty() { format!("uid {uid}") } else { format!("uid {uid} ({})", more.join(", ")) }
}

/// `key value, key value`, without what was not said.
fn words(detail: &Value) -> String {
    let said = |value: &Value| match value {
        Value::Null | Value::Bool(false) => None,
        Value::Array(all) if all.is_empty() => None,
        Value::Bool(true) => Some(String::new()),
        Value::String(text) => Some(format!(" {text}")),
        other => Some(format!(" {other}")),
    };
    match detail {
        Value::Object(all) => {
            let words = all.iter().filter_map(|(key, value)| Some(key.clone() + &said(value)?));
            words.collect::<Vec<_>>().join(", ")
        }
        Value::Null => String::new(),
        Value::String(text) => text.clone(),
        other => other.to_string(),
    }
}

/// Enough of a digest to tell it from others.
fn short(digest: &str) -> &str {
    digest.get(..12).unwrap_or(digest)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::history::Outcome;

    #[test]
    fn a_line_says_who_what_and_what_came_of_it() {
        let by = Who { uid: 0, pid: Some(7), process: Some("nsp".into()), login_uid: Some(1000) };
        let entry = Entry {
            time: "2026-01-31T12:00:00.000Z".into(),
            by: Some(by),
            detail: json!({"resource": "ssh", "enforced": true, "direction": null}),
            before: Some("0123456789abcdef".into()),
            after: Some("fedcba9876543210".into()),
            generation: Some(3),
            ..Entry::new("mode", Outcome::Done)
        };
        assert_eq!(
            line(&entry),
            "2026-01-31T12:00:00.000Z mode by uid 0 (logged in as 1000, nsp 7): done; enforced, resource ssh; \
             policy 0123456789ab -> fedcba987654, generation 3"
        );
        let entry =
            Entry { before: None, by: None, lost_before: 2, why: Some("no\n".into()), ..entry };
        assert_eq!(
            line(&entry),
            "2026-01-31T12:00:00.000Z mode: done, no?; enforced, resource ssh; policy fedcba987654, \
             generation 3; 2 records before this one are LOST"
        );
    }
}
