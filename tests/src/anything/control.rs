//! Bytes as a request at the control socket.

use std::{
    io::{Read as _, Write as _},
    net::Shutdown,
    os::unix::net::UnixStream,
    path::PathBuf,
    sync::OnceLock,
    thread,
    time::Duration,
};

use nsp_agent::control::{self, Answer, Call, Request, Response, exec::SessionCall};
use serde_json::Value;
use tempfile::TempDir;
use tokio::sync::mpsc;

/// Longer than the server takes to answer anything.
const PATIENCE: Duration = Duration::from_secs(20);

/// Says the bytes to a server as the daemon runs it, and hears one answer, in one line of JSON; and what
/// is a request stays the same when it is written and read again.
///
/// # Panics
/// When it does not answer so.
pub fn control(bytes: &[u8]) {
    if let Ok(request) = serde_json::from_slice::<Request>(bytes) {
        let written = serde_json::to_vec(&request).expect("a request can be written");
        assert_eq!(serde_json::from_slice::<Request>(&written).ok(), Some(request));
    }
    let answer = said(bytes);
    let line = answer.strip_suffix(b"\n").expect("an answer is a line");
    assert!(!line.contains(&b'\n'), "{answer:?}");
    let value: Value = serde_json::from_slice(line).expect("an answer is JSON");
    let is_answer =
        value == "not-root" || value.get("ok").is_some() || value.get("error").is_some();
    assert!(is_answer, "{value}");
}

fn said(bytes: &[u8]) -> Vec<u8> {
    let mut stream = UnixStream::connect(server()).expect("the server listens");
    stream.set_read_timeout(Some(PATIENCE)).expect("a timeout above zero");
    // It may have heard enough before the end.
    let _heard = stream.write_all(bytes);
    let _open = stream.shutdown(Shutdown::Write);
    let mut answer = Vec::new();
    if let Err(error) = stream.read_to_end(&mut answer) {
        // Who says more than is read is cut off, after the answer.
        assert!(!answer.is_empty(), "no answer: {error}");
    }
    answer
}

/// The path of a server that lives as long as the process, and does nothing of what it is asked for.
fn server() -> &'static PathBuf {
    static SERVER: OnceLock<(TempDir, PathBuf)> = OnceLock::new();
    let (_, path) = SERVER.get_or_init(|| {
        let directory = TempDir::new().expect("a temporary directory");
        let path = directory.path().join("control");
        let (ready, listens) = std::sync::mpsc::channel();
        let at = path.clone();
        thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
            runtime.expect("a runtime").block_on(async {
                let listener = control::listen(&at).expect("a path of our own");
                let (calls, mut called) = mpsc::channel(8);
                let (sessions, mut begun) = mpsc::channel(8);
                tokio::spawn(control::serve(listener, calls, sessions));
                ready.send(()).expect("who waits is there");
                loop {
                    tokio::select! {
                        Some(Call { answer, .. }) = called.recv() => {
                            let _gone = answer.send(Response::Ok(Answer::Value(Value::Null)));
                        }
                        Some(call) = begun.recv() => refuse(call),
                        else => return,
                    }
                }
            });
        });
        listens.recv().expect("the server starts");
        (directory, path)
    });
    path
}

fn refuse(call: SessionCall) {
    match call {
        SessionCall::Begin { answer, .. } => {
            let _gone = answer.send(Err("not here".to_owned()));
        }
        SessionCall::LetOut { answer, .. } => {
            let _gone = answer.send(Err("not here".to_owned()));
        }
        SessionCall::Close { answer, .. } => {
            let _gone = answer.send(Vec::new());
        }
    }
}
