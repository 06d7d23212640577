//! Sessions of `nsp exec` on this host: their processes, their cgroups, what they are refused.
//!
//! **Invariant:** a process is in a session's cgroup only while the session's policy is in force; the
//! policy goes after the last process has ended.

use std::{
    collections::BTreeMap,
    fs,
    os::{fd::OwnedFd, unix::fs::MetadataExt as _},
    path::{Path, PathBuf},
    time::{Duration, Instant},
};

use nsp_common::{
    generation::{PublicAccess, association},
    selector::Selector,
};
use rustix::{
    event::{PollFd, PollFlags, Timespec, poll},
    process::{Pid, PidfdFlags, pidfd_open},
};
use serde_json::{Value, json};

use super::{
    errors::with_sources,
    off::OFF,
    session::{self, Session},
    state::{Agent, now_ns},
    tally::Tally,
};
use crate::{
    control::exec::{Begun, Peer, SessionCall},
    host::cgroups::{
        self,
        leaf::{self, Leaf},
    },
    policy::model::Name,
};

/// How long the agent waits for processes that it has killed, when it ends or begins.
const DYING_TIME_MAX: Duration = Duration::from_secs(2);
const DYING_STEP: Duration = Duration::from_millis(2);

/// A session that runs.
pub(super) struct Live {
    pub(super) session: Session,
    /// Identity of its association.
    association: u16,
    /// Who began it, and the cgroup that it was in before.
    pid: u32,
    uid: u32,
    origin: String,
    allow: Vec<String>,
    tally: Tally,
}

/// All sessions, by number.
pub(super) type Sessions = BTreeMap<u16, Live>;

impl Agent {
    /// Does what a connection of `nsp exec` asks for.
    pub(super) fn session(&mut self, call: SessionCall) {
        match call {
            SessionCall::Begin { peer, allow, learn, answer } => {
                let begun = self.begin_session(peer, &allow, learn);
                let number = begun.as_ref().ok().map(|begun| begun.number);
                // The verb may have gone; then nobody is left to close what has begun.
                if answer.send(begun).is_err()
                    && let Some(number) = number
                {
                    self.end_session(number);
                }
            }
            SessionCall::LetOut { number, answer } => {
                let _sent = answer.send(self.let_out(number));
            }
            SessionCall::Close { number, answer } => {
                let _sent = answer.send(self.close_session(number));
            }
        }
    }

    fn begin_session(
        &mut self,
        peer: Peer,
        allow: &[String],
        learn: bool,
    ) -> Result<Begun, String> {
        if self.is_off() {
            return Err(OFF.to_owned());
        }
        let rules = session::rules(allow)
            .map_err(|refusal| format!("{}: {}", refusal.what, refusal.why))?;
        let said = |error: &dyn std::error::Error| with_sources(error);
        // As long as this is open the number is this process's and nobody else's.
        let process = pidfd_open(raw(peer.pid)?, PidfdFlags::empty())
            .map_err(|error| format!("the caller {} is gone: {error}", peer.pid))?;
        check_process(peer)?;
        let mount = cgroups::mount_point().map_err(|error| said(&error))?;
        let origin = cgroups::of_process(peer.pid).map_err(|error| said(&error))?;
        if origin.contains("/..") {
            return Err(format!("the caller's cgroup {origin} cannot be seen from here"));
        }
        self.may_begin(peer, &origin)?;
        let policies: Vec<_> =
            [Some(&self.loaded.policy), self.policy_before()].into_iter().flatten().collect();
        let number = session::free_number(&policies, &self.sessions)
            .ok_or_else(|| format!("{} sessions run already", session::SESSIONS_MAX))?;
        self.sessions_begun += 1;
        let leaf_name = format!("nsp-exec-{}-{}", std::process::id(), self.sessions_begun);
        let leaf = Leaf::make(&mount, &origin, &leaf_name).map_err(|error| said(&error))?;
        let name = Name::of_session(number);
        let association = self.state.identities.association(&name);
        // What an earlier session of this name had open is not kept for this one.
        self.state.identities.cut(association, now_ns());
        self.state.cgroups.insert(leaf.path.clone());
        let session = Session { name: name.clone(), rules, learn, leaf: leaf.clone() };
        let live = Live {
            session,
            association,
            pid: peer.pid,
            uid: peer.uid,
            origin,
            allow: allow.to_vec(),
            tally: Tally::since(now_ns()),
        };
        self.sessions.insert(number, live);
        let moved = self.republish().and_then(|()| {
            leaf.take_in(peer.pid).map_err(|error| said(&error))?;
            let now_in = cgroups::of_process(peer.pid).map_err(|error| said(&error))?;
            // A number that was given anew meanwhile is another process's: this one is gone then.
            if lives(&process) && now_in == leaf.path {
                Ok(())
            } else {
                Err(format!("the caller {} did not go into {}", peer.pid, leaf.path))
            }
        });
        if let Err(why) = moved {
            self.end_session(number);
            return Err(why);
        }
        tracing::info!(session = %name, uid = peer.uid, pid = peer.pid, ?allow, learn, "exec begins");
        Ok(Begun { number, name: name.to_string(), leaf })
    }

    /// Whether a caller in this cgroup may have a session: it gets the session's rules in place of what held
    /// it before, so it must not have been held.
    fn may_begin(&self, peer: Peer, origin: &str) -> Result<(), String> {
        if let Err(why) = &self.calls {
            return Err(format!("nothing would hold the command at once: {why}"));
        }
        let inside =
            |leaf: &Leaf| origin == leaf.path || origin.starts_with(&format!("{}/", leaf.path));
        if self.sessions.values().any(|live| inside(&live.session.leaf)) {
            return Err("the caller is in a session already, and cannot leave it by another".into());
        }
        if peer.uid == 0 {
            return Ok(());
        }
        let own = self.sessions.values().filter(|live| live.uid == peer.uid).count();
        if own >= session::SESSIONS_OF_USER_MAX {
            return Err(format!("{own} sessions of user {} run already", peer.uid));
        }
        let number = match self.association_of_path(origin) {
            0 => self.compiled.header.host,
            number => number,
        };
        let held = match self.compiled.associations.get(usize::from(number)) {
            Some(entry) if number != 0 => entry.has(association::ENFORCED_OUTBOUND),
            _ => self.compiled.header.public_access == PublicAccess::SecuredByPerimeter as u8,
        };
        if held {
            return Err(
                "the policy holds the caller already (enforced outbound), and a session would \
                        take its place: only root may do that; --private as root has both"
                    .to_owned(),
            );
        }
        Ok(())
    }

    /// The process that began a session goes back to where it was: its child is what is shut in.
    fn let_out(&self, number: u16) -> Result<(), String> {
        let live = self.sessions.get(&number).ok_or("no such session")?;
        let leaf = &live.session.leaf;
        let said = |error: &dyn std::error::Error| with_sources(error);
        // Only who is in there is let out: the number may be another's by now.
        if cgroups::of_process(live.pid).map_err(|error| said(&error))? != leaf.path {
            return Err(format!("{} is not in {}", live.pid, leaf.path));
        }
        let mount = cgroups::mount_point().map_err(|error| said(&error))?;
        leaf.let_out(&mount, live.pid, &live.origin).map_err(|error| said(&error))
    }

    /// Ends what lives in a session, at once, and closes it.
    fn end_session(&mut self, number: u16) {
        if let Some(live) = self.sessions.get(&number) {
            end_processes(std::slice::from_ref(&live.session.leaf));
        }
        self.close_session(number);
    }

    /// Ends the sessions that the generation in force knows nothing of: nothing would hold them.
    pub(super) fn end_unheld_sessions(&mut self) {
        let is_held = |live: &Live| {
            self.compiled.resources.iter().any(|it| it.association == live.association)
        };
        let unheld: Vec<u16> = self
            .sessions
            .iter()
            .filter(|(_, it)| !is_held(it))
            .map(|(number, _)| *number)
            .collect();
        for number in unheld {
            let session = Name::of_session(number);
            tracing::error!(%session, "ended: the generation in force does not hold it");
            self.end_session(number);
        }
    }

    /// Takes a session out of the policy, and answers what it was refused.
    fn close_session(&mut self, number: u16) -> Vec<crate::control::exec::Blocked> {
        // Everything that its processes did is in the records by now.
        self.drain();
        let Some(live) = self.sessions.remove(&number) else { return Vec::new() };
        let leaf = &live.session.leaf;
        match leaf.remove() {
            Ok(()) => {
                self.state.cgroups.remove(&leaf.path);
            }
            Err(error) => self.complain("a cgroup stays behind", &error),
        }
        if let Err(why) = self.republish() {
            // What stays in force of it is about a cgroup that is gone; the next policy is without.
            tracing::error!(%why, session = %live.session.name, "the policy stays as it is");
        }
        tracing::info!(session = %live.session.name, "exec ends");
        live.tally.into_blocked()
    }

    /// The policy in force once more, with the sessions as they are now.
    fn republish(&mut self) -> Result<(), String> {
        self.apply(self.loaded.clone(), false).map(drop).map_err(|error| with_sources(&error))
    }

    /// Ends all sessions: the agent ends, and nothing would hold them any more.
    pub(super) fn end_sessions(&mut self) {
        let leaves: Vec<Leaf> =
            self.sessions.values().map(|live| live.session.leaf.clone()).collect();
        end_processes(&leaves);
        for leaf in leaves {
            if leaf.remove().is_ok() {
                self.state.cgroups.remove(&leaf.path);
            }
        }
        self.save_state();
    }

    /// Ends what an agent that was killed left behind: nothing holds it any more.
    pub(super) fn end_left_behind(&mut self) {
        let Ok(mount) = cgroups::mount_point() else { return };
        let paths = std::mem::take(&mut self.state.cgroups);
        let leaves: Vec<Leaf> =
            paths.iter().filter_map(|path| leaf::left_behind(&mount, path)).collect();
        end_processes(&leaves);
        for leaf in leaves {
            tracing::warn!(
                cgroup = leaf.path,
                "a session that the last agent left behind is ended"
            );
            if let Err(error) = leaf.remove() {
                self.complain("a cgroup stays behind", &error);
                self.state.cgroups.insert(leaf.path.clone());
            }
        }
    }

    /// The cgroups of sessions, and their associations.
    pub(super) fn session_selectors(&self) -> impl Iterator<Item = (Selector, u16)> {
        let live = self.sessions.values();
        live.map(|live| (Selector::cgroup(0, live.session.leaf.id), live.association))
    }

    /// For `nsp status`.
    pub(super) fn sessions_json(&self) -> Value {
        let sessions = self.sessions.values().map(|live| {
            json!({
                "name": live.session.name.to_string(),
                "cgroup": live.session.leaf.path,
                "pid": live.pid,
                "allow": live.allow,
                "learn": live.session.learn,
            })
        });
        Value::Array(sessions.collect())
    }
}

/// Adds drained records to the sessions that they are about.
pub(super) fn add_to(
    sessions: &mut Sessions,
    key: &nsp_common::event::RecordKey,
    record: &nsp_common::event::Record,
    said: &crate::access_log::record::AccessRecord,
) {
    for live in sessions.values_mut().filter(|live| live.association == key.association) {
        live.tally.add(key, record, said);
    }
}

/// Whether the process has not ended: the descriptor is readable when it has.
fn lives(process: &OwnedFd) -> bool {
    let now = Timespec { tv_sec: 0, tv_nsec: 0 };
    poll(&mut [PollFd::new(process, PollFlags::IN)], Some(&now)) == Ok(0)
}

fn raw(pid: u32) -> Result<Pid, String> {
    let pid = i32::try_from(pid).ok().and_then(Pid::from_raw);
    pid.ok_or_else(|| "the caller's process cannot be seen from here".to_owned())
}

/// Whether a number is still the caller's, and its network the one that is judged here.
fn check_process(peer: Peer) -> Result<(), String> {
    let Peer { pid, uid } = peer;
    let of = |what: &str| PathBuf::from(format!("/proc/{pid}/{what}"));
    let status = fs::read_to_string(of("status")).unwrap_or_default();
    let users = status.lines().find_map(|line| line.strip_prefix("Uid:")).unwrap_or_default();
    if users.split_whitespace().nth(1) != Some(uid.to_string().as_str()) {
        return Err(format!("process {pid} is not the caller's any more"));
    }
    let namespace = |path: &Path| {
        fs::metadata(path)
            .map(|about| (about.dev(), about.ino()))
            .map_err(|error| format!("{}: {error}", path.display()))
    };
    if namespace(&of("ns/net"))? != namespace(Path::new("/proc/thread-self/ns/net"))? {
        return Err(
            "the caller is in another network namespace, which this agent does not judge; \
                    --control names the agent of its own, and root needs none"
                .to_owned(),
        );
    }
    Ok(())
}

/// Kills what lives in the cgroups and waits until it is gone, but not for ever.
fn end_processes(leaves: &[Leaf]) {
    for leaf in leaves {
        if let Err(error) = leaf.kill() {
            tracing::error!(%error, "a session's processes are not ended");
        }
    }
    let begun = Instant::now();
    while !leaves.iter().all(Leaf::is_empty) && begun.elapsed() < DYING_TIME_MAX {
        std::thread::sleep(DYING_STEP);
    }
}
