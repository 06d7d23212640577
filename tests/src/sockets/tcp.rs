//! TCP from a given address, with a deadline.

use std::{
    io::{Read as _, Write as _},
    net::{SocketAddr, TcpStream},
    os::fd::AsFd as _,
    time::Duration,
};

use rustix::{
    io::Errno,
    net::{AddressFamily, SocketFlags, SocketType, bind, connect, socket_with, sockopt},
};

use super::outcome::Outcome;
use crate::{deadline::Deadline, netns::Namespace, packet::Family, raw};

/// Opens a connection from `from` (port 0: any) to `to` and keeps it. Its reads and writes have
/// `timeout` too.
pub fn tcp_open(
    namespace: &Namespace,
    from: SocketAddr,
    to: SocketAddr,
    timeout: Duration,
) -> Result<TcpStream, Outcome> {
    let deadline = Deadline::after(timeout);
    let opened = namespace.enter(|| -> Result<_, Errno> {
        let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
        let socket = socket_with(family(to), SocketType::STREAM, flags, None)?;
        sockopt::set_socket_reuseaddr(&socket, true)?;
        bind(&socket, &from)?;
        match connect(&socket, &to) {
            Ok(()) => return Ok(socket),
            Err(Errno::INPROGRESS) => {}
            Err(error) => return Err(error),
        }
        if !deadline.writable(&socket) {
            return Err(Errno::TIMEDOUT);
        }
        sockopt::socket_error(&socket)??;
        Ok(socket)
    });
    let stream = TcpStream::from(opened.map_err(Outcome::of)?);
    stream.set_nonblocking(false).expect("a connected socket");
    stream.set_read_timeout(Some(timeout)).expect("a timeout above zero");
    stream.set_write_timeout(Some(timeout)).expect("a timeout above zero");
    Ok(stream)
}

/// What becomes of a connection from `from` (port 0: any) to `to`, which is closed at once.
pub fn tcp_connect(
    namespace: &Namespace,
    from: SocketAddr,
    to: SocketAddr,
    timeout: Duration,
) -> Outcome {
    match tcp_open(namespace, from, to, timeout) {
        Ok(_) => Outcome::Connected,
        Err(outcome) => outcome,
    }
}

/// Whether a connection to an echo server still carries data both ways, within the timeout it
/// was opened with.
pub fn still_echoes(mut stream: &TcpStream) -> bool {
    let sent = *b"still there?";
    let mut back = [0; 12];
    stream.write_all(&sent).is_ok() && stream.read_exact(&mut back).is_ok() && back == sent
}

/// What the kernel counted on a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TcpCounters {
    /// Segments sent again since the connection was opened, SYNs included.
    pub retransmitted_total: u32,
    /// Times the segment now waiting was sent again.
    pub retransmits_now: u8,
    /// Smoothed round-trip time.
    pub round_trip: Duration,
}

/// Reads TCP_INFO.
pub fn tcp_counters(stream: &TcpStream) -> TcpCounters {
    let info = raw::tcp_info(stream.as_fd()).expect("an open TCP socket has TCP_INFO");
    TcpCounters {
        retransmitted_total: info.tcpi_total_retrans,
        retransmits_now: info.tcpi_retransmits,
        round_trip: Duration::from_micros(info.tcpi_rtt.into()),
    }
}

pub(super) fn family(address: SocketAddr) -> AddressFamily {
    match Family::of(address.ip()) {
        Family::V4 => AddressFamily::INET,
        Family::V6 => AddressFamily::INET6,
    }
}
