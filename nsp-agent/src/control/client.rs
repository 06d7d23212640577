//! A verb's end of the control socket.

use std::{
    io,
    os::fd::{AsFd as _, BorrowedFd},
    path::Path,
    time::Duration,
};

use rustix::net::{
    self, AddressFamily, SocketAddrUnix, SocketFlags, SocketType,
    sockopt::{Timeout, set_socket_timeout},
};
use serde::de::DeserializeOwned;

use super::{CALL_TIME_MAX, Request, Response};

/// How long a question may take that changes nothing.
const PATIENCE: Duration = Duration::from_secs(15);

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
    /// It does what was asked for root alone.
    #[error("only root may ask for this")]
    NotRoot,
}

/// Asks the daemon at `path`.
///
/// # Errors
/// [`ControlError`].
pub fn call<T: DeserializeOwned>(path: &Path, request: &Request) -> Result<T, ControlError> {
    // An agent that hangs must not hang who asks what is the matter.
    let patience = if request.is_for_root() { CALL_TIME_MAX * 2 } else { PATIENCE };
    call_within(path, request, patience)
}

/// The same, for who cannot wait: one that does not answer in time is [`ControlError::Broken`].
///
/// # Errors
/// [`ControlError`].
pub fn call_within<T: DeserializeOwned>(
    path: &Path,
    request: &Request,
    patience: Duration,
) -> Result<T, ControlError> {
    Client::connect_within(path, patience)?.ask(request)
}

/// A verb's end of a connection.
pub struct Client(io::BufReader<std::os::unix::net::UnixStream>);

impl Client {
    /// Connects to the daemon at `path`.
    ///
    /// # Errors
    /// [`ControlError::NoAgent`].
    pub fn connect(path: &Path) -> Result<Self, ControlError> {
        let no_agent = |source| ControlError::NoAgent { path: path.display().to_string(), source };
        let stream = std::os::unix::net::UnixStream::connect(path).map_err(no_agent)?;
        Ok(Self(io::BufReader::new(stream)))
    }

    /// The same, where connecting, and each step after it, may take so long: a queue of connections that nobody
    /// takes is full some time (unix(7), net/unix/af_unix.c: `SO_SNDTIMEO`).
    ///
    /// # Errors
    /// [`ControlError::NoAgent`]; what is there and takes too long is [`ControlError::Broken`].
    pub fn connect_within(path: &Path, patience: Duration) -> Result<Self, ControlError> {
        let connect = || -> io::Result<std::os::unix::net::UnixStream> {
            let (family, kind) = (AddressFamily::UNIX, SocketType::STREAM);
            let socket = net::socket_with(family, kind, SocketFlags::CLOEXEC, None)?;
            for direction in [Timeout::Send, Timeout::Recv] {
                set_socket_timeout(&socket, direction, Some(patience))?;
            }
            net::connect(&socket, &SocketAddrUnix::new(path)?)?;
            Ok(socket.into())
        };
        match connect() {
            Ok(stream) => Ok(Self(io::BufReader::new(stream))),
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => Err(broken(error)),
            Err(source) => Err(ControlError::NoAgent { path: path.display().to_string(), source }),
        }
    }

    /// Makes the request of this connection.
    ///
    /// # Errors
    /// [`ControlError`].
    pub fn ask<T: DeserializeOwned>(&mut self, request: &Request) -> Result<T, ControlError> {
        let line = serde_json::to_string(request).map_err(ControlError::Garbled)?;
        self.say(&line)
    }

    /// Says a line, and hears what the daemon answers to it.
    ///
    /// # Errors
    /// [`ControlError`].
    pub fn say<T: DeserializeOwned>(&mut self, line: &str) -> Result<T, ControlError> {
        use std::io::{BufRead as _, Write as _};
        let line = format!("{line}\n");
        self.0.get_mut().write_all(line.as_bytes()).map_err(broken)?;
        let mut answer = String::new();
        self.0.read_line(&mut answer).map_err(broken)?;
        match serde_json::from_str(&answer).map_err(ControlError::Garbled)? {
            Response::Ok(value) => Ok(value),
            Response::Error(why) => Err(ControlError::Refused(why)),
            Response::NotRoot => Err(ControlError::NotRoot),
        }
    }

    /// What becomes readable when the daemon goes.
    pub fn descriptor(&self) -> BorrowedFd<'_> {
        self.0.get_ref().as_fd()
    }
}

/// A time that is over has the number of a call that would wait.
fn broken(error: io::Error) -> ControlError {
    ControlError::Broken(match error.kind() {
        io::ErrorKind::WouldBlock => io::Error::new(io::ErrorKind::TimedOut, "it takes too long"),
        _ => error,
    })
}

#[cfg(test)]
mod tests {
    use rustix::net::{bind, listen};

    use super::*;

    #[test]
    fn queue_that_nobody_takes_from_holds_up_nobody_who_cannot_wait() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("control");
        let socket = net::socket(AddressFamily::UNIX, SocketType::STREAM, None).unwrap();
        bind(&socket, &SocketAddrUnix::new(&path).unwrap()).unwrap();
        listen(&socket, 0).unwrap();
        let patience = Duration::from_millis(50);
        let mut waiting = Vec::new();
        let refused = loop {
            match Client::connect_within(&path, patience) {
                Ok(client) => waiting.push(client),
                Err(error) => break error,
            }
            assert!(waiting.len() < 10, "the queue has no end");
        };
        assert!(matches!(refused, ControlError::Broken(_)), "{refused:?}");
        // And one that connects and hears nothing waits no longer.
        let silent = waiting[0].ask::<()>(&Request::Status).unwrap_err();
        assert!(matches!(silent, ControlError::Broken(_)), "{silent:?}");
        let nobody = Client::connect_within(&directory.path().join("none"), patience).err();
        assert!(matches!(nobody, Some(ControlError::NoAgent { .. })), "{nobody:?}");
    }
}
