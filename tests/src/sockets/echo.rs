//! Servers that send back what they get, and count it.

use std::{
    io::{self, ErrorKind, Read as _, Write as _},
    net::{SocketAddr, TcpListener, TcpStream, UdpSocket},
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
    thread,
    time::Duration,
};

use rustix::net::Shutdown;

use crate::{deadline::Deadline, netns::Namespace};

/// Connections served at once; a test that needs more measures something else.
const CONNECTIONS_MAX: usize = 256;

/// How long a server lives at most, should nobody drop it.
const LIFETIME_MAX: Duration = Duration::from_secs(600);

/// How soon a server notices that it was dropped.
const TICK: Duration = Duration::from_millis(2);

/// How long a port may still be taken.
const BIND_WITHIN: Duration = Duration::from_secs(1);

/// What a server has seen so far.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Served {
    /// Connections accepted, or datagrams received.
    pub arrivals: usize,
    /// Bytes received.
    pub bytes: usize,
}

/// An echo server on a thread of its own, stopped on drop.
#[derive(Debug)]
pub struct EchoServer {
    address: SocketAddr,
    shared: Arc<Shared>,
    thread: Option<thread::JoinHandle<()>>,
}

#[derive(Debug, Default)]
struct Shared {
    stop: AtomicBool,
    arrivals: AtomicUsize,
    bytes: AtomicUsize,
}

impl EchoServer {
    /// Listens for TCP at `address` (port 0: any) of the namespace.
    ///
    /// # Panics
    /// When the address cannot be bound.
    pub fn tcp(namespace: &Namespace, address: SocketAddr) -> Self {
        let listener = bound(|| namespace.enter(|| TcpListener::bind(address)));
        let listener = listener.unwrap_or_else(|error| panic!("tcp {address}: {error}"));
        listener.set_nonblocking(true).expect("a listening socket");
        let address = listener.local_addr().expect("a bound socket has an address");
        Self::start(address, move |shared| serve_tcp(&listener, shared))
    }

    /// Answers UDP at `address` (port 0: any) of the namespace.
    ///
    /// # Panics
    /// When the address cannot be bound.
    pub fn udp(namespace: &Namespace, address: SocketAddr) -> Self {
        let socket = bound(|| namespace.enter(|| UdpSocket::bind(address)));
        let socket = socket.unwrap_or_else(|error| panic!("udp {address}: {error}"));
        socket.set_nonblocking(true).expect("a bound socket");
        let address = socket.local_addr().expect("a bound socket has an address");
        Self::start(address, move |shared| serve_udp(&socket, shared))
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// What it has seen so far.
    pub fn served(&self) -> Served {
        Served {
            arrivals: self.shared.arrivals.load(Ordering::Acquire),
            bytes: self.shared.bytes.load(Ordering::Acquire),
        }
    }

    /// The same once `arrivals` have arrived, or when the time is over: a connection is complete
    /// for its client before the server has accepted it.
    pub fn served_after(&self, arrivals: usize, within: Duration) -> Served {
        let arrived = || (self.served().arrivals >= arrivals).then_some(());
        let _ = Deadline::after(within).poll(arrived);
        self.served()
    }

    fn start(address: SocketAddr, serve: impl FnOnce(&Shared) + Send + 'static) -> Self {
        let shared = Arc::new(Shared::default());
        let for_thread = Arc::clone(&shared);
        let thread = thread::spawn(move || serve(&for_thread));
        Self { address, shared, thread: Some(thread) }
    }
}

impl Drop for EchoServer {
    fn drop(&mut self) {
        self.shared.stop.store(true, Ordering::Release);
        if self.thread.take().is_some_and(|thread| thread.join().is_err()) {
            eprintln!("the echo server at {} panicked", self.address);
        }
    }
}

impl Shared {
    fn goes_on(&self, lifetime: Deadline) -> bool {
        !self.stop.load(Ordering::Acquire) && !lifetime.passed()
    }

    fn count(&self, arrivals: usize, bytes: usize) {
        self.bytes.fetch_add(bytes, Ordering::AcqRel);
        self.arrivals.fetch_add(arrivals, Ordering::AcqRel);
    }
}

fn serve_tcp(listener: &TcpListener, shared: &Shared) {
    let lifetime = Deadline::after(LIFETIME_MAX);
    let mut streams: Vec<TcpStream> = Vec::new();
    while shared.goes_on(lifetime) {
        if streams.len() < CONNECTIONS_MAX
            && let Ok((stream, _)) = listener.accept()
        {
            shared.count(1, 0);
            stream.set_nonblocking(true).expect("an accepted socket");
            streams.push(stream);
        }
        let before = shared.bytes.load(Ordering::Acquire);
        streams.retain_mut(|stream| echo_once(stream, shared));
        if shared.bytes.load(Ordering::Acquire) == before {
            Deadline::after(TICK).readable(listener);
        }
    }
    // A child that another thread is just starting has copies of these until its exec; closed
    // means closed, so both are shut down and not only dropped. Whether the peer was first does
    // not matter.
    let _ = rustix::net::shutdown(listener, Shutdown::Both);
    for stream in streams {
        let _ = stream.shutdown(std::net::Shutdown::Both);
    }
}

/// Binds, and once more while the last owner of the port is on its way out (see above).
fn bound<T>(bind: impl Fn() -> io::Result<T>) -> io::Result<T> {
    let deadline = Deadline::after(BIND_WITHIN);
    let bound = deadline.poll(|| match bind() {
        Err(error) if error.kind() == ErrorKind::AddrInUse && !deadline.passed() => None,
        other => Some(other),
    });
    bound.unwrap_or_else(bind)
}

/// Sends back what is there; whether the connection goes on.
fn echo_once(stream: &mut TcpStream, shared: &Shared) -> bool {
    let mut buffer = [0; 4096];
    match stream.read(&mut buffer) {
        Ok(0) => false,
        Ok(length) => {
            shared.count(0, length);
            stream.write_all(&buffer[..length]).is_ok()
        }
        Err(error) => matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::Interrupted),
    }
}

fn serve_udp(socket: &UdpSocket, shared: &Shared) {
    let lifetime = Deadline::after(LIFETIME_MAX);
    let mut buffer = [0; 65536];
    while shared.goes_on(lifetime) {
        if !Deadline::after(TICK).readable(socket) {
            continue;
        }
        // An error is an earlier answer that was refused: nothing to do with the next question.
        if let Ok((length, peer)) = socket.recv_from(&mut buffer) {
            shared.count(1, length);
            // A denied answer is what the client sees as silence.
            let _ = socket.send_to(&buffer[..length], peer);
        }
    }
}
