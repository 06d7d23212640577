//! The control socket: how the verbs talk to the daemon.
//!
//! One request a connection, one JSON object a line each way. Root and members of the socket's group
//! may read, and shut themselves in (`nsp exec`, which goes on as `exec.rs` says); only root may change
//! anything else (checked by the peer's credentials, `SO_PEERCRED`).

pub mod change;
mod client;
pub mod exec;
pub mod flows;

use std::{io, path::Path, sync::Arc, time::Duration};

use serde::{Deserialize, Serialize};
use tokio::{
    io::{AsyncBufReadExt as _, AsyncReadExt as _, AsyncWriteExt as _, BufReader},
    net::{UnixListener, UnixStream},
    sync::{Semaphore, mpsc, oneshot},
};

pub use change::{Applied, Caller, Confirmation, Temporary};
pub use client::{Client, ControlError, call, call_within};
use exec::SessionCall;
use flows::FlowsPart;

use crate::{datapath::FlowCursor, history::Who, switch::Touch};

/// Bytes of a request; the longest is a path or two.
const REQUEST_BYTES_MAX: u64 = 64 << 10;

/// Callers at a time; the next ones wait.
const CONNECTIONS_MAX: usize = 32;

/// How long one call may take, a large apply included.
const CALL_TIME_MAX: Duration = Duration::from_secs(60);

/// How long the socket rests when it cannot accept.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// What a verb asks.
#[derive(Clone, Debug, Serialize, Deserialize, PartialEq, Eq)]
#[serde(tag = "verb", rename_all = "kebab-case", deny_unknown_fields)]
pub enum Request {
    /// How things are.
    Status,
    /// What is known of names.
    Dns,
    /// What would happen to a packet.
    Explain {
        /// The packet.
        packet: ExplainPacket,
    },
    /// The tracked conversations, a part at a time.
    Flows {
        /// Where the part before ended; absent for the first.
        from: Option<FlowCursor>,
    },
    /// End conversations: all kept ones, or those of one peer.
    Cut {
        /// Only this peer's.
        peer: Option<std::net::IpAddr>,
        /// Only kept ones.
        kept: bool,
    },
    /// Make a policy file the one in force.
    Apply {
        /// Which, and how.
        applied: Applied,
    },
    /// The change that waits stays.
    Confirm {
        /// The connection that the caller came by, if it came by one.
        caller: Option<Caller>,
    },
    /// Take the change that waits back.
    Rollback,
    /// What applying a policy would change.
    Plan {
        /// The file or directory, absolute; the agent's own when absent.
        path: Option<std::path::PathBuf>,
    },
    /// Set an association's mode until the next apply.
    Mode {
        /// The resource.
        resource: String,
        /// Enforced, or transition.
        enforced: bool,
        /// Only this direction.
        direction: Option<String>,
    },
    /// Shut the caller in: a session that lasts as long as the connection.
    Exec {
        /// Where it may go.
        allow: Vec<String>,
        /// Refuse nothing, and tell what would have been.
        learn: bool,
    },
    /// Allow or block something for a time.
    Temporary {
        /// What, and how long.
        entry: Temporary,
    },
    /// Take back what was allowed or blocked for a time.
    Withdraw {
        /// A block, or else what was allowed.
        block: bool,
        /// The prefix or name.
        target: String,
        /// Only what is about resources of this profile.
        profile: Option<String>,
    },
    /// What is allowed or blocked for a time.
    Overlay,
    /// Touch the operator's switch, and do what it says.
    Switch {
        /// Where it is to stand.
        to: Touch,
    },
    /// Write the access records gathered so far.
    Flush,
    /// Unhook everything and end.
    Detach,
}

impl Request {
    /// Whether only root may ask: it changes something, or reads a file of the caller's choice with
    /// the daemon's eyes.
    pub fn is_for_root(&self) -> bool {
        // A session of `nsp exec` takes from its caller alone, and is refused to who is held already.
        !matches!(
            self,
            Self::Status
                | Self::Dns
                | Self::Explain { .. }
                | Self::Flows { .. }
                | Self::Overlay
                | Self::Exec { .. }
        )
    }

    /// Whether it changes what becomes of traffic.
    fn is_change(&self) -> bool {
        self.is_for_root() && !matches!(self, Self::Plan { .. } | Self::Flush)
    }
}

/// A described packet.
#[derive(Clone, Debug, Serialize, Deserialize, PartialEq, Eq)]
#[serde(deny_unknown_fields)]
pub struct ExplainPacket {
    /// Whether this host sends it.
    pub outbound: bool,
    /// The other end: addresses, or a name for outbound.
    pub remote: String,
    /// The local address; the first one of a covered device when absent.
    pub local: Option<std::net::IpAddr>,
    /// TCP, UDP, ICMP ... as a number.
    pub protocol: u8,
    /// Port at the other end.
    pub remote_port: u16,
    /// Port at this end.
    pub local_port: u16,
    /// The device; the one with the route when absent.
    pub interface: Option<String>,
    /// Outbound: the sender's unit.
    pub unit: Option<String>,
    /// Outbound: the sender's process.
    pub pid: Option<u32>,
}

/// What the daemon answers.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Response<T = serde_json::Value> {
    /// Done, with what was asked for.
    Ok(T),
    /// Not done, and why.
    Error(String),
    /// Not done, for only root may ask for it.
    NotRoot,
}

/// What was asked for.
#[derive(Clone, Debug, Serialize)]
#[serde(untagged)]
pub enum Answer {
    /// Any of the rest.
    Value(serde_json::Value),
    /// Conversations.
    Flows(FlowsPart),
}

/// A request on its way to the daemon's loop.
pub struct Call {
    /// What is asked.
    pub request: Request,
    /// Who asks for a change.
    pub by: Option<Who>,
    /// Where the answer goes.
    pub answer: oneshot::Sender<Response<Answer>>,
}

/// How long an agent that was killed may take to let its socket go, and how often to look.
const DYING: Duration = Duration::from_millis(1000);
const DYING_STEP: Duration = Duration::from_millis(50);

/// Listens at `path`, replacing a socket that a dead agent left.
///
/// # Errors
/// When a live agent listens there, or the socket cannot be made.
pub fn listen(path: &Path) -> io::Result<UnixListener> {
    // One that was killed takes a moment to be gone.
    let listens = || std::os::unix::net::UnixStream::connect(path).is_ok();
    let mut left = DYING;
    while !left.is_zero() && listens() {
        std::thread::sleep(DYING_STEP);
        left -= DYING_STEP;
    }
    if listens() {
        return Err(io::Error::new(
            io::ErrorKind::AddrInUse,
            format!("another agent listens at {}", path.display()),
        ));
    }
    if let Some(parent) = path.parent() {
        std::fs::create_dir_all(parent)?;
    }
    match std::fs::remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        _ => {}
    }
    let listener = UnixListener::bind(path)?;
    std::fs::set_permissions(path, std::os::unix::fs::PermissionsExt::from_mode(0o660))?;
    Ok(listener)
}

/// Serves the socket until the loop is gone.
pub async fn serve(
    listener: UnixListener,
    calls: mpsc::Sender<Call>,
    sessions: mpsc::Sender<SessionCall>,
) {
    let places = Arc::new(Semaphore::new(CONNECTIONS_MAX));
    loop {
        let Ok(place) = places.clone().acquire_owned().await else { return };
        let Ok((stream, _)) = listener.accept().await else {
            // Out of file descriptors, most likely: let others close theirs.
            tokio::time::sleep(ACCEPT_PAUSE).await;
            continue;
        };
        if calls.is_closed() {
            return;
        }
        let (calls, sessions) = (calls.clone(), sessions.clone());
        tokio::spawn(async move {
            // Whoever is slower than this is not a verb.
            let answered = tokio::time::timeout(CALL_TIME_MAX, answer(stream, calls, sessions));
            let held = answered.await.ok().flatten();
            drop(place);
            // A session takes its own time, and has a limit of its own.
            if let Some(held) = held {
                held.hold().await;
            }
        });
    }
}

/// Answers the one request of a connection; what goes on after it comes back.
async fn answer(
    mut stream: UnixStream,
    calls: mpsc::Sender<Call>,
    sessions: mpsc::Sender<SessionCall>,
) -> Option<exec::Held> {
    let response = match read(&mut stream).await {
        Ok(Request::Exec { allow, learn }) => {
            return exec::begin(stream, sessions, allow, learn).await;
        }
        Ok(request) => {
            let peer = stream.peer_cred().ok();
            let is_root = peer.is_some_and(|peer| peer.uid() == 0);
            if request.is_for_root() && !is_root {
                // In no history: others could fill it, and what is in it would go.
                tracing::warn!(uid = peer.map(|it| it.uid()), ?request, "refused: not root");
                Response::NotRoot
            } else {
                let who = |peer: tokio::net::unix::UCred| Who::of(peer.uid(), peer.pid());
                let by = peer.filter(|_| request.is_change()).map(who);
                let (answer, answered) = oneshot::channel();
                let ending = || Response::Error("the agent is ending".to_owned());
                match calls.send(Call { request, by, answer }).await {
                    Ok(()) => answered.await.unwrap_or_else(|_| ending()),
                    Err(_) => ending(),
                }
            }
        }
        Err(why) => Response::Error(why),
    };
    write(&mut stream, &response).await;
    None
}

async fn write<T: Serialize>(stream: &mut UnixStream, response: &Response<T>) {
    let mut line = serde_json::to_vec(response).unwrap_or_default();
    line.push(b'\n');
    // The verb may have gone.
    let _sent = stream.write_all(&line).await;
}

async fn read(stream: &mut UnixStream) -> Result<Request, String> {
    let mut line = String::new();
    let read = BufReader::new(stream.take(REQUEST_BYTES_MAX)).read_line(&mut line).await;
    read.map_err(|error| format!("cannot read the request: {error}"))?;
    serde_json::from_str(&line).map_err(|error| format!("cannot read the request: {error}"))
}
