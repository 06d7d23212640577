//! The daemon: one loop over everything that can happen.
//!
//! `state::Agent` holds what is known and does what is to be done; this file only waits. Inputs
//! are a closed list (`Input`), so that a reader sees on one page what moves the agent.

mod bind;
mod care;
mod catalogue;
mod change;
mod confirm;
mod dns;
mod errors;
mod exec;
mod explain;
mod first;
mod flows;
mod follow;
pub mod foreign;
mod history;
mod keep;
mod learn;
mod lockout;
mod log;
mod notify;
mod off;
mod overlay;
pub mod pace;
mod plan;
mod renamed;
mod repair;
pub mod saved;
mod seed;
mod session;
mod state;
mod status;
mod store;
mod stricter;
mod tally;
mod watch;

use std::{
    collections::HashMap,
    path::{Path, PathBuf},
    time::{Duration, Instant},
};

use nsp_common::event::RecordKey;

use tokio::{
    signal::unix::{SignalKind, signal},
    sync::mpsc,
};

use crate::{
    control::{self, Answer, Call, Response, exec::SessionCall},
    datapath::{Engine, Events, FlowRoom, attach::XdpMode},
    host::{links, platform::Platform},
    names::{blind, schedule::Batch, wanted::Answered},
    policy::{self, Loaded, PolicyErrors},
    progress::Progress,
};
use confirm::UNCONFIRMED;
pub use errors::DaemonError;
pub(crate) use errors::with_sources;
use pace::Pace;
use state::Agent;

/// How long a kind of packet that goes on is no news.
const RECENT: Duration = Duration::from_secs(60);
/// Kinds that are remembered.
const RECENT_MAX: usize = 65536;
/// How often those that are not recent any more are looked for, when there is no room.
const RECENT_SWEEP: Duration = Duration::from_secs(1);
/// How long the thread at the ring waits before it looks whether it is still wanted.
const RING_WAIT: Duration = Duration::from_secs(1);
/// How often listeners and the flow tables are looked after.
const CARE_INTERVAL: Duration = Duration::from_secs(1);

/// How long the last answer may take to be written.
const FAREWELL: Duration = Duration::from_millis(100);

/// Where things are and how to behave.
#[derive(Clone, Debug)]
pub struct Options {
    /// The policy file or directory.
    pub policy: PathBuf,
    /// Interfaces by name or pattern; empty covers every public one.
    pub interfaces: Vec<String>,
    /// How what comes in is judged.
    pub xdp_mode: XdpMode,
    /// Begin with the policy file as it is, although another was confirmed.
    pub as_it_is: bool,
    /// Apply the policy file when it changes, as far as nothing gets stricter.
    pub watch: bool,
    /// State that outlives the daemon.
    pub state_dir: PathBuf,
    /// Where the kernel's side is held so that it outlives the daemon; without, it ends with it.
    pub pin_dir: Option<PathBuf>,
    /// The control socket.
    pub control: PathBuf,
    /// The access log; the policy's own when absent.
    pub log: Option<PathBuf>,
    /// The host's resolver configuration.
    pub resolv_conf: PathBuf,
    /// The host's own names.
    pub hosts: PathBuf,
    /// The firmware's tables, which name the cloud.
    pub dmi: PathBuf,
    /// Configuration of the host: how its programs resolve names.
    pub etc: PathBuf,
    /// What maps addresses to classes.
    pub engine: Engine,
    /// Start although the interface with the default route cannot be covered.
    pub allow_uncovered: bool,
    /// Start although there is nothing to cover yet.
    pub early: bool,
    /// The kernel's command line.
    pub command_line: PathBuf,
    /// Room for conversations.
    pub flows: FlowRoom,
}

impl Options {
    /// Reads a policy, and what it leaves to the host.
    fn load(&self, path: &Path) -> Result<Loaded, PolicyErrors> {
        self.load_shown(path, &Progress::default())
    }

    /// The same, and shows how far it is.
    fn load_shown(&self, path: &Path, progress: &Progress) -> Result<Loaded, PolicyErrors> {
        self.complete(policy::load_shown(path, progress)?)
    }

    /// The same from copies of its files.
    fn load_copies(&self, copies: policy::Copies) -> Result<Loaded, PolicyErrors> {
        self.complete(policy::load_copies(&self.policy, copies)?)
    }

    fn complete(&self, loaded: Loaded) -> Result<Loaded, PolicyErrors> {
        let mut loaded = self.judge_sight(loaded)?;
        let platform = &mut loaded.policy.perimeter.platform;
        *platform = platform.or(Platform::detect(&self.dmi));
        Ok(loaded)
    }

    /// Refuses what cannot be seen to here.
    fn judge_sight(&self, loaded: Loaded) -> Result<Loaded, PolicyErrors> {
        blind::judge(loaded, &self.name_files())
    }

    /// Where the host says how its programs resolve names.
    fn name_files(&self) -> blind::Files {
        blind::Files { resolv_conf: self.resolv_conf.clone(), etc: self.etc.clone() }
    }
}

/// Everything that moves the agent.
enum Input {
    Call(Box<Call>),
    Session(SessionCall),
    Host,
    Names(Batch),
    Wanted(Answered),
    Cgroups,
    Events,
    Drain,
    Care,
    Unconfirmed,
    Reload,
    End,
}

/// Runs until it is told to end. Until it is ready, `progress` says what it does.
///
/// # Errors
/// When it cannot start; afterwards failures are logged and what is in force stays.
pub async fn run(options: Options, progress: Progress) -> Result<(), DaemonError> {
    // Watch before the first reading, or a change between the two is lost.
    let mut host = links::watch().map_err(DaemonError::Host)?;
    let listener = control::listen(&options.control)
        .map_err(|source| DaemonError::Control { path: options.control.clone(), source })?;
    let socket = options.control.clone();
    let (batches_in, mut batches) = mpsc::channel(64);
    let mut agent = Agent::start(options, batches_in, &progress).await?;
    let (calls_in, mut calls) = mpsc::channel(16);
    let (sessions_in, mut sessions) = mpsc::channel(16);
    tokio::spawn(control::serve(listener, calls_in, sessions_in));
    let mut cgroups = agent.watch_cgroups();
    let mut wanted = agent.follow_wanted();
    let mut ring = agent.take_events().map(watch_ring);
    let mut hangup = signal(SignalKind::hangup()).map_err(DaemonError::Signals)?;
    let mut terminate = signal(SignalKind::terminate()).map_err(DaemonError::Signals)?;
    let mut interrupt = signal(SignalKind::interrupt()).map_err(DaemonError::Signals)?;
    let mut care = tokio::time::interval(CARE_INTERVAL);
    care.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    let mut pace = Pace::begin(Instant::now());
    let mut detached = None;
    drop(progress);
    agent.say_ready();
    loop {
        let input = tokio::select! {
            Some(call) = calls.recv() => Input::Call(Box::new(call)),
            Some(call) = sessions.recv() => Input::Session(call),
            change = host.recv() => match change {
                Some(_) => Input::Host,
                None => {
                    // The kernel's socket failed: listen anew, and read everything again.
                    tokio::time::sleep(CARE_INTERVAL).await;
                    host = links::watch().map_err(DaemonError::Host)?;
                    Input::Host
                }
            },
            Some(batch) = batches.recv() => Input::Names(batch),
            Some(answered) = wanted.recv() => Input::Wanted(answered),
            Ok(()) = changed(&mut cgroups) => Input::Cgroups,
            () = next_event(&mut ring) => Input::Events,
            () = tokio::time::sleep_until(pace.next().into()) => Input::Drain,
            _ = care.tick() => Input::Care,
            () = until(agent.pending_until()) => Input::Unconfirmed,
            () = until(agent.held_until()) => Input::Host,
            Some(()) = hangup.recv() => Input::Reload,
            Some(()) = terminate.recv() => Input::End,
            Some(()) = interrupt.recv() => Input::End,
        };
        match input {
            Input::Call(call) => {
                let Call { request, by, answer } = *call;
                let asked = by.map(|by| agent.note(by, &request));
                if matches!(request, control::Request::Detach) {
                    detached = Some((asked, answer));
                    break;
                }
                let done = agent.answer(request).await;
                if let Some(asked) = asked {
                    agent.record_asked(asked, &done);
                }
                // The verb may have gone.
                let _sent = answer.send(match done {
                    Ok(value) => Response::Ok(value),
                    Err(why) => Response::Error(why),
                });
            }
            Input::Session(call) => agent.session(call),
            Input::Host => {
                // Everything is read again, whatever it was: one reading does for all that has come.
                while host.try_recv().is_ok() {}
                agent.host_changed().await;
            }
            Input::Names(batch) => agent.learn(&batch),
            Input::Wanted(answered) => agent.learn_wanted(&answered),
            Input::Cgroups => agent.cgroups_changed(&cgroups).await,
            Input::Events => pace.hurry(Instant::now()),
            Input::Drain => {
                let before = pace::spent();
                agent.drain();
                pace.taken(pace::spent().saturating_sub(before), Instant::now());
            }
            Input::Care => agent.care().await,
            Input::Unconfirmed => agent.take_back(UNCONFIRMED),
            Input::Reload => agent.reload(),
            Input::End => break,
        }
    }
    let (asked, answer) = detached.unzip();
    let ended = agent.end(asked);
    // Gone or replaced already is as good.
    let _removed = std::fs::remove_file(&socket);
    if let Some(answer) = answer {
        // Said when it is so, and written by a task that ends with this one. The verb may have gone.
        let _sent = answer.send(match ended {
            Ok(()) => Response::Ok(Answer::Value(serde_json::Value::Null)),
            Err(why) => Response::Error(why),
        });
        tokio::time::sleep(FAREWELL).await;
    }
    Ok(())
}

type Tree = std::sync::Arc<crate::host::cgroups::Tree>;

async fn changed(
    cgroups: &mut Option<tokio::sync::watch::Receiver<Tree>>,
) -> Result<(), tokio::sync::watch::error::RecvError> {
    match cgroups {
        Some(receiver) => receiver.changed().await,
        None => std::future::pending().await,
    }
}

/// Follows the ring on a thread of its own and says when something came. The content of events is in
/// the records as well: the ring only says that there is something to write.
fn watch_ring(mut events: Events) -> mpsc::Receiver<()> {
    let (sender, receiver) = mpsc::channel(1);
    std::thread::spawn(move || {
        let mut recent = Recent::default();
        while !sender.is_closed() {
            let mut came = false;
            while let Some(event) = events.take_one() {
                came |= recent.is_new(event.key);
            }
            // Full means that the loop has not yet seen the last word: one is enough.
            if came && sender.try_send(()).is_err() && sender.is_closed() {
                return;
            }
            // A failed wait is a short wait: the next round looks again.
            let _woken = events.wait(RING_WAIT);
        }
    });
    receiver
}

/// What was told of lately. A conversation that goes on begins a record in every epoch, which is no
/// reason to write at once.
#[derive(Default)]
struct Recent {
    since: HashMap<RecordKey, Instant>,
    swept: Option<Instant>,
}

impl Recent {
    fn is_new(&mut self, key: RecordKey) -> bool {
        let now = Instant::now();
        // Looking at all of them for each packet of a flood would take longer than the flood.
        let is_swept = self.swept.is_some_and(|swept| now.duration_since(swept) < RECENT_SWEEP);
        if self.since.len() >= RECENT_MAX && !is_swept {
            self.swept = Some(now);
            self.since.retain(|_, since| now.duration_since(*since) < RECENT);
        }
        let known = self.since.get(&key).is_some_and(|since| now.duration_since(*since) < RECENT);
        if self.since.len() < RECENT_MAX {
            self.since.insert(key, now);
        }
        !known
    }
}

async fn until(instant: Option<Instant>) {
    match instant {
        Some(instant) => tokio::time::sleep_until(instant.into()).await,
        None => std::future::pending().await,
    }
}

async fn next_event(ring: &mut Option<mpsc::Receiver<()>>) {
    let came = match ring {
        Some(receiver) => receiver.recv().await.is_some(),
        None => false,
    };
    if !came {
        std::future::pending::<()>().await;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn full_memory_of_kinds_is_swept_once_and_not_for_each_kind() {
        let mut recent = Recent::default();
        let kind = RecordKey::from_bytes(&[0; size_of::<RecordKey>()]).expect("as many bytes");
        let is_new =
            |recent: &mut Recent, number| recent.is_new(RecordKey { rule: number, ..kind });
        for number in 0..RECENT_MAX as u32 {
            assert!(is_new(&mut recent, number));
        }
        assert!(recent.swept.is_none(), "there was room");
        assert!(is_new(&mut recent, u32::MAX));
        let swept = recent.swept;
        assert!(swept.is_some());
        assert!(is_new(&mut recent, u32::MAX), "there is no room to remember it");
        assert_eq!(recent.swept, swept);
        assert!(!is_new(&mut recent, 0), "what was there is known");
    }
}
