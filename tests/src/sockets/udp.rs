//! UDP: one question, one answer.

use std::{net::SocketAddr, time::Duration};

use rustix::{
    io::Errno,
    net::{RecvFlags, SendFlags, SocketFlags, SocketType, bind, connect, recv, send, socket_with},
};

use super::{outcome::Outcome, tcp::family};
use crate::{deadline::Deadline, netns::Namespace};

/// Sends `question` from `from` (port 0: any) to `to` and waits for the same bytes to come back,
/// as from [`EchoServer::udp`](super::EchoServer::udp).
pub fn udp_exchange(
    namespace: &Namespace,
    from: SocketAddr,
    to: SocketAddr,
    question: &[u8],
    timeout: Duration,
) -> Outcome {
    let deadline = Deadline::after(timeout);
    let exchange = || -> Result<(), Errno> {
        let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
        let socket = socket_with(family(to), SocketType::DGRAM, flags, None)?;
        bind(&socket, &from)?;
        // Connected, so that an ICMP error about the question reaches this socket.
        connect(&socket, &to)?;
        send(&socket, question, SendFlags::empty())?;
        let mut answer = vec![0; question.len() + 1];
        while deadline.readable(&socket) {
            let (length, _) = recv(&socket, &mut answer[..], RecvFlags::empty())?;
            if answer[..length] == *question {
                return Ok(());
            }
        }
        Err(Errno::TIMEDOUT)
    };
    namespace.enter(exchange).map_or_else(Outcome::of, |()| Outcome::Answered)
}
