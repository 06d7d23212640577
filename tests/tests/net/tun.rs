//! A tun device: IP packets without a link header, read and written by the test.
#![expect(unsafe_code, reason = "TUNSETIFF has no safe wrapper")]

use std::{
    fs::{File, OpenOptions},
    io::{Error, ErrorKind, Read as _, Write as _},
    mem::zeroed,
    os::{fd::AsRawFd as _, unix::fs::OpenOptionsExt as _},
    time::Duration,
};

use nsp_tests::{deadline::Deadline, netns::Namespace, packet::Packet};

/// The far end of a tun device, which goes when this is dropped.
#[derive(Debug)]
pub(crate) struct Tun {
    file: File,
}

impl Tun {
    /// Makes the device in a namespace.
    ///
    /// # Panics
    /// When the kernel has no tun, or the name is taken.
    pub(crate) fn new(namespace: &Namespace, name: &str) -> Self {
        let file = namespace.enter(|| {
            let mut options = OpenOptions::new();
            let file = options.read(true).write(true).custom_flags(libc::O_NONBLOCK);
            let file = file.open("/dev/net/tun").expect("the kernel has tun");
            // SAFETY: all-zero bytes are a valid ifreq.
            let mut request: libc::ifreq = unsafe { zeroed() };
            assert!(name.len() < request.ifr_name.len(), "{name} is too long");
            for (to, from) in request.ifr_name.iter_mut().zip(name.bytes()) {
                *to = from.cast_signed();
            }
            let flags = libc::IFF_TUN | libc::IFF_NO_PI;
            request.ifr_ifru.ifru_flags = i16::try_from(flags).expect("two flags");
            // SAFETY: TUNSETIFF reads and writes one ifreq, and the pointer is to a live one.
            let done = unsafe { libc::ioctl(file.as_raw_fd(), libc::TUNSETIFF, &raw mut request) };
            assert!(done == 0, "TUNSETIFF {name}: {}", Error::last_os_error());
            file
        });
        Self { file }
    }

    /// Lets a packet arrive at the device.
    pub(crate) fn send(&mut self, packet: impl Into<Packet>) {
        let bytes = packet.into().bytes();
        self.file.write_all(&bytes).expect("the device is up");
    }

    /// The next packet that left by the device and that `wanted` accepts.
    pub(crate) fn next(
        &mut self,
        within: Duration,
        wanted: impl Fn(&[u8]) -> bool,
    ) -> Option<Vec<u8>> {
        let deadline = Deadline::after(within);
        let mut buffer = vec![0; 65536];
        while deadline.readable(&self.file) {
            match self.file.read(&mut buffer) {
                Ok(length) if wanted(&buffer[..length]) => return Some(buffer[..length].to_vec()),
                Ok(_) => {}
                Err(error) if error.kind() == ErrorKind::WouldBlock => {}
                Err(error) => panic!("tun: {error}"),
            }
        }
        None
    }
}
