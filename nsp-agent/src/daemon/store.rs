//! What outlives the daemon: interned identities, the perimeter's GUID, the profiles' versions.
//!
//! Written whole beside the old file, synced, and renamed over it: a crash leaves one or the other.

pub(super) mod kept;
pub(super) mod learned;

use std::{
    collections::{BTreeMap, BTreeSet},
    fs, io,
    path::{Path, PathBuf},
};

use nsp_common::pinned::IDENTITIES;
use serde::{Deserialize, Serialize};

use super::overlay::Stored;
use crate::{compile::identities::Identities, datapath::Owner, host::boot, whole_file};

const FILE: &str = "state.json";
/// Raised when the meaning of a field changes.
const VERSION: u32 = 1;

/// The state.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct State {
    version: u32,
    /// The boot that the monotonic instants in here belong to.
    #[serde(default)]
    boot: String,
    /// The perimeter's GUID, when the policy does not give one.
    pub(super) guid: Option<String>,
    /// Tells this state from another's: pinned maps hold identities, and mean those in here.
    #[serde(default)]
    pub(super) name: u64,
    /// Interned identities.
    pub(super) identities: Identities,
    /// Conversations that `nsp flows cut` ended, as long as their sockets live: a restart must not revive
    /// them.
    #[serde(default)]
    pub(super) cut: BTreeSet<String>,
    /// The cgroups of sessions of `nsp exec`: an agent that is killed leaves them behind.
    #[serde(default)]
    pub(super) cgroups: BTreeSet<String>,
    /// What is allowed or blocked for a time, until instants of this boot.
    #[serde(default)]
    pub(super) overlay: Vec<Stored>,
    /// Digest of the policy that was confirmed last, whose files are kept.
    #[serde(default)]
    pub(super) confirmed: Option<String>,
    /// Digest of a policy that is in force and that nobody has confirmed yet.
    #[serde(default)]
    pub(super) unconfirmed: Option<String>,
    /// Digests of policies that were taken back: applied by hand only.
    #[serde(default)]
    pub(super) taken_back: BTreeSet<String>,
    /// Version of each profile's rules, and a fingerprint of the rules it is the version of.
    pub(super) profiles: BTreeMap<String, (u64, String)>,
}

/// What an agent that is started again must find on disk, or it would take one thing for another, or begin with
/// another policy.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Relied {
    identities: [u32; IDENTITIES],
    confirmed: Option<String>,
    unconfirmed: Option<String>,
}

/// Policies that were taken back which are remembered.
const TAKEN_BACK_MAX: usize = 64;

impl State {
    /// What nobody has confirmed never comes back by itself.
    pub(super) fn take_back_unconfirmed(&mut self) {
        if let Some(digest) = self.unconfirmed.take() {
            if self.taken_back.len() >= TAKEN_BACK_MAX {
                self.taken_back.clear();
            }
            self.taken_back.insert(digest);
        }
    }

    /// A policy is what a start begins with, whatever became of it before.
    pub(super) fn confirm(&mut self, digest: &str) {
        self.taken_back.remove(digest);
        self.confirmed = Some(digest.to_owned());
    }

    /// What of it must not be lost.
    pub(super) fn relied(&self) -> Relied {
        Relied {
            identities: self.identities.counts(),
            confirmed: self.confirmed.clone(),
            unconfirmed: self.unconfirmed.clone(),
        }
    }

    /// Whether what was saved says all that the next agent must know of this. To forget is no harm.
    pub(super) fn is_known_by(&self, saved: &Relied) -> bool {
        let Relied { identities, confirmed, unconfirmed } = self.relied();
        identities == saved.identities
            && (confirmed.is_none() || confirmed == saved.confirmed)
            && (unconfirmed.is_none() || unconfirmed == saved.unconfirmed)
    }

    /// Who the agent of this state is to the kernel's maps.
    pub(super) fn owner(&self) -> Owner {
        Owner { state: self.name, identities: self.identities.counts() }
    }
}

/// Why the state cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// Not readable or not writable.
    #[error("cannot {operation} {path}")]
    Io {
        /// What was tried.
        operation: &'static str,
        /// Which file.
        path: PathBuf,
        /// Why.
        #[source]
        source: io::Error,
    },
}

/// Loads the state. A file that cannot be understood is set aside, not obeyed: identities start
/// anew, which costs the open conversations their rules' names and nothing else.
pub(super) fn load(directory: &Path) -> Result<State, StoreError> {
    let path = directory.join(FILE);
    fs::create_dir_all(directory).map_err(|source| StoreError::Io {
        operation: "make",
        path: directory.to_owned(),
        source,
    })?;
    let text = match fs::read_to_string(&path) {
        Ok(text) => text,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(fresh()),
        Err(error) if error.kind() == io::ErrorKind::InvalidData => String::new(),
        Err(source) => return Err(StoreError::Io { operation: "read", path, source }),
    };
    match serde_json::from_str::<State>(&text) {
        Ok(mut state) if state.version == VERSION && state.identities.is_sound() => {
            if state.name == 0 {
                state.name = random();
            }
            let boot = boot::id();
            if state.boot != boot {
                state.identities.forget_cuts();
                state.cut.clear();
                state.overlay.clear();
                state.boot = boot;
            }
            Ok(state)
        }
        _ => {
            let aside = path.with_extension("unreadable");
            tracing::error!(path = %path.display(), aside = %aside.display(), "state cannot be read, set aside");
            fs::rename(&path, &aside).map_err(|source| StoreError::Io {
                operation: "set aside",
                path,
                source,
            })?;
            Ok(fresh())
        }
    }
}

fn fresh() -> State {
    State { version: VERSION, boot: boot::id(), name: random(), ..State::default() }
}

fn random() -> u64 {
    let mut bytes = [0_u8; 8];
    // Without randomness two states have the same name, if they begin in the same way. The kernel has some.
    let _filled = rustix::rand::getrandom(&mut bytes, rustix::rand::GetRandomFlags::empty());
    u64::from_ne_bytes(bytes).max(1)
}

/// Saves the state.
pub(super) fn save(directory: &Path, state: &State) -> Result<(), StoreError> {
    let path = directory.join(FILE);
    let written = serde_json::to_vec(state).map_err(io::Error::from).and_then(|mut text| {
        text.push(b'\n');
        whole_file::write(&path, "new", &text)
    });
    written.map_err(|source| StoreError::Io { operation: "write", path, source })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn state_survives_and_a_broken_file_is_set_aside() {
        let directory = tempfile::tempdir().unwrap();
        let mut state = load(directory.path()).unwrap();
        let web = state.identities.association("web");
        save(directory.path(), &state).unwrap();
        let mut again = load(directory.path()).unwrap();
        assert_eq!(again.identities.association("web"), web);

        fs::write(directory.path().join(FILE), b"{\"version\": 99}").unwrap();
        let anew = load(directory.path()).unwrap();
        assert!(anew.guid.is_none());
        assert!(directory.path().join("state.unreadable").exists());
    }

    #[test]
    fn what_the_next_agent_must_know_is_told_from_what_it_may_lack() {
        let mut state = fresh();
        let saved = state.relied();
        state.guid = Some("another".into());
        assert!(state.is_known_by(&saved));
        state.confirmed = Some("digest".into());
        assert!(!state.is_known_by(&saved));
        let saved = state.relied();
        state.unconfirmed = Some("another".into());
        assert!(!state.is_known_by(&saved));
        state.unconfirmed = None;
        assert!(state.is_known_by(&saved));
        state.identities.association("web");
        assert!(!state.is_known_by(&saved));
    }

    #[test]
    fn a_number_that_two_things_would_have_is_not_believed() {
        let directory = tempfile::tempdir().unwrap();
        let mut state = load(directory.path()).unwrap();
        state.identities.association("web");
        state.identities.association("database");
        let text = serde_json::to_string(&state).unwrap();
        for broken in [r#""web":2"#, r#""web":3"#, r#""web":0"#] {
            let broken = text.replace(r#""web":1"#, broken);
            assert_ne!(broken, text);
            fs::write(directory.path().join(FILE), broken).unwrap();
            let mut anew = load(directory.path()).unwrap();
            assert_eq!(anew.identities.association("queue"), 1, "it begins anew");
        }
    }
}
