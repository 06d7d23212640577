//! The conversation of `nsp exec` with the daemon, which lasts as long as the command.
//!
//! ```text
//! verb                                daemon
//! {"verb":"exec","allow":[…]}    ──►  a cgroup, a session; the verb is moved in
//!                                ◄──  {"ok":{"session":"exec-1","cgroup":"/nsp-exec-1"}}
//! (starts the command)
//! started                        ──►  the verb is moved out again; its child stays
//!                                ◄──  {"ok":null}
//! (waits for the command)
//! done, or the end of the stream ──►  what is left is ended, the session removed
//!                                ◄──  {"ok":{"blocked":[…],"ended":0}}
//! ```

use std::time::Duration;

use serde::{Deserialize, Serialize};
use tokio::{
    io::AsyncReadExt as _,
    net::UnixStream,
    sync::{mpsc, oneshot},
    time::timeout,
};

use super::Response;
use crate::host::cgroups::leaf::Leaf;

/// The lines that a verb says after its request.
pub const STARTED: &str = "started";
/// The command has ended.
pub const DONE: &str = "done";

/// How long a verb may take to start its command.
const START_TIME_MAX: Duration = Duration::from_secs(30);
/// How often to look whether everything has ended.
const DYING_STEP: Duration = Duration::from_millis(2);

/// The process at the other end, as the kernel knows it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Peer {
    /// Its number.
    pub pid: u32,
    /// Whose it is.
    pub uid: u32,
}

/// What the loop is asked for.
pub enum SessionCall {
    /// Begin a session for this process.
    Begin {
        /// The process.
        peer: Peer,
        /// Where it may go.
        allow: Vec<String>,
        /// Refuse nothing.
        learn: bool,
        /// Where the answer goes.
        answer: oneshot::Sender<Result<Begun, String>>,
    },
    /// Move the process that began it out.
    LetOut {
        /// The session.
        number: u16,
        /// Where the answer goes.
        answer: oneshot::Sender<Result<(), String>>,
    },
    /// Everything in its cgroup has ended: close it.
    Close {
        /// The session.
        number: u16,
        /// Where the answer goes.
        answer: oneshot::Sender<Vec<Blocked>>,
    },
}

/// A session that has begun.
#[derive(Clone, Debug)]
pub struct Begun {
    /// Its number.
    pub number: u16,
    /// Its name.
    pub name: String,
    /// Its cgroup.
    pub leaf: Leaf,
}

/// What the verb is told of it.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Welcome {
    /// Its name.
    pub session: String,
    /// Its cgroup.
    pub cgroup: String,
}

/// How a session ended.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Summary {
    /// What was refused; of a session that learned, what would have been.
    pub blocked: Vec<Blocked>,
    /// Processes that were left behind and were ended.
    pub ended: usize,
}

/// One destination that one process was refused.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Blocked {
    /// The process, where it is known.
    pub pid: Option<u32>,
    /// What it is called.
    pub process: Option<String>,
    /// The name that was asked for, or that the address was learned for.
    pub name: Option<String>,
    /// The address; none where the name itself was refused.
    pub address: Option<String>,
    /// The port.
    pub port: Option<u16>,
    /// The protocol, as a policy writes it.
    pub protocol: String,
    /// Why, in the words of the list of reasons.
    pub reason: String,
    /// How many times.
    pub count: u64,
}

/// A session with the connection that holds it.
pub(super) struct Held {
    stream: UnixStream,
    begun: Begun,
    calls: mpsc::Sender<SessionCall>,
}

/// Begins a session; `None` when it is refused, which the verb was told.
pub(super) async fn begin(
    mut stream: UnixStream,
    calls: mpsc::Sender<SessionCall>,
    allow: Vec<String>,
    learn: bool,
) -> Option<Held> {
    let begun = match peer(&stream) {
        Ok(peer) => {
            let ask = |answer| SessionCall::Begin { peer, allow, learn, answer };
            ask_loop(&calls, ask).await.unwrap_or_else(Err)
        }
        Err(why) => Err(why),
    };
    let response = match &begun {
        Ok(begun) => {
            let welcome = Welcome { session: begun.name.clone(), cgroup: begun.leaf.path.clone() };
            value(&welcome)
        }
        Err(why) => Response::Error(why.clone()),
    };
    // Whether the verb hears it or not, a session that has begun has to be ended.
    super::write(&mut stream, &response).await;
    Some(Held { stream, begun: begun.ok()?, calls })
}

impl Held {
    /// Holds the session until the verb is done or gone, and closes it.
    pub(super) async fn hold(mut self) {
        if timeout(START_TIME_MAX, self.line()).await.is_ok_and(|line| line == STARTED) {
            let number = self.begun.number;
            let let_out = ask_loop(&self.calls, |answer| SessionCall::LetOut { number, answer });
            let response = match let_out.await.unwrap_or_else(Err) {
                Ok(()) => Response::Ok(serde_json::Value::Null),
                Err(why) => Response::Error(why),
            };
            super::write(&mut self.stream, &response).await;
            self.line().await;
        }
        let ended = self.end_processes().await;
        let number = self.begun.number;
        let closed = ask_loop(&self.calls, |answer| SessionCall::Close { number, answer });
        let response = match closed.await {
            Ok(blocked) => value(&Summary { blocked, ended }),
            Err(why) => Response::Error(why),
        };
        super::write(&mut self.stream, &response).await;
    }

    /// The next line; empty at the end of the stream, and for what is no line of ours.
    async fn line(&mut self) -> String {
        const LINE_BYTES_MAX: usize = 64;
        let mut line = Vec::new();
        while let Ok(byte) = self.stream.read_u8().await {
            if byte == b'\n' || line.len() == LINE_BYTES_MAX {
                return String::from_utf8_lossy(&line).into_owned();
            }
            line.push(byte);
        }
        String::new()
    }

    /// Ends what is left, and answers how much that was. The session's policy holds until the last
    /// one is gone, however long that takes.
    async fn end_processes(&self) -> usize {
        let leaf = &self.begun.leaf;
        let left = leaf.processes().len();
        if let Err(error) = leaf.kill() {
            tracing::error!(%error, session = self.begun.name, "what is left is not ended");
        }
        while !leaf.is_empty() {
            tokio::time::sleep(DYING_STEP).await;
        }
        left
    }
}

async fn ask_loop<T>(
    calls: &mpsc::Sender<SessionCall>,
    ask: impl FnOnce(oneshot::Sender<T>) -> SessionCall,
) -> Result<T, String> {
    let ending = || "the agent is ending".to_owned();
    let (sender, receiver) = oneshot::channel();
    calls.send(ask(sender)).await.map_err(|_| ending())?;
    receiver.await.map_err(|_| ending())
}

fn peer(stream: &UnixStream) -> Result<Peer, String> {
    let credentials =
        stream.peer_cred().map_err(|error| format!("the caller is not known: {error}"))?;
    let pid = credentials.pid().and_then(|pid| u32::try_from(pid).ok()).filter(|pid| *pid != 0);
    let pid = pid.ok_or("the caller's process cannot be seen from here")?;
    Ok(Peer { pid, uid: credentials.uid() })
}

fn value(value: &impl Serialize) -> Response {
    serde_json::to_value(value)
        .map_or_else(|error| Response::Error(error.to_string()), Response::Ok)
}
