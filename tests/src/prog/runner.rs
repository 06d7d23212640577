//! The programs by their descriptors: one thread runs them on frames while another changes what they go by.

use std::os::fd::{AsFd as _, OwnedFd};

use nsp_agent::datapath::Datapath;
use nsp_common::verdict::{Direction, Verdict};

use super::{
    case::{TC_DROP, TC_PASS, XDP_DROP, XDP_PASS},
    lab::DEVICE,
};
use crate::{packet::Packet, raw};

/// A frame on an Ethernet device, ready to be judged many times.
#[derive(Clone, Debug)]
pub struct Frame {
    direction: Direction,
    bytes: Vec<u8>,
    context: Vec<u8>,
}

impl Frame {
    /// A packet with its link header, on its way.
    pub fn new(packet: &Packet, direction: Direction) -> Self {
        let bytes = packet.bytes();
        let context = match direction {
            // struct xdp_md: data, data_end, data_meta, ingress_ifindex, rx_queue, egress.
            Direction::Inbound => [0, bytes.len() as u32, 0, DEVICE, 0, 0]
                .iter()
                .flat_map(|word| word.to_ne_bytes())
                .collect(),
            // struct __sk_buff, of which a test run takes the device (offset 40).
            Direction::Outbound => {
                let mut context = vec![0; 192];
                context[40..44].copy_from_slice(&DEVICE.to_ne_bytes());
                context
            }
        };
        Self { direction, bytes, context }
    }
}

/// What judges frames that come in and go out.
#[derive(Debug)]
pub struct Runner {
    inbound: OwnedFd,
    outbound: OwnedFd,
}

impl Runner {
    /// The programs of a datapath: `nsp_xdp` and `nsp_egress`.
    ///
    /// # Panics
    /// When there is no descriptor left.
    pub fn of(datapath: &Datapath) -> Self {
        let program = |name| datapath.descriptor(name).expect("a descriptor");
        Self { inbound: program("nsp_xdp"), outbound: program("nsp_egress") }
    }

    /// Judges a frame.
    ///
    /// # Panics
    /// When the program cannot be run, or answers neither pass nor drop.
    pub fn judge(&self, frame: &Frame) -> Verdict {
        let Frame { direction, bytes, context } = frame;
        let (program, pass, drop) = match direction {
            Direction::Inbound => (&self.inbound, XDP_PASS, XDP_DROP),
            Direction::Outbound => (&self.outbound, TC_PASS, TC_DROP),
        };
        match raw::test_run(program.as_fd(), bytes, context).expect("a test run") {
            code if code == pass => Verdict::Pass,
            code if code == drop => Verdict::Drop,
            other => panic!("the program answers {other}"),
        }
    }
}
