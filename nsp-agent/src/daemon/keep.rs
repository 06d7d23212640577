//! What the next start begins with: the policy that was confirmed last, kept with its files.
//!
//! An apply for good keeps it before it is in force, so that a disk that takes nothing refuses it and nothing has
//! changed.

use super::{
    errors::DaemonError,
    state::Agent,
    store::{StoreError, kept},
};
use crate::policy::Loaded;

impl Agent {
    /// Applies a policy that the next start is to begin with; on any failure all is as before.
    pub(super) fn apply_for_good(
        &mut self,
        loaded: Loaded,
        strict: bool,
    ) -> Result<u32, DaemonError> {
        self.keep_files(&loaded)?;
        let (confirmed, taken_back) = (self.state.confirmed.clone(), self.state.taken_back.clone());
        // Saved with the rest of the state, before the kernel has it.
        self.state.confirm(&loaded.digest);
        let applied = self.apply(loaded, strict);
        if applied.is_err() {
            (self.state.confirmed, self.state.taken_back) = (confirmed, taken_back);
            if !self.state.is_known_by(&self.saved) {
                self.save_state();
            }
        }
        self.forget_kept();
        applied
    }

    /// Remembers the policy in force as the one that a start goes back to.
    pub(super) fn keep(&mut self) {
        if self.trial.is_some() || self.state.confirmed.as_ref() == Some(&self.loaded.digest) {
            return;
        }
        if let Err(error) = self.keep_files(&self.loaded) {
            return self.complain("the policy is not kept for the next start", &error);
        }
        self.state.confirm(&self.loaded.digest);
        self.save_state();
        self.forget_kept();
    }

    /// Copies the files of a policy, unless they are there.
    pub(super) fn keep_files(&self, loaded: &Loaded) -> Result<(), StoreError> {
        let options = &self.options;
        if self.state.confirmed.as_ref() == Some(&loaded.digest)
            && kept::find(&options.state_dir, &loaded.digest, &options.policy).is_some()
        {
            return Ok(());
        }
        kept::save(&options.state_dir, &options.policy, loaded).map_err(|source| StoreError::Io {
            operation: "keep the policy in",
            path: options.state_dir.clone(),
            source,
        })
    }

    /// Removes the files of policies that no start begins with.
    pub(super) fn forget_kept(&self) {
        if let Some(digest) = &self.state.confirmed {
            kept::forget_others(&self.options.state_dir, digest);
        }
    }
}
