//! `apply --confirm`: a change that takes itself back unless somebody confirms it, whether this agent lives
//! or not.
//!
//! The kernel keeps the time ([`crate::datapath::Datapath::confirm`]). The agent remembers what comes back, says
//! what happened, and sees to it that a start never brings back what was never confirmed.

use std::{
    collections::HashSet,
    net::SocketAddr,
    path::PathBuf,
    time::{Duration, Instant},
};

use serde_json::{Value, json};

use super::{
    change::Made,
    errors::with_sources,
    state::{Agent, now_ns},
    stricter::stricter,
};
use crate::{
    control::{Applied, Caller, Confirmation},
    history::{Entry, Outcome},
    host::sockets,
    policy::model::Policy,
};

/// A change that waits.
pub(super) struct Pending {
    until: Instant,
    /// What comes back, and where it came from when that is not the default file.
    before: Made,
    trial_before: Option<PathBuf>,
    /// Connections that were there already: that one of them lives on proves nothing.
    older: HashSet<(SocketAddr, SocketAddr)>,
}

/// Why a change was taken back that nobody took back.
pub(super) const UNCONFIRMED: &str = "nobody confirmed it in time";

/// Why nothing else may change now.
const WAITS: &str = "a change waits to be confirmed: nsp confirm, or nsp rollback";

impl Agent {
    /// When the change that waits is over.
    pub(super) fn pending_until(&self) -> Option<Instant> {
        self.pending.as_ref().map(|pending| pending.until)
    }

    /// The policy that a change which waits goes back to.
    pub(super) fn policy_before(&self) -> Option<&Policy> {
        self.pending.as_ref().map(|pending| &pending.before.loaded.policy)
    }

    /// An error while a change waits: what it would go back to must not become something else.
    pub(super) fn refuse_while_pending(&self) -> Result<(), String> {
        if self.pending.is_some() { Err(WAITS.to_owned()) } else { Ok(()) }
    }

    /// `nsp apply`.
    pub(super) async fn apply_asked(&mut self, asked: Applied) -> Result<Value, String> {
        let Applied { path, strict, confirmation, caller, force } = asked;
        self.refuse_while_pending()?;
        let path = path.unwrap_or_else(|| self.options.policy.clone());
        let loaded = self.read(&path).map_err(|errors| errors.to_string())?;
        if let (Some(caller), false) = (caller, force) {
            self.refuse_to_lock_out(&loaded, caller)?;
            self.refuse_to_narrow_failsafe(&loaded, caller)?;
        }
        let seconds = match confirmation {
            Confirmation::Now => None,
            Confirmation::Within { seconds } => Some(seconds),
            Confirmation::IfStricter { seconds } => {
                let why = stricter(&self.loaded.policy, &loaded.policy);
                if why.is_none() && self.count_cut(&loaded)? == 0 { None } else { Some(seconds) }
            }
        };
        let trial = (path != self.options.policy).then_some(path);
        let Some(seconds) = seconds else {
            let applied = match trial {
                Some(_) => self.apply(loaded, strict),
                None => self.apply_for_good(loaded, strict),
            };
            let number = applied.map_err(|error| with_sources(&error))?;
            self.trial = trial;
            // Of what was in force before. What is still wrong is found again.
            self.last_error = None;
            return Ok(json!({"generation": number, "trial": self.trial}));
        };
        let older = sockets::read().await.map_err(|error| with_sources(&error))?.connections;
        let older = older.into_iter().map(|it| (it.remote, it.local)).collect();
        // Saved with the rest of the state before the kernel has it: whatever ends the agent, the next one
        // knows that nobody confirmed this.
        self.state.unconfirmed = Some(loaded.digest.clone());
        let patience = Duration::from_secs(seconds);
        let until_ns = now_ns() + seconds * 1_000_000_000;
        let until = Instant::now() + patience;
        let (number, before) = match self.apply_until(loaded, strict, Some(until_ns)) {
            Ok(applied) => applied,
            Err(error) => {
                self.state.unconfirmed = None;
                self.save_state();
                return Err(with_sources(&error));
            }
        };
        let trial_before = std::mem::replace(&mut self.trial, trial);
        self.pending = Some(Pending { until, before, trial_before, older });
        tracing::warn!(
            generation = number,
            seconds,
            "in force until it is confirmed, or taken back"
        );
        Ok(json!({"generation": number, "trial": self.trial, "confirmWithin": seconds}))
    }

    /// `nsp confirm`.
    pub(super) async fn confirm(&mut self, caller: Option<Caller>) -> Result<Value, String> {
        let pending = self.pending.as_ref().ok_or("no change waits to be confirmed")?;
        if let Some(caller) = caller {
            let connection = (caller.remote, caller.local);
            if pending.older.contains(&connection) {
                return Err(format!(
                    "the connection from {} is older than the change, and proves nothing: open a new one, and \
                     confirm from there",
                    caller.remote
                ));
            }
            let now = sockets::read().await.map_err(|error| with_sources(&error))?.connections;
            if !now.iter().any(|it| (it.remote, it.local) == connection) {
                return Err(format!(
                    "there is no connection from {} any more: open a new one, and confirm from there",
                    caller.remote
                ));
            }
        }
        // What can fail without harm comes first: it waits on, and can be confirmed again.
        if self.trial.is_none() {
            self.keep_files(&self.loaded)
                .map_err(|error| format!("not confirmed: {}", with_sources(&error)))?;
        }
        if !self.datapath.confirm() {
            self.take_back(UNCONFIRMED);
            return Err("too late: the policy before is in force again".to_owned());
        }
        self.pending = None;
        self.last_error = None;
        self.state.unconfirmed = None;
        if self.trial.is_none() {
            self.state.confirm(&self.loaded.digest);
        }
        if let Err(error) = self.try_save_state() {
            return Err(format!(
                "it is in force for good, but the next start goes back to the one before: {}",
                with_sources(&error)
            ));
        }
        self.forget_kept();
        let number = self.datapath.generation();
        tracing::info!(generation = number, "confirmed");
        Ok(json!({"generation": number}))
    }

    /// `nsp rollback`.
    pub(super) fn roll_back(&mut self) -> Result<Value, String> {
        if self.pending.is_none() {
            return Err("no change waits to be confirmed".to_owned());
        }
        self.take_back("it was taken back by hand");
        Ok(json!({"generation": self.datapath.generation()}))
    }

    /// The change that waited is over. The kernel has gone back already, or does now.
    pub(super) fn take_back(&mut self, why: &str) {
        let Some(Pending { before, trial_before, .. }) = self.pending.take() else { return };
        let waited = self.loaded.digest.clone();
        match self.datapath.roll_back() {
            Ok(number) => tracing::error!(generation = number, why, "the change was taken back"),
            Err(error) => self.complain("the change was not taken back", &error),
        }
        self.state.take_back_unconfirmed();
        self.trial = trial_before;
        self.go_back_to(before);
        self.record(Entry {
            why: Some(why.to_owned()),
            before: Some(waited),
            ..Entry::new("take-back", Outcome::TakenBack)
        });
        self.last_error = Some(format!("the last change was taken back: {why}"));
    }
}
