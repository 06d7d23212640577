//! Break-glass: the operator's switch, as the agent obeys it.
//!
//! Off means that nothing is hooked. Maps, names and the policy stay and are looked after, so that the way back
//! is short, and cuts no conversation that began meanwhile.

use std::{io, path::Path, time::Duration};

use serde_json::{Value, json};

use super::{errors::DaemonError, state::Agent};
use crate::{
    host::boot,
    switch::{Clock, Position, Switch, WORD},
};

/// Why nothing is hooked.
pub(super) const OFF: &str = "the perimeter is off: nsp on";

/// Where the switch stands.
pub(super) fn position(state_dir: &Path, command_line: &Path) -> io::Result<Position> {
    let touched = Switch::read(state_dir)?;
    let by_command_line = boot::has_word(command_line, WORD);
    Ok(Switch::position(touched.as_ref(), &Clock::now(), by_command_line))
}

impl Agent {
    /// Whether nothing is to be hooked.
    pub(super) fn is_off(&self) -> bool {
        self.switch != Position::On
    }

    /// Looks at the switch and does what it says. One that cannot be read is as it was.
    pub(super) async fn obey_switch(&mut self) {
        let Ok(now) = position(&self.options.state_dir, &self.options.command_line) else { return };
        let before = std::mem::replace(&mut self.switch, now);
        match (before, now) {
            (Position::On, Position::Off { left, .. }) => {
                tracing::warn!(for_s = left.map(|it| it.as_secs()), "off: nothing is judged");
                self.unhook(OFF);
            }
            (Position::Off { .. }, Position::On) => match self.go_on().await {
                Ok(()) => tracing::warn!("on again"),
                Err(error) => self.complain("not all is judged again", &error),
            },
            _ => {}
        }
    }

    /// `nsp off`, `nsp on`: the switch was touched.
    pub(super) async fn switched(&mut self) -> Result<Value, String> {
        if let Err(error) = position(&self.options.state_dir, &self.options.command_line) {
            return Err(format!("the switch cannot be read: {error}"));
        }
        self.obey_switch().await;
        let hooks = self
            .attachments
            .iter()
            .map(|(device, hook)| json!({"interface": device.name, "ingress": hook.name()}));
        Ok(json!({
            "off": self.off_json(),
            "dropsNothingYet": self.is_lenient,
            "hooks": hooks.collect::<Vec<_>>(),
            "uncovered": self.uncovered,
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
    pub(super) fn unhook(&mut self, why: &str) {
        self.attachments.retain(|_| false);
        if let Ok(calls) = std::mem::replace(&mut self.calls, Err(why.to_owned())) {
            calls.remove();
        }
        self.uncovered.clear();
        if let Err(error) = self.datapath.remove_links() {
            self.complain("hooks of an agent before stay", &error);
        }
        for link in &self.links {
            self.datapath.sweep_filters(&link.name);
        }
    }

    /// Puts the policy in force after the generation that drops nothing. What fails is tried again by the
    /// periodic care: that generation must not stay.
    pub(super) fn end_lenience(&mut self) {
        if !self.is_lenient {
            return;
        }
        match self.publish() {
            Ok(_) => self.is_lenient = false,
            Err(error) => self.complain("nothing is dropped yet", &error),
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
            match self.publish_lenient() {
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
