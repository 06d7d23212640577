//! What verbs do themselves where no agent answers.

use std::{io::ErrorKind, path::Path};

use serde_json::Value;

use crate::{
    control::ControlError,
    daemon::with_sources,
    history::{Entry, History, Outcome, Who},
    host::links,
};

/// What no agent can write down; `why` when it was not done.
pub(super) fn record(state_dir: &Path, what: &str, detail: Value, why: Option<&String>) {
    if !state_dir.is_dir() {
        return;
    }
    let mut history = History::new(state_dir);
    history.append(Entry {
        by: Some(Who::here()),
        detail,
        why: why.cloned(),
        ..Entry::new(what, if why.is_none() { Outcome::Done } else { Outcome::Refused })
    });
    if let Some(why) = history.error() {
        eprintln!("nsp: not in the history: {why}");
    }
}

/// Whether there is nobody, and not only nobody who would answer us.
pub(super) fn is_gone(error: &ControlError) -> bool {
    matches!(error, ControlError::NoAgent { source, .. }
        if matches!(source.kind(), ErrorKind::NotFound | ErrorKind::ConnectionRefused))
}

/// The names of all interfaces.
pub(super) fn interfaces() -> Result<Vec<String>, String> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let links = runtime.map_err(|error| error.to_string())?.block_on(links::read());
    let links = links.map_err(|error| with_sources(&error))?;
    Ok(links.into_iter().map(|link| link.name).collect())
}
