//! `--watch`: the policy file as it changes, as far as nothing gets stricter.
//!
//! What tightens a mode or cuts a live conversation is for `nsp apply`, where somebody looks.

use std::{
    fs,
    path::{Path, PathBuf},
    time::SystemTime,
};

use super::{errors::with_sources, state::Agent, stricter::tightened};
use crate::policy::Loaded;

/// Why a file is applied by hand only.
pub(super) const TAKEN_BACK: &str = "it was applied before and taken back: nsp apply";

impl Agent {
    /// Looks at the file; called once a second. One that has changed since the last look is still being
    /// written, for all that is known: half a policy may well be a policy. A file that was refused is not
    /// tried again before it changes.
    pub(super) fn watch_policy(&mut self) {
        if !self.options.watch || self.trial.is_some() || self.pending_until().is_some() {
            return;
        }
        let stamp = stamp(&self.loaded.files, &self.options.policy);
        let is_at_rest = self.watch_seen == stamp;
        self.watch_seen.clone_from(&stamp);
        if !is_at_rest || self.watched == stamp {
            return;
        }
        self.watched = stamp;
        let loaded = match self.options.load(&self.options.policy) {
            Ok(loaded) => loaded,
            Err(errors) => return self.refuse_watched(errors.to_string()),
        };
        if self.state.taken_back.contains(&loaded.digest) {
            return self.refuse_watched(TAKEN_BACK.to_owned());
        }
        if loaded.digest == self.loaded.digest {
            self.watch_refused = None;
            return;
        }
        if let Some(what) = tightened(&self.loaded.policy, &loaded.policy) {
            return self.refuse_watched(format!("{what} gets stricter: nsp plan, nsp apply"));
        }
        match self.count_cut(&loaded) {
            Ok(0) => {}
            Ok(cut) => {
                let why = format!("{cut} live conversations would be cut: nsp plan, nsp apply");
                return self.refuse_watched(why);
            }
            Err(why) => return self.refuse_watched(why),
        }
        let before = self.loaded.digest.clone();
        match self.apply_for_good(loaded, false) {
            Ok(_) => {
                self.last_error = None;
                self.record_unasked("watch", before, Ok(&()));
            }
            Err(error) => self.refuse_watched(with_sources(&error)),
        }
    }

    pub(super) fn count_cut(&self, loaded: &Loaded) -> Result<usize, String> {
        let plan = self.plan(loaded)?;
        Ok(plan["flowsCut"].as_array().map_or(0, Vec::len))
    }

    fn refuse_watched(&mut self, why: String) {
        if self.watch_refused.as_ref() == Some(&why) {
            return;
        }
        tracing::error!(%why, "the changed policy file is not applied");
        self.last_error = Some(format!("the changed policy file is not applied: {why}"));
        self.record_unasked("watch", self.loaded.digest.clone(), Err(why.clone()));
        self.watch_refused = Some(why);
    }
}

/// When the files that make up the policy were changed last: reading a large policy every second
/// would be most of the agent's work.
fn stamp(files: &[PathBuf], policy: &Path) -> Vec<Option<SystemTime>> {
    let changed = |path: &Path| fs::metadata(path).and_then(|it| it.modified()).ok();
    files.iter().map(PathBuf::as_path).chain([policy]).map(changed).collect()
}
