//! What a host's IP layer accepted: after XDP, TC ingress and the checks of the stack itself.

use std::{os::fd::OwnedFd, time::Duration};

use rustix::{
    io::Errno,
    net::{
        AddressFamily, Protocol, RawProtocol, RecvFlags, SocketFlags, SocketType, recv, socket_with,
    },
};

use crate::{deadline::Deadline, netns::Namespace, packet::Family};

/// A copy of every datagram of one protocol that reaches the host, from the moment it is opened.
#[derive(Debug)]
pub struct Delivered {
    socket: OwnedFd,
}

impl Delivered {
    /// For an IP protocol number, 6 for TCP. Fragments come out whole, if they do.
    ///
    /// # Panics
    /// For protocol 0, which no raw socket has.
    pub fn open(namespace: &Namespace, family: Family, protocol: u8) -> Self {
        let number = RawProtocol::new(protocol.into()).expect("a protocol other than 0");
        let family = match family {
            Family::V4 => AddressFamily::INET,
            Family::V6 => AddressFamily::INET6,
        };
        let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
        let number = Some(Protocol::from_raw(number));
        let socket = namespace.enter(|| socket_with(family, SocketType::RAW, flags, number));
        Self { socket: socket.unwrap_or_else(|error| panic!("raw socket: {error}")) }
    }

    /// How many datagrams that `wanted` accepts arrive until the time is over. It sees them with
    /// the IP header in IPv4, without it in IPv6.
    pub fn count(&self, during: Duration, wanted: impl Fn(&[u8]) -> bool) -> usize {
        let deadline = Deadline::after(during);
        let mut count = 0;
        while let Some(datagram) = self.receive(deadline) {
            count += usize::from(wanted(&datagram));
        }
        count
    }

    /// Whether a datagram that `wanted` accepts arrives before the time is over.
    pub fn arrives(&self, within: Duration, wanted: impl Fn(&[u8]) -> bool) -> bool {
        let deadline = Deadline::after(within);
        while let Some(datagram) = self.receive(deadline) {
            if wanted(&datagram) {
                return true;
            }
        }
        false
    }

    fn receive(&self, deadline: Deadline) -> Option<Vec<u8>> {
        let mut buffer = vec![0; 65536];
        while deadline.readable(&self.socket) {
            match recv(&self.socket, &mut buffer[..], RecvFlags::empty()) {
                Ok((length, _)) => {
                    buffer.truncate(length);
                    return Some(buffer);
                }
                Err(Errno::AGAIN) if !deadline.passed() => {}
                Err(Errno::AGAIN) => return None,
                Err(error) => panic!("raw socket: {error}"),
            }
        }
        None
    }
}
