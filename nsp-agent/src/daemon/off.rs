//! Break-glass: the operator's switch, as the agent obeys it.
//!
//! Off means that nothing is hooked. Maps, names and the policy stay and are looked after, so that the way back
//! is short, and cuts no conversation that began meanwhile.

use std::{
    collections::BTreeSet,
    io,
    path::{Path, PathBuf},
    time::Duration,
};

use serde_json::{Value, json};

use super::{
    errors::{DaemonError, with_sources},
    state::{Agent, now_ns},
};
use crate::{
    datapath::Calls,
    switch::{self, Position, Switch, Touch},
};

/// Why nothing is hooked.
pub(super) const OFF: &str = "the perimeter is off: nsp on";

/// How long nothing is dropped after `nsp on`, at most: then the kernel goes back to the policy from before by
/// itself, for this agent may be gone. Taking over a million conversations takes some of it.
const LENIENCE: Duration = Duration::from_secs(30);

impl Agent {
    /// Whether nothing is to be hooked.
    pub(super) fn is_off(&self) -> bool {
        self.switch != Position::On
    }

    /// Looks at the switch before anything is hooked.
    pub(super) fn look_at_switch(&mut self) {
        let error;
        (self.switch, error) =
            switch::position(&self.options.state_dir, &self.options.command_line);
        self.complain_of_switch(error);
    }

    /// What cannot be read is told of once.
    fn complain_of_switch(&mut self, error: Option<io::Error>) {
        let why = error.map(|error| error.to_string());
        if let Some(why) = why.as_ref().filter(|why| self.switch_unread.as_ref() != Some(*why)) {
            tracing::error!(why, "the switch cannot be read: nsp on, or nsp off, writes it anew");
            self.last_error = Some(format!("the switch cannot be read: {why}"));
        }
        self.switch_unread = why;
    }

    /// Looks at the switch and does what it says. One that cannot be read is as it was.
    ///
    /// # Errors
    /// What could not be done.
    pub(super) async fn obey_switch(&mut self) -> Result<(), String> {
        let (now, error) = switch::position(&self.options.state_dir, &self.options.command_line);
        let is_unread = error.is_some();
        self.complain_of_switch(error);
        if is_unread {
            return Ok(());
        }
        let before = std::mem::replace(&mut self.switch, now);
        match (before, now) {
            (Position::On, Position::Off { left, .. }) => {
                tracing::warn!(for_s = left.map(|it| it.as_secs()), "off: nothing is judged");
                self.unhook(OFF)
            }
            (Position::Off { .. }, Position::On) => match self.go_on().await {
                Ok(()) => {
                    tracing::warn!("on again");
                    Ok(())
                }
                Err(error) => {
                    self.complain("not all is judged again", &error);
                    Err(format!("not all is judged again: {}", with_sources(&error)))
                }
            },
            _ => Ok(()),
        }
    }

    /// `nsp off`, `nsp on`.
    pub(super) async fn touch_switch(&mut self, to: Touch) -> Result<Value, String> {
        let state_dir = &self.options.state_dir;
        Switch::touched(to).write(state_dir).map_err(|error| {
            format!("the switch cannot be kept in {}: {error}", state_dir.display())
        })?;
        let error = self.obey_switch().await.err();
        let hooks = self
            .attachments
            .iter()
            .map(|(device, hook)| json!({"interface": device.name, "ingress": hook.name()}));
        Ok(json!({
            "off": self.off_json(),
            "dropsNothingYet": self.is_lenient,
            "hooks": hooks.collect::<Vec<_>>(),
            "uncovered": self.uncovered,
            "error": error,
        }))
    }

    /// For `status`.
    pub(super) fn off_json(&self) -> Value {
        match self.switch {
            Position::On => Value::Null,
            Position::Off { left, by_command_line } => {
                json!({"leftSeconds": left.map(|it: Duration| it.as_secs()), "byCommandLine": by_command_line})
            }
        }
    }

    /// Takes all hooks away, also those that an agent before left. What is pinned of maps stays.
    ///
    /// # Errors
    /// What is hooked still; the rest is not.
    pub(super) fn unhook(&mut self, why: &str) -> Result<(), String> {
        let of_calls = self.calls.iter().flat_map(Calls::pins);
        let own: BTreeSet<PathBuf> =
            self.attachments.pins().chain(of_calls).map(Path::to_owned).collect();
        let mut stay: Vec<String> = self
            .attachments
            .retain(|_| false)
            .into_iter()
            .map(|(interface, error)| format!("{interface}: {error}"))
            .collect();
        if let Ok(calls) = std::mem::replace(&mut self.calls, Err(why.to_owned()))
            && let Err(error) = calls.remove()
        {
            stay.push(format!("calls of the cgroups: {error}"));
        }
        self.uncovered.clear();
        if let Err(error) = self.datapath.remove_links(&own) {
            stay.push(with_sources(&error));
        }
        for link in &self.links {
            self.datapath.sweep_filters(&link.name);
        }
        if stay.is_empty() {
            return Ok(());
        }
        let stay = format!("still hooked: {}", stay.join("; "));
        tracing::error!(stay);
        self.last_error = Some(stay.clone());
        Err(stay)
    }

    /// Puts the policy in force after the generation that drops nothing. What fails is tried again by the
    /// periodic care.
    pub(super) fn end_lenience(&mut self) {
        if !self.is_lenient {
            return;
        }
        if let Err(error) = self.publish() {
            self.complain("nothing is dropped yet", &error);
        }
    }

    /// Hooks everything again. What was begun meanwhile is taken over before anything is dropped.
    async fn go_on(&mut self) -> Result<(), DaemonError> {
        if let Err(error) = self.follow_host() {
            self.complain("the host's network is not followed", &error);
        }
        let wanted = self.wanted();
        // What waits to be confirmed would be confirmed by a generation that follows it.
        if self.pending.is_none() {
            match self.publish_lenient(Some(now_ns() + LENIENCE.as_nanos() as u64)) {
                Ok(is_lenient) => self.is_lenient = is_lenient,
                // Then what began meanwhile may lose a packet or two. To stay open would be worse.
                Err(error) => self.complain("what began meanwhile is judged at once", &error),
            }
        }
        let hooked = self.hook(&wanted);
        let seeded = self.seed(true).await;
        self.end_lenience();
        hooked?;
        seeded?;
        self.flush_stub();
        self.run_self_test().map_err(DaemonError::SelfTest)
    }
}
