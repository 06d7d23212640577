//! The control socket: how the verbs talk to the daemon.
//!
//! One request a connection, one JSON object a line each way. Root and members of the socket's group
//! may read; only root may change anything (checked by the peer's credentials, `SO_PEERCRED`).

use std::{io, path::Path, sync::Arc, time::Duration};

use serde::{Deserialize, Serialize};
use tokio::{
    io::{AsyncBufReadExt as _, AsyncReadExt as _, AsyncWriteExt as _, BufReader},
    net::{UnixListener, UnixStream},
    sync::{Semaphore, mpsc, oneshot},
};

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
    /// The tracked conversations.
    Flows,
    /// End conversations: all kept ones, or those of one peer.
    Cut {
        /// Only this peer's.
        peer: Option<std::net::IpAddr>,
        /// Only kept ones.
        kept: bool,
    },
    /// Make a policy file the one in force.
    Apply {
        /// The file or directory, absolute; the agent's own when absent.
        path: Option<std::path::PathBuf>,
        /// Do not keep the conversations of associations that become enforced.
        strict: bool,
    },
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
    /// Write the access records gathered so far.
    Flush,
    /// Unhook everything and end.
    Detach,
}

impl Request {
    /// Whether only root may ask: it changes something, or reads a file of the caller's choice with
    /// the daemon's eyes.
    pub fn is_for_root(&self) -> bool {
        !matches!(
            self,
            Self::Status | Self::Dns | Self::Explain { .. } | Self::Flows | Self::Overlay
        )
    }

    /// Whether it changes what becomes of traffic.
    fn is_change(&self) -> bool {
        self.is_for_root() && !matches!(self, Self::Plan { .. } | Self::Flush)
    }
}

/// What is allowed or blocked for a time.
#[derive(Clone, Debug, Serialize, Deserialize, PartialEq, Eq)]
#[serde(deny_unknown_fields)]
pub struct Temporary {
    /// Blocked, or else allowed.
    pub block: bool,
    /// A prefix, an address or a name.
    pub target: String,
    /// Only conversations that the other end opens.
    pub inbound: bool,
    /// Only conversations that this host opens.
    pub outbound: bool,
    /// Only these ports, as a policy has them; none is all.
    pub ports: Vec<String>,
    /// Only resources of this profile.
    pub profile: Option<String>,
    /// How long.
    pub seconds: u64,
    /// Also what admits everybody.
    pub any: bool,
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
pub enum Response {
    /// Done, with what was asked for.
    Ok(serde_json::Value),
    /// Not done, and why.
    Error(String),
}

/// A request on its way to the daemon's loop.
pub type Call = (Request, oneshot::Sender<Response>);

/// What can go wrong between a verb and the daemon.
#[derive(Debug, thiserror::Error)]
pub enum ControlError {
    /// Nobody listens.
    #[error("no agent answers at {path}")]
    NoAgent {
        /// The socket.
        path: String,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// The connection broke.
    #[error("the agent did not answer")]
    Broken(#[source] io::Error),
    /// The answer makes no sense.
    #[error("the agent's answer cannot be read")]
    Garbled(#[source] serde_json::Error),
    /// The daemon refuses.
    #[error("{0}")]
    Refused(String),
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
pub async fn serve(listener: UnixListener, calls: mpsc::Sender<Call>) {
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
        let calls = calls.clone();
        tokio::spawn(async move {
            // Whoever is slower than this is not a verb.
            let _in_time = tokio::time::timeout(CALL_TIME_MAX, answer(stream, calls)).await;
            drop(place);
        });
    }
}

async fn answer(mut stream: UnixStream, calls: mpsc::Sender<Call>) {
    let response = match read(&mut stream).await {
        Ok(request) => {
            let is_root = stream.peer_cred().is_ok_and(|peer| peer.uid() == 0);
            if request.is_for_root() && !is_root {
                Response::Error("only root may ask for this".to_owned())
            } else {
                let asked = request.is_change().then(|| serde_json::to_string(&request));
                let (sender, receiver) = oneshot::channel();
                let response = match calls.send((request, sender)).await {
                    Ok(()) => receiver
                        .await
                        .unwrap_or_else(|_| Response::Error("the agent is ending".to_owned())),
                    Err(_) => Response::Error("the agent is ending".to_owned()),
                };
                if let Some(Ok(asked)) = asked {
                    audit(&stream, &asked, &response);
                }
                response
            }
        }
        Err(why) => Response::Error(why),
    };
    let mut line = serde_json::to_vec(&response).unwrap_or_default();
    line.push(b'\n');
    // The verb may have gone.
    let _sent = stream.write_all(&line).await;
}

/// Who changed what, and what came of it.
fn audit(stream: &UnixStream, asked: &str, response: &Response) {
    let peer = stream.peer_cred().ok();
    let (uid, pid) = (peer.map(|it| it.uid()), peer.and_then(|it| it.pid()));
    let refused = match response {
        Response::Ok(_) => None,
        Response::Error(why) => Some(why),
    };
    tracing::info!(uid, pid, asked, refused, "change");
}

async fn read(stream: &mut UnixStream) -> Result<Request, String> {
    let mut line = String::new();
    let read = BufReader::new(stream.take(REQUEST_BYTES_MAX)).read_line(&mut line).await;
    read.map_err(|error| format!("cannot read the request: {error}"))?;
    serde_json::from_str(&line).map_err(|error| format!("cannot read the request: {error}"))
}

/// Asks the daemon at `path`.
///
/// # Errors
/// [`ControlError`].
pub fn call(path: &Path, request: &Request) -> Result<serde_json::Value, ControlError> {
    use std::io::{BufRead as _, Write as _};
    let no_agent = |source| ControlError::NoAgent { path: path.display().to_string(), source };
    let mut stream = std::os::unix::net::UnixStream::connect(path).map_err(no_agent)?;
    let mut line = serde_json::to_vec(request).map_err(ControlError::Garbled)?;
    line.push(b'\n');
    stream.write_all(&line).map_err(ControlError::Broken)?;
    let mut answer = String::new();
    io::BufReader::new(stream).read_line(&mut answer).map_err(ControlError::Broken)?;
    match serde_json::from_str(&answer).map_err(ControlError::Garbled)? {
        Response::Ok(value) => Ok(value),
        Response::Error(why) => Err(ControlError::Refused(why)),
    }
}
