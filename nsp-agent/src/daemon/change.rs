//! Changing what is in force: publish, apply, reload, mode; and who asks for it.

use std::{borrow::Cow, path::Path, time::Instant};

use super::{
    bind::Bindings,
    catalogue,
    errors::{DaemonError, with_sources},
    exec::Sessions,
    overlay,
    session::{self, NameTaken},
    state::{Agent, now_ns},
    store::{self, StoreError},
    watch::TAKEN_BACK,
};
use crate::{
    compile::{self, Compiled},
    control::{Answer, Request},
    datapath::DatapathError,
    policy::{
        Loaded, PolicyErrors,
        model::{AccessMode, Policy},
    },
};

/// A policy with all that was made of it, as one generation has it.
pub(super) struct Made {
    pub(super) loaded: Loaded,
    compiled: Compiled,
    bindings: Bindings,
}

impl Agent {
    /// Makes the policy in `self.compiled` the one in force, and everything beside it. A state that cannot be
    /// saved is complained of: what follows the host, and a start, do more harm by not being done.
    pub(super) fn publish(&mut self) -> Result<u32, DatapathError> {
        self.save_state();
        self.publish_until(None)
    }

    /// The same until an instant, at which the kernel goes back to the one before unless it is confirmed. The state
    /// is saved before: an identity that is forgotten would be given to another thing.
    fn publish_until(&mut self, until_ns: Option<u64>) -> Result<u32, DatapathError> {
        let begun = Instant::now();
        self.bindings = self.bind();
        self.datapath.name_owner(&self.state.owner());
        // Resolvers that are new are trusted before their policy is in force, old ones until then.
        self.add_endpoints();
        let mut number = self.publish_bound(until_ns)?;
        if self.is_lenient {
            // It took the place of the generation that drops nothing, and would go when that does.
            if !self.datapath.confirm() {
                // That is over already, and the policy before is in force: it can be followed as any other.
                self.datapath.roll_back()?;
                number = self.publish_bound(until_ns)?;
            }
            self.is_lenient = false;
        }
        catalogue::raise_versions(&in_force(&self.loaded, &self.sessions), &mut self.state);
        self.follow_policy();
        self.save_state();
        tracing::info!(generation = number, took_ms = took_ms(begun), "policy published");
        Ok(number)
    }

    /// Brings what stands beside a generation in line with the policy.
    fn follow_policy(&mut self) {
        self.write_overlay();
        self.refresh_catalogue();
        self.tell_names();
        self.set_endpoints();
        self.follow_stubs();
    }

    fn publish_bound(&mut self, until_ns: Option<u64>) -> Result<u32, DatapathError> {
        let (selectors, listeners) = (&self.bindings.selectors, &self.bindings.listeners);
        self.datapath.publish_until(&self.compiled, selectors, listeners, until_ns)
    }

    pub(super) fn save_state(&mut self) {
        if let Err(error) = self.try_save_state() {
            self.complain("state is not saved", &error);
        }
    }

    pub(super) fn try_save_state(&mut self) -> Result<(), StoreError> {
        store::save(&self.options.state_dir, &self.state)?;
        self.saved = self.state.relied();
        Ok(())
    }

    /// Saves what the next agent must know of a policy before it is in force. Where it knows all that already, a full
    /// disk does not hold up who lets go of something.
    fn save_before(&mut self) -> Result<(), StoreError> {
        match self.try_save_state() {
            Err(error) if self.state.is_known_by(&self.saved) => {
                self.complain("state is not saved", &error);
                Ok(())
            }
            result => result,
        }
    }

    /// Another policy, with the sessions that run now.
    pub(super) fn with_sessions<'a>(
        &self,
        policy: &'a Policy,
    ) -> Result<Cow<'a, Policy>, NameTaken> {
        session::merged(policy, self.sessions.values().map(|live| &live.session))
    }

    /// Compiles and publishes another policy; on any failure the one in force stays.
    pub(super) fn apply(&mut self, loaded: Loaded, strict: bool) -> Result<u32, DaemonError> {
        self.apply_until(loaded, strict, None).map(|(number, _)| number)
    }

    /// The same until an instant, if it is not confirmed. Answers what was in force as well.
    pub(super) fn apply_until(
        &mut self,
        loaded: Loaded,
        strict: bool,
        until_ns: Option<u64>,
    ) -> Result<(u32, Made), DaemonError> {
        if self.is_lenient && until_ns.is_some() {
            // Nobody may be asked to confirm what would go back to dropping nothing.
            self.publish()?;
        }
        if let Some(rule) = overlay::blocks_way_in(&self.state.overlay, &loaded.policy) {
            return Err(DaemonError::FailsafeBlocked(rule));
        }
        let mut identities = self.state.identities.clone();
        let policy = self.with_sessions(&loaded.policy)?;
        let temporary = overlay::names_of(&self.state.overlay);
        let begun = Instant::now();
        let mut compiled = compile::compile_with(&policy, &mut identities, &temporary)?;
        let prefixes = compiled.sizes.prefixes;
        tracing::info!(prefixes, took_ms = took_ms(begun), "policy compiled");
        if strict {
            let now = now_ns();
            for resource in &compiled.resources {
                identities.cut(resource.association, now);
                compiled.associations[usize::from(resource.association)].cut_before_ns = now;
            }
        }
        let previous_identities = std::mem::replace(&mut self.state.identities, identities);
        let bindings = self.bindings.clone();
        let previous = self.exchange(Made { loaded, compiled, bindings });
        let saved = self.save_before();
        let is_saved = saved.is_ok();
        let published = saved
            .map_err(DaemonError::from)
            .and_then(|()| self.publish_until(until_ns).map_err(DaemonError::from));
        match published {
            Ok(number) => {
                // What was wrong with the file is new if it is wrong again.
                self.watch_refused = None;
                self.cover_chosen();
                Ok((number, previous))
            }
            Err(error) => {
                self.state.identities = previous_identities;
                self.exchange(previous);
                // The maps must not name more identities than the state has: nobody would go on with them.
                self.datapath.name_owner(&self.state.owner());
                if is_saved {
                    self.save_state();
                }
                Err(error)
            }
        }
    }

    fn exchange(&mut self, made: Made) -> Made {
        let Made { loaded, compiled, bindings } = made;
        Made {
            loaded: std::mem::replace(&mut self.loaded, loaded),
            compiled: std::mem::replace(&mut self.compiled, compiled),
            bindings: std::mem::replace(&mut self.bindings, bindings),
        }
    }

    /// The kernel has gone back to a generation, and the agent does: to that, whatever comes of it, and then to
    /// the same policy published anew, for the host and the sessions may be others by now.
    pub(super) fn go_back_to(&mut self, before: Made) {
        self.exchange(before);
        if let Err(error) = self.apply(self.loaded.clone(), false) {
            self.complain("the policy before is in force as it was", &error);
            self.follow_policy();
            self.cover_chosen();
            self.rebind();
            self.end_unheld_sessions();
        }
    }

    /// Reads a policy that is to be applied.
    pub(super) fn read(&self, path: &Path) -> Result<Loaded, PolicyErrors> {
        let begun = Instant::now();
        let loaded = self.options.load(path)?;
        tracing::info!(files = loaded.files.len(), took_ms = took_ms(begun), "policy read");
        Ok(loaded)
    }

    /// SIGHUP: the file as it is now.
    pub(super) fn reload(&mut self) {
        let before = self.loaded.digest.clone();
        let done = self.reread();
        self.record_unasked("reload", before, done.as_ref().map_err(|error| with_sources(error)));
        if let Err(error) = done {
            self.complain("the policy stays as it is", &error);
        }
    }

    fn reread(&mut self) -> Result<(), DaemonError> {
        self.refuse_while_pending().map_err(DaemonError::ByHand)?;
        let loaded = self.read(&self.options.policy)?;
        if self.state.taken_back.contains(&loaded.digest) {
            return Err(DaemonError::ByHand(TAKEN_BACK.to_owned()));
        }
        self.apply_for_good(loaded, false)?;
        self.trial = None;
        // Of what was in force before. What is still wrong is found again.
        self.last_error = None;
        Ok(())
    }

    /// Answers a verb.
    pub(super) async fn answer(&mut self, request: Request) -> Result<Answer, String> {
        let value = match request {
            Request::Flows { from } => {
                return self.list_flows(from.unwrap_or_default()).map(Answer::Flows);
            }
            Request::Status => Ok(self.status().await),
            Request::Dns => self.dns_status().await,
            Request::Explain { packet } => self.explain(&packet),
            Request::Cut { peer, kept } => self.cut_flows(peer, kept),
            Request::Apply { applied } => self.apply_asked(applied).await,
            Request::Confirm { caller } => self.confirm(caller).await,
            Request::Rollback => self.roll_back(),
            Request::Plan { path } => {
                let path = path.unwrap_or_else(|| self.options.policy.clone());
                let loaded = self.options.load(&path).map_err(|errors| errors.to_string())?;
                self.plan(&loaded)
            }
            Request::Mode { resource, enforced, direction } => {
                self.set_mode(&resource, enforced, direction.as_deref())
            }
            Request::Temporary { entry } => self.set_temporary(&entry),
            Request::Withdraw { block, target, profile } => {
                self.withdraw(block, &target, profile.as_deref())
            }
            Request::Overlay => Ok(self.list_overlay()),
            Request::Flush => {
                self.drain();
                Ok(serde_json::json!({"log": self.log}))
            }
            Request::Switch { to } => self.touch_switch(to).await,
            Request::Detach => Ok(serde_json::Value::Null),
            Request::Exec { .. } => Err("a session goes another way".to_owned()),
        };
        value.map(Answer::Value)
    }

    pub(super) fn set_mode(
        &mut self,
        resource: &str,
        enforced: bool,
        direction: Option<&str>,
    ) -> Result<serde_json::Value, String> {
        self.refuse_while_pending()?;
        let mode = if enforced { AccessMode::Enforced } else { AccessMode::Transition };
        let mut loaded = self.loaded.clone();
        let known: Vec<String> = loaded.policy.resources.keys().map(ToString::to_string).collect();
        let Some((_, entry)) =
            loaded.policy.resources.iter_mut().find(|(name, _)| name.as_str() == resource)
        else {
            return Err(format!("no resource {resource:?}; there are: {}", known.join(", ")));
        };
        if direction != Some("outbound") {
            entry.inbound_mode = mode;
        }
        if direction != Some("inbound") {
            entry.outbound_mode = mode;
        }
        let loaded = self.options.judge_sight(loaded).map_err(|errors| errors.to_string())?;
        let number = self.apply(loaded, false).map_err(|error| with_sources(&error))?;
        Ok(serde_json::json!({"generation": number}))
    }

    pub(super) fn refresh_catalogue(&mut self) {
        let policy = in_force(&self.loaded, &self.sessions);
        self.catalogue = catalogue::build(&policy, &self.state, &self.links, &self.host_name);
    }
}

fn took_ms(begun: Instant) -> u64 {
    begun.elapsed().as_millis() as u64
}

/// The policy in force: the file's, with the sessions of `nsp exec`.
pub(super) fn in_force<'a>(loaded: &'a Loaded, sessions: &Sessions) -> Cow<'a, Policy> {
    let policy = &loaded.policy;
    // That their names are free was found when it was applied.
    let merged = session::merged(policy, sessions.values().map(|live| &live.session));
    merged.unwrap_or(Cow::Borrowed(policy))
}
