//! What the agent writes into the record of changes.

use serde_json::{Value, json};

use super::state::Agent;
use crate::{
    control::{Answer, Request},
    datapath::Origin,
    history::{Entry, Outcome, Who},
    switch::Touch,
};

impl Agent {
    /// Begins the record of what a verb asks for, before anything becomes of it.
    pub(super) fn note(&self, by: Who, request: &Request) -> Entry {
        let mut detail = serde_json::to_value(request).unwrap_or_default();
        let verb = detail.as_object_mut().and_then(|it| it.remove("verb"));
        // What is applied, allowed or blocked has an object of its own.
        if let Some(inner) = detail.as_object().filter(|it| it.len() == 1)
            && let Some(inner) = inner.values().next().filter(|it| it.is_object())
        {
            detail = inner.clone();
        }
        let verb = match request {
            Request::Temporary { entry } => {
                if entry.block {
                    "block"
                } else {
                    "allow"
                }
            }
            Request::Switch { to: Touch::On } => "on",
            Request::Switch { to: Touch::Off { .. } } => "off",
            _ => verb.as_ref().and_then(Value::as_str).unwrap_or_default(),
        };
        Entry {
            by: Some(by),
            detail,
            before: Some(self.loaded.digest.clone()),
            ..Entry::new(verb, Outcome::Refused)
        }
    }

    /// Ends it with what came of it.
    pub(super) fn record_asked(&mut self, mut entry: Entry, done: &Result<Answer, String>) {
        match done {
            // Off or on, and not everywhere.
            Ok(Answer::Value(value)) if value["error"].is_string() => {
                entry.why = value["error"].as_str().map(ToOwned::to_owned);
            }
            Ok(answer) => {
                let waits =
                    matches!(answer, Answer::Value(value) if value["confirmWithin"].is_number());
                entry.outcome = match entry.what.as_str() {
                    "confirm" => Outcome::Confirmed,
                    "rollback" => Outcome::TakenBack,
                    _ if waits => Outcome::Waits,
                    _ => Outcome::Done,
                };
            }
            Err(why) => entry.why = Some(why.clone()),
        }
        self.record(entry);
    }

    /// What happened without a verb.
    pub(super) fn record_unasked(&mut self, what: &str, before: String, done: Result<&(), String>) {
        let outcome = if done.is_ok() { Outcome::Done } else { Outcome::Refused };
        let why = done.err();
        self.record(Entry { before: Some(before), why, ..Entry::new(what, outcome) });
    }

    /// With which policy it begins, and what it found. A change that waited when the agent before ended was
    /// taken back by the kernel, or is by this.
    pub(super) fn record_start(&mut self, confirmed: Option<String>, waited: Option<String>) {
        if let Some(waited) = waited {
            self.record(Entry {
                why: Some("the agent ended before anybody confirmed it".to_owned()),
                before: Some(waited),
                ..Entry::new("take-back", Outcome::TakenBack)
            });
        }
        let found = match self.datapath.origin() {
            None => "nothing, and pins nothing",
            Some(Origin::New) => "nothing in force",
            Some(Origin::Adopted) => "what was in force, and goes on with it",
            Some(Origin::Beside) => "what was in force, and replaced it",
        };
        self.record(Entry {
            detail: json!({
                "policy": self.options.policy,
                "found": found,
                "complaint": self.last_error,
            }),
            before: confirmed,
            ..Entry::new("start", Outcome::Done)
        });
    }

    /// A hook that somebody took away, or all of the cgroups', and why it is not back.
    pub(super) fn record_repair(
        &mut self,
        interface: &str,
        way: &str,
        gap_max_ms: u64,
        why: Option<&String>,
    ) {
        let outcome = if why.is_none() { Outcome::Done } else { Outcome::Refused };
        self.record(Entry {
            detail: json!({"interface": interface, "way": way, "gapMaxMs": gap_max_ms}),
            why: why.cloned(),
            before: Some(self.loaded.digest.clone()),
            ..Entry::new("repair", outcome)
        });
    }

    /// An orderly end.
    pub(super) fn record_end(&mut self) {
        let stays = self.datapath.origin().is_some() && !self.is_off();
        let mut entry = Entry::new("end", Outcome::Done);
        entry.before = Some(self.loaded.digest.clone());
        entry.detail = json!({"perimeter": match (self.is_off(), stays) {
            (true, _) => "is off",
            (false, true) => "stays in force",
            (false, false) => "ends with the agent",
        }});
        if stays {
            self.record(entry);
        } else {
            self.history.append(entry);
        }
    }

    /// The perimeter has gone, or should have.
    pub(super) fn record_detach(&mut self, asked: Option<Entry>, done: &Result<(), String>) {
        if let Some(asked) = asked {
            let outcome = if done.is_ok() { Outcome::Done } else { Outcome::Refused };
            self.history.append(Entry { outcome, why: done.clone().err(), ..asked });
        }
    }

    /// Writes a record, with what is in force now.
    pub(super) fn record(&mut self, entry: Entry) {
        let Entry { what, by, detail, outcome, why, .. } = &entry;
        let (uid, pid) = (by.as_ref().map(|by| by.uid), by.as_ref().and_then(|by| by.pid));
        let asked = detail.to_string();
        tracing::info!(uid, pid, what, asked, outcome = outcome.words(), why, "change");
        let entry = Entry {
            after: Some(self.loaded.digest.clone()),
            generation: self.datapath.generation(),
            ..entry
        };
        self.history.append(entry);
    }
}
