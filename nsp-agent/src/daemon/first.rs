//! With which policy a start begins: the one that was confirmed last.
//!
//! A file that was edited and not applied, or applied and taken back, does not come into force because the host
//! was booted; nor does one with a mistake leave the host open.

use super::{
    Options,
    errors::DaemonError,
    store::{State, kept},
};
use crate::{
    policy::{Loaded, PolicyErrors},
    progress::Progress,
};

/// The policy to begin with, and what to complain of.
pub(super) struct First {
    pub(super) loaded: Loaded,
    pub(super) complaint: Option<String>,
}

/// Reads it. A policy of which nobody knows whether it is confirmed is taken for one that was taken back.
pub(super) fn first(
    options: &Options,
    state: &mut State,
    progress: &Progress,
) -> Result<First, DaemonError> {
    state.take_back_unconfirmed();
    let file = options.load_shown(&options.policy, progress);
    let Some(why) = why_not(&file, options, state) else {
        return Ok(First { loaded: file?, complaint: None });
    };
    let kept = || {
        let digest = state.confirmed.as_ref()?;
        let copies = kept::find(&options.state_dir, digest, &options.policy)?;
        let loaded = options.load_copies(copies);
        loaded
            .inspect_err(|errors| tracing::error!(%errors, "what was confirmed cannot be read"))
            .ok()
    };
    match (kept(), file) {
        (Some(loaded), file) => {
            if let Err(errors) = file {
                tracing::error!(%errors, "the policy file has mistakes");
            }
            Ok(First {
                loaded,
                complaint: Some(format!("{why}; in force is what was confirmed last")),
            })
        }
        // There is nothing to go back to: better this than an open host. What was confirmed of another file, or
        // is not there any more, is no reason to complain at every start.
        (None, Ok(loaded)) => {
            let complaint = state.taken_back.contains(&loaded.digest).then_some(why);
            Ok(First { loaded, complaint })
        }
        (None, Err(errors)) => Err(errors.into()),
    }
}

/// Why the file is not what to begin with.
fn why_not(
    file: &Result<Loaded, PolicyErrors>,
    options: &Options,
    state: &State,
) -> Option<String> {
    let path = options.policy.display();
    let loaded = match file {
        Ok(loaded) => loaded,
        Err(_) => return Some(format!("{path} has mistakes (nsp check {path})")),
    };
    if options.as_it_is {
        return None;
    }
    if state.taken_back.contains(&loaded.digest) {
        return Some(format!("{path} was applied and taken back (nsp plan, nsp apply)"));
    }
    let is_other = state.confirmed.as_ref().is_some_and(|digest| *digest != loaded.digest);
    is_other.then(|| format!("{path} has changed and was not applied (nsp plan, nsp apply)"))
}
