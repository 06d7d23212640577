//! Echo requests with a known identifier, from a raw socket.

use std::{
    net::{IpAddr, SocketAddr},
    os::fd::{AsFd as _, BorrowedFd},
    time::Duration,
};

use rustix::{
    io::Errno,
    net::{
        RecvFlags, SendFlags, SocketFlags, SocketType, bind, ipproto, recv, sendto, socket_with,
    },
};

use super::{outcome::Outcome, tcp::family};
use crate::{deadline::Deadline, netns::Namespace, packet::Family};

/// The type of an echo reply, and where ICMP starts in what a raw socket receives.
const REPLY_V4: (u8, usize) = (0, 20);
const REPLY_V6: (u8, usize) = (129, 0);

/// Sends one echo request with this identifier, sequence number 1, and waits for its reply.
pub fn ping(
    namespace: &Namespace,
    from: IpAddr,
    to: IpAddr,
    id: u16,
    timeout: Duration,
) -> Outcome {
    let deadline = Deadline::after(timeout);
    let exchange = || -> Result<(), Errno> {
        let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
        let protocol = if to.is_ipv4() { ipproto::ICMP } else { ipproto::ICMPV6 };
        let to = SocketAddr::new(to, 0);
        let socket = socket_with(family(to), SocketType::RAW, flags, Some(protocol))?;
        bind(&socket, &SocketAddr::new(from, 0))?;
        // The kernel puts the checksum into ICMPv6 itself, whatever stands there.
        let request = Family::of(to.ip()).echo_request(id, 1).bytes();
        sendto(&socket, &request, SendFlags::empty(), &to)?;
        await_reply(socket.as_fd(), Family::of(to.ip()), id, deadline)
    };
    namespace.enter(exchange).map_or_else(Outcome::of, |()| Outcome::Answered)
}

fn await_reply(
    socket: BorrowedFd<'_>,
    family: Family,
    id: u16,
    deadline: Deadline,
) -> Result<(), Errno> {
    let mut buffer = [0; 2048];
    while deadline.readable(socket) {
        let (length, _) = recv(socket, &mut buffer[..], RecvFlags::empty())?;
        if is_reply(&buffer[..length], family, id) {
            return Ok(());
        }
    }
    Err(Errno::TIMEDOUT)
}

/// A raw socket sees every ICMP message of the host, errors and other pings among them.
fn is_reply(received: &[u8], family: Family, id: u16) -> bool {
    let (kind, at) = if family == Family::V4 { REPLY_V4 } else { REPLY_V6 };
    let Some(&[found, 0, _, _, high, low, 0, 1]) = received.get(at..at + 8) else {
        return false;
    };
    found == kind && u16::from_be_bytes([high, low]) == id
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::packet::{BOTH, Packet, Party};

    #[test]
    fn only_the_reply_to_this_request_counts() {
        let received = |family: Family, message: Packet| {
            let bytes = (family.ip(Party::Server, Party::Office) / message).bytes();
            if family == Family::V4 { bytes } else { bytes[40..].to_vec() }
        };
        for family in BOTH {
            assert!(is_reply(&received(family, family.echo_reply(7, 1)), family, 7));
            assert!(!is_reply(&received(family, family.echo_reply(8, 1)), family, 7));
            assert!(!is_reply(&received(family, family.echo_reply(7, 2)), family, 7));
            assert!(!is_reply(&received(family, family.echo_request(7, 1)), family, 7));
            assert!(!is_reply(&received(family, family.echo_reply(7, 1))[..7], family, 7));
        }
    }
}
