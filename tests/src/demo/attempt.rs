//! One try to reach somebody, in both families at once.

use std::{
    net::{IpAddr, SocketAddr},
    sync::atomic::{AtomicU16, Ordering},
    thread,
    time::Duration,
};

use super::stage::Stage;
use crate::{
    netns::Namespace,
    packet::{BOTH, Family, Party},
    sockets::{Outcome, ping, tcp_connect, udp_exchange},
};

/// How long silence must last to be called so. The first SYN is sent again after a second.
const PATIENCE: Duration = Duration::from_millis(1300);

/// What is tried.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    Tcp(u16),
    Udp(u16),
    Ping,
}

/// Somebody tries something.
#[derive(Clone, Debug)]
pub(super) struct Attempt {
    /// Who, for people.
    pub(super) who: String,
    /// What, for people.
    pub(super) what: String,
    pub(super) kind: Kind,
    /// From and to, IPv4 and IPv6.
    pub(super) ends: [(IpAddr, IpAddr); 2],
    from: Namespace,
}

impl Attempt {
    /// A party tries the server.
    pub(super) fn inbound(stage: &Stage, party: Party, name: &str, kind: Kind) -> Self {
        let ends = BOTH.map(|family| {
            let to = stage.world.server_address(party, family, 0).ip();
            (party.address(family), to)
        });
        Self::new(party.name(), name, kind, ends, stage.world.host(party))
    }

    /// The server tries a party.
    pub(super) fn outbound(stage: &Stage, party: Party, name: &str, kind: Kind) -> Self {
        let ends = BOTH.map(|family| {
            // The server's own address as that party sees it.
            let from = stage.world.server_address(party, family, 0).ip();
            (from, party.address(family))
        });
        Self::new("server", name, kind, ends, stage.world.server())
    }

    /// The container on the server tries a party.
    pub(super) fn from_container(stage: &Stage, party: Party, name: &str, kind: Kind) -> Self {
        let own = ["172.17.0.2", "fd17::2"].map(|text| text.parse().expect("a constant address"));
        let ends = [(own[0], party.address(Family::V4)), (own[1], party.address(Family::V6))];
        Self::new("container", name, kind, ends, stage.container())
    }

    fn new(
        who: &str,
        name: &str,
        kind: Kind,
        ends: [(IpAddr, IpAddr); 2],
        from: &Namespace,
    ) -> Self {
        let what = match kind {
            Kind::Tcp(port) => format!("{name} {port}/tcp"),
            Kind::Udp(port) => format!("{name} {port}/udp"),
            Kind::Ping => format!("{name} icmp"),
        };
        Self { who: who.to_owned(), what, kind, ends, from: from.clone() }
    }

    /// What becomes of it over IPv4 and over IPv6.
    fn run(&self) -> [Outcome; 2] {
        let each = |(from, to): (IpAddr, IpAddr)| {
            let near = SocketAddr::new(from, 0);
            match self.kind {
                Kind::Tcp(port) => {
                    tcp_connect(&self.from, near, SocketAddr::new(to, port), PATIENCE)
                }
                Kind::Udp(port) => {
                    let far = SocketAddr::new(to, port);
                    udp_exchange(&self.from, near, far, b"<13>demo: hello", PATIENCE)
                }
                Kind::Ping => ping(&self.from, from, to, fresh_id(), PATIENCE),
            }
        };
        thread::scope(|scope| {
            let v4 = scope.spawn(|| each(self.ends[0]));
            let v6 = scope.spawn(|| each(self.ends[1]));
            [joined(v4), joined(v6)]
        })
    }
}

/// All of them at once: silence takes its time, and takes it once.
pub(super) fn run_all<'a>(attempts: impl IntoIterator<Item = &'a Attempt>) -> Vec<[Outcome; 2]> {
    thread::scope(|scope| {
        let running: Vec<_> =
            attempts.into_iter().map(|attempt| scope.spawn(|| attempt.run())).collect();
        running.into_iter().map(joined).collect()
    })
}

/// An identifier that no ping had: with an old one it would continue an old conversation.
fn fresh_id() -> u16 {
    static NEXT: AtomicU16 = AtomicU16::new(1);
    NEXT.fetch_add(1, Ordering::Relaxed)
}

fn joined<T>(thread: thread::ScopedJoinHandle<'_, T>) -> T {
    thread.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic))
}
