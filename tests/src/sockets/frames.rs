//! Frames as they are: put on a cable, taken off it.

use std::{
    io::ErrorKind,
    os::fd::{AsFd as _, OwnedFd},
    thread,
    time::Duration,
};

use rustix::{
    io::Errno,
    net::{SendFlags, send},
};

use crate::{
    deadline::Deadline,
    netns::Namespace,
    packet::Packet,
    raw::{self, TakenTag},
};

/// Sends built frames out of an interface.
#[derive(Debug)]
pub struct FrameSender {
    socket: OwnedFd,
}

impl FrameSender {
    /// For an interface of the namespace.
    ///
    /// # Panics
    /// When there is no such interface.
    pub fn open(namespace: &Namespace, interface: &str) -> Self {
        let index = namespace.index(interface);
        let socket = namespace.enter(|| raw::packet_socket(index, false));
        Self { socket: socket.unwrap_or_else(|error| panic!("packet socket: {error}")) }
    }

    /// The same past the queueing discipline, and so past a TC egress program: the evasion that
    /// any process with CAP_NET_RAW has.
    #[must_use]
    pub fn bypass_queueing(self) -> Self {
        raw::bypass_queueing(&self.socket).expect("every packet socket has this option");
        self
    }

    /// Sends one frame.
    ///
    /// # Panics
    /// When the kernel refuses it (shorter than a link header, longer than the MTU).
    pub fn send(&self, packet: impl Into<Packet>) {
        let packet = packet.into();
        let bytes = packet.bytes();
        let sent = send(&self.socket, &bytes, SendFlags::empty());
        let sent = sent.unwrap_or_else(|error| panic!("sending {packet}: {error}"));
        assert_eq!(sent, bytes.len(), "{packet} went out in part");
    }

    /// Sends one frame that a program may drop on its way out; false when one did.
    ///
    /// # Panics
    /// As [`send`](Self::send), for any other reason.
    pub fn passes(&self, packet: impl Into<Packet>) -> bool {
        let packet = packet.into();
        match send(&self.socket, &packet.bytes(), SendFlags::empty()) {
            Ok(_) => true,
            // What a classifier drops has found no room, says the queue.
            Err(Errno::NOBUFS) => false,
            Err(error) => panic!("sending {packet}: {error}"),
        }
    }

    /// Sends bytes as they are, waiting for room as long as it takes.
    ///
    /// # Panics
    /// As [`send`](Self::send).
    pub fn send_bytes(&self, frame: &[u8]) {
        loop {
            match send(&self.socket, frame, SendFlags::empty()) {
                Ok(sent) => return assert_eq!(sent, frame.len(), "a frame went out in part"),
                // The queue of the socket, or of the device, is full.
                Err(Errno::AGAIN | Errno::NOBUFS) => thread::yield_now(),
                Err(error) => panic!("sending {} bytes: {error}", frame.len()),
            }
        }
    }
}

/// Sends frames of which the link header alone is in the linear part of the buffer, as drivers may hand
/// them on; frames shorter than a page (packet(7), `packet_alloc_skb`) are linear all the same.
#[derive(Debug)]
pub struct ScatteredSender {
    socket: OwnedFd,
}

impl ScatteredSender {
    /// For an interface of the namespace.
    ///
    /// # Panics
    /// When there is no such interface.
    pub fn open(namespace: &Namespace, interface: &str) -> Self {
        let FrameSender { socket } = FrameSender::open(namespace, interface);
        raw::expect_layout(&socket).expect("every packet socket has this option");
        Self { socket }
    }

    /// Sends one frame.
    ///
    /// # Panics
    /// When the kernel refuses it, or would have it linear.
    pub fn send(&self, packet: impl Into<Packet>) {
        /// `struct virtio_net_hdr`; its third and fourth byte say how much is header.
        const LAYOUT: [u8; 10] = [0, 0, 14, 0, 0, 0, 0, 0, 0, 0];
        const PAGE: usize = 4096;
        let packet = packet.into();
        let frame = packet.bytes();
        assert!(frame.len() > PAGE, "{packet} is too short to be scattered");
        let bytes = [&LAYOUT[..], &frame].concat();
        let sent = send(&self.socket, &bytes, SendFlags::empty());
        let sent = sent.unwrap_or_else(|error| panic!("sending {packet}: {error}"));
        assert_eq!(sent, bytes.len(), "{packet} went out in part");
    }
}

/// Sees the frames that arrive at an interface, from the moment it is opened.
///
/// It stands before TC ingress and after XDP: what arrives here may still be dropped. To see what
/// a host *accepted*, use [`Delivered`](super::Delivered) there; to see what it *sent*, listen at
/// the other end of its cable.
#[derive(Debug)]
pub struct FrameListener {
    socket: OwnedFd,
}

impl FrameListener {
    /// For an interface of the namespace.
    ///
    /// # Panics
    /// When there is no such interface.
    pub fn open(namespace: &Namespace, interface: &str) -> Self {
        let index = namespace.index(interface);
        let socket = namespace.enter(|| raw::packet_socket(index, true));
        Self { socket: socket.unwrap_or_else(|error| panic!("packet socket: {error}")) }
    }

    /// The next frame that `wanted` accepts; others are thrown away.
    pub fn next(&self, timeout: Duration, wanted: impl Fn(&[u8]) -> bool) -> Option<Vec<u8>> {
        let deadline = Deadline::after(timeout);
        loop {
            let frame = self.receive(deadline)?;
            if wanted(&frame) {
                return Some(frame);
            }
        }
    }

    /// How many frames that `wanted` accepts arrive until the time is over: the way to show that
    /// nothing, or no more than this, came through.
    pub fn count(&self, during: Duration, wanted: impl Fn(&[u8]) -> bool) -> usize {
        let deadline = Deadline::after(during);
        let mut count = 0;
        while let Some(frame) = self.receive(deadline) {
            count += usize::from(wanted(&frame));
        }
        count
    }

    fn receive(&self, deadline: Deadline) -> Option<Vec<u8>> {
        let mut buffer = vec![0; 65536];
        while deadline.readable(&self.socket) {
            match raw::receive_frame(self.socket.as_fd(), &mut buffer) {
                Ok((length, tag)) => {
                    buffer.truncate(length);
                    return Some(with_tag(buffer, tag));
                }
                // A link that went down says so once; the socket is there when it comes back.
                Err(error)
                    if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::NetworkDown) =>
                {
                    if deadline.passed() {
                        return None;
                    }
                }
                Err(error) => panic!("packet socket: {error}"),
            }
        }
        None
    }
}

/// The frame as it was on the wire: the kernel hands the outer VLAN tag over beside it.
fn with_tag(mut frame: Vec<u8>, tag: Option<TakenTag>) -> Vec<u8> {
    if let Some((kind, control)) = tag
        && frame.len() >= 12
    {
        let [[a, b], [c, d]] = [kind.to_be_bytes(), control.to_be_bytes()];
        frame.splice(12..12, [a, b, c, d]);
    }
    frame
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::packet::{Party, eth, ipv4, udp, vlan};

    #[test]
    fn taken_tag_goes_back_in_its_place() {
        let inner = || ipv4(Party::Office, Party::Server) / udp(1, 2);
        let tagged = (eth() / vlan(10) / inner()).bytes();
        let plain = (eth() / inner()).bytes();
        assert_eq!(with_tag(plain.clone(), Some((0x8100, 10))), tagged);
        assert_eq!(with_tag(plain.clone(), None), plain);
        assert_eq!(with_tag(vec![1; 5], Some((0x8100, 10))), [1; 5]);
    }
}
