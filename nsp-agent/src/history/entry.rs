//! One record of the history.

use std::{fs, process};

use serde::{Deserialize, Serialize};
use serde_json::Value;

/// What was changed, or was to be.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Entry {
    /// When it was over, RFC 3339.
    pub time: String,
    /// A verb, or what the agent did unasked.
    pub what: String,
    /// Who asked; nobody, where the agent did it by itself.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub by: Option<Who>,
    /// The arguments of a verb, or what else there is to say.
    #[serde(default, skip_serializing_if = "Value::is_null")]
    pub detail: Value,
    /// What came of it.
    pub outcome: Outcome,
    /// Why it was refused or taken back.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub why: Option<String>,
    /// Digest of the policy in force before.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub before: Option<String>,
    /// And after; none, where none is in force any more.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub after: Option<String>,
    /// The generation in force after.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub generation: Option<u32>,
    /// How many records before this one could not be written.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub lost_before: u64,
}

/// What came of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Outcome {
    /// It was done.
    Done,
    /// It is in force until somebody confirms it, or it is taken back.
    Waits,
    /// What waited stays.
    Confirmed,
    /// What waited is not in force any more.
    TakenBack,
    /// It was not done.
    Refused,
}

impl Outcome {
    /// The words for people.
    pub const fn words(self) -> &'static str {
        match self {
            Self::Done => "done",
            Self::Waits => "waits to be confirmed",
            Self::Confirmed => "confirmed",
            Self::TakenBack => "taken back",
            Self::Refused => "REFUSED",
        }
    }
}

/// Who asked, as the kernel knows them.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Who {
    /// Whose the process was.
    pub uid: u32,
    /// Its number.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pid: Option<i32>,
    /// What it was called.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub process: Option<String>,
    /// As whom they logged in, before they became root.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub login_uid: Option<u32>,
}

impl Who {
    /// A process that lives. What cannot be read of it is left out.
    pub fn of(uid: u32, pid: Option<i32>) -> Self {
        let read = |name: &str| {
            let text = fs::read_to_string(format!("/proc/{}/{name}", pid?)).ok()?;
            Some(text.trim().to_owned())
        };
        // -1: nobody logged in, a service did it.
        let login_uid =
            read("loginuid").and_then(|it| it.parse().ok()).filter(|it| *it != u32::MAX);
        Self { uid, pid, process: read("comm"), login_uid }
    }

    /// This process.
    pub fn here() -> Self {
        Self::of(rustix::process::getuid().as_raw(), i32::try_from(process::id()).ok())
    }
}

impl Entry {
    /// A record of now, that nobody asked for.
    pub fn new(what: impl Into<String>, outcome: Outcome) -> Self {
        Self {
            time: format!("{:.3}", jiff::Timestamp::now()),
            what: what.into(),
            by: None,
            detail: Value::Null,
            outcome,
            why: None,
            before: None,
            after: None,
            generation: None,
            lost_before: 0,
        }
    }
}

fn is_zero(number: &u64) -> bool {
    *number == 0
}
