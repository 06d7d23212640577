//! Two hundred live conversations that no rule allows: a first start cuts none, the flip from transition to
//! enforced cuts none, a strict apply cuts all.

use std::{net::TcpStream, thread};

use nsp_tests::{
    agent::Agent,
    netns::World,
    packet::{BOTH, Party},
    sockets::{EchoServer, Outcome, still_echoes},
};

use crate::{
    outbound::assert_denied,
    pins::{HTTPS, POSTGRES, policy, world},
    seen, service,
};

/// Of each family and direction.
const EACH: usize = 50;

struct Live {
    connections: Vec<TcpStream>,
    _services: [EchoServer; 2],
}

impl Live {
    /// Opened by the stranger and by the server, over both families.
    fn open(world: &World) -> Self {
        let services = [
            service::tcp(world.server(), POSTGRES),
            service::tcp(world.host(Party::Stranger), HTTPS),
        ];
        let mut connections = Vec::new();
        for family in BOTH {
            for _ in 0..EACH {
                connections.push(service::open(world, Party::Stranger, family, POSTGRES));
                connections.push(service::open_out(world, Party::Stranger, family, HTTPS));
            }
        }
        Self { connections, _services: services }
    }

    /// How many carry data both ways. At once, for each that does not takes its time.
    fn count(&self) -> usize {
        thread::scope(|scope| {
            let asked: Vec<_> =
                self.connections.iter().map(|it| scope.spawn(|| still_echoes(it))).collect();
            asked.into_iter().filter_map(|it| it.join().expect("it asks").then_some(())).count()
        })
    }
}

#[track_caller]
fn new_ones_are_refused(world: &World) {
    for family in BOTH {
        assert_eq!(world.connect(Party::Stranger, family, POSTGRES), Outcome::TimedOut);
        assert_denied(service::connect_out(world, Party::Stranger, family, HTTPS));
    }
}

/// A state in which no conversation is, is not listed.
fn kept(agent: &Agent) -> u64 {
    seen::status(agent)["flows"]["kept"].as_u64().unwrap_or(0)
}

#[test]
fn first_start_cuts_none_of_two_hundred() {
    let world = world();
    let live = Live::open(&world);
    assert_eq!(live.count(), 4 * EACH);
    let agent = Agent::builder(world.server()).policy(&policy("enforced")).start();
    let alive = live.count();
    println!("{alive} of {} live conversations outlived the first start", 4 * EACH);
    assert_eq!(alive, 4 * EACH, "{}", agent.stderr());
    new_ones_are_refused(&world);
    assert_eq!(kept(&agent), 4 * EACH as u64);
}

#[test]
fn flip_to_enforced_cuts_none_of_two_hundred_and_a_strict_apply_cuts_all() {
    let world = world();
    let agent = Agent::builder(world.server()).policy(&policy("transition")).start();
    let live = Live::open(&world);
    assert_eq!(live.count(), 4 * EACH);
    agent.write_policy(&policy("enforced"));
    agent.nsp_ok(&["apply"]);
    let after_flip = live.count();
    new_ones_are_refused(&world);
    assert_eq!(kept(&agent), 4 * EACH as u64);
    agent.nsp_ok(&["apply", "--strict"]);
    let after_strict = live.count();
    println!("{after_flip} of {} outlived the flip, {after_strict} the strict apply", 4 * EACH);
    assert_eq!((after_flip, after_strict), (4 * EACH, 0));
    assert_eq!(kept(&agent), 0);
    new_ones_are_refused(&world);
}
