//! One story: packets in order, on one family and one kind of device.

use std::{
    net::IpAddr,
    panic::{AssertUnwindSafe, catch_unwind, resume_unwind},
    thread,
};

use nsp_common::{
    address::Address,
    link::endpoint,
    verdict::{Direction, Verdict},
};

use super::{
    addresses::addresses,
    judged::Judged,
    lab::{DEVICE, Lab, Network},
};
use crate::packet::{BOTH, Family, InBoth, Ip, Packet, eth};

/// `XDP_PASS`.
pub const XDP_PASS: u32 = 2;
/// `XDP_DROP`.
pub const XDP_DROP: u32 = 1;
/// `TC_ACT_UNSPEC`: the next one decides.
pub const TC_PASS: u32 = u32::MAX;
/// `TC_ACT_SHOT`.
pub const TC_DROP: u32 = 2;

/// A kind of device, by the programs on it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Hook {
    /// Ethernet, judged by XDP on the way in.
    Xdp,
    /// Ethernet, judged by TC on the way in.
    Tc,
    /// Without link headers (tun, WireGuard), judged by TC.
    Bare,
}

impl Hook {
    /// Every kind.
    pub const ALL: [Self; 3] = [Self::Xdp, Self::Tc, Self::Bare];

    /// The program that judges one direction.
    pub const fn program(self, direction: Direction) -> &'static str {
        match (self, direction) {
            (Self::Xdp, Direction::Inbound) => "nsp_xdp",
            (Self::Tc, Direction::Inbound) => "nsp_ingress",
            (Self::Bare, Direction::Inbound) => "nsp_ingress_bare",
            (Self::Xdp | Self::Tc, Direction::Outbound) => "nsp_egress",
            (Self::Bare, Direction::Outbound) => "nsp_egress_bare",
        }
    }
}

/// A story under way.
pub struct Case<'a> {
    /// The loaded programs.
    pub lab: &'a mut Lab,
    /// The family it is told in.
    pub family: Family,
    /// The kind of device it is told on.
    pub hook: Hook,
    resource: Option<&'static str>,
}

/// Tells a story on both families and every kind of device.
pub fn everywhere(policy: &str, story: impl Fn(&mut Case<'_>) + Sync) {
    on(&BOTH, &Hook::ALL, policy, story);
}

/// Tells a story on these families and kinds of device, the devices side by side.
///
/// # Panics
/// When the story does.
pub fn on(families: &[Family], hooks: &[Hook], policy: &str, story: impl Fn(&mut Case<'_>) + Sync) {
    let tell = |family: Family, hook: Hook| {
        let mut lab = Lab::shared();
        lab.put_in_force(policy);
        let mut case = Case { lab: &mut lab, family, hook, resource: Some("host") };
        let told = catch_unwind(AssertUnwindSafe(|| story(&mut case)));
        if let Err(panic) = told {
            eprintln!("… on {family:?} by {}", hook.program(Direction::Inbound));
            resume_unwind(panic);
        }
    };
    thread::scope(|scope| {
        let tell = &tell;
        let devices: Vec<_> = hooks
            .iter()
            .map(|hook| {
                scope.spawn(move || families.iter().for_each(|family| tell(*family, *hook)))
            })
            .collect();
        for device in devices {
            device.join().unwrap_or_else(|panic| resume_unwind(panic));
        }
    });
}

impl Case<'_> {
    /// An IP header of the story's family.
    pub fn ip<P: InBoth, Q: InBoth>(&self, source: P, destination: Q) -> Ip {
        self.family.ip(source, destination)
    }

    /// A port, or an identifier, that no packet had before.
    pub fn port(&mut self) -> u16 {
        self.lab.fresh()
    }

    /// The resource that records from now on name; `host` if nothing is said.
    pub fn concerns(&mut self, resource: impl Into<Option<&'static str>>) -> &mut Self {
        self.resource = resource.into();
        self
    }

    /// The address of the story's family.
    ///
    /// # Panics
    /// When the text is none.
    pub fn family_address(&self, (v4, v6): (&str, &str)) -> IpAddr {
        let text = if self.family == Family::V4 { v4 } else { v6 };
        text.parse().expect("an address")
    }

    /// The device leads to this network from now on.
    pub fn by(&mut self, network: Network) -> &mut Self {
        self.lab.by_network(network);
        self
    }

    /// Puts another version of the policy in force.
    pub fn apply(&mut self, policy: &str) {
        self.lab.apply(policy);
    }

    /// The host trusts these resolvers and no others.
    pub fn trust_resolvers(&mut self, resolvers: &[IpAddr]) {
        let endpoints: Vec<_> = resolvers
            .iter()
            .map(|resolver| (Address::from(*resolver), endpoint::RESOLVER))
            .collect();
        self.lab.datapath.set_endpoints(&endpoints).expect("resolvers fit");
    }

    /// Judges a packet that comes in. Where the device has link headers it is given one.
    pub fn inbound(&mut self, packet: impl Into<Packet>) -> Judged<'_> {
        self.framed(packet.into(), Direction::Inbound)
    }

    /// Judges a packet that goes out.
    pub fn outbound(&mut self, packet: impl Into<Packet>) -> Judged<'_> {
        self.framed(packet.into(), Direction::Outbound)
    }

    fn framed(&mut self, packet: Packet, direction: Direction) -> Judged<'_> {
        match self.hook {
            Hook::Xdp | Hook::Tc => self.frame(&(eth() / packet), direction),
            Hook::Bare => self.frame(&packet, direction),
        }
    }

    /// Judges a frame as it is.
    pub fn frame(&mut self, frame: &Packet, direction: Direction) -> Judged<'_> {
        let bytes = frame.bytes();
        let verdict = self.verdict(&bytes, direction).unwrap_or_else(|error| {
            panic!("{frame} ({} bytes) cannot be run: {error}", bytes.len());
        });
        let (records, events) = self.lab.records();
        Judged {
            what: format!("{direction:?} {frame}"),
            verdict,
            direction,
            length: bytes.len() as u64,
            addresses: addresses(&bytes, self.hook != Hook::Bare),
            delta: self.lab.delta(),
            records,
            events,
            resource: self.resource,
            identities: &self.lab.identities,
        }
    }

    /// Runs the programs on bytes and looks at nothing but the action code; an error where the
    /// kernel cannot run so short a frame.
    ///
    /// # Errors
    /// What the kernel says.
    ///
    /// # Panics
    /// When the program answers with a code that is neither pass nor drop.
    pub fn verdict(&mut self, bytes: &[u8], direction: Direction) -> Result<Verdict, String> {
        let program = self.hook.program(direction);
        let code = self.lab.datapath.run(program, bytes, DEVICE);
        let code = code.map_err(|error| format!("{:#}", anyhow::Error::from(error)))?;
        Ok(match (program, code) {
            ("nsp_xdp", XDP_PASS) => Verdict::Pass,
            ("nsp_xdp", XDP_DROP) => Verdict::Drop,
            ("nsp_xdp", other) => panic!("{program} answers {other}"),
            (_, TC_PASS) => Verdict::Pass,
            (_, TC_DROP) => Verdict::Drop,
            (_, other) => panic!("{program} answers {other}"),
        })
    }
}
