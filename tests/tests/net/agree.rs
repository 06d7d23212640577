//! What a socket meets, what `nsp explain` says and what the access log says are one answer.

use std::{
    env, fmt,
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr},
    thread,
    time::Duration,
};

use nsp_tests::{
    agent::Agent,
    netns::World,
    packet::{Family, Party, server_private},
    sockets::{Outcome, tcp_connect},
};
use serde_json::{Value, json};

use crate::{seen, service};

/// Of a resource in enforced mode, of one in transition, and the rest, which are the host's.
const PORTS: [u16; 5] = [5432, 8000, 8001, 443, 9999];

const PEERS: [Party; 4] = [Party::Office, Party::Stranger, Party::Member, Party::Private];

/// The hosts that have further addresses, one at the end of each quarter of their last byte.
const ENDS: [u8; 3] = [60, 120, 190];

/// A sequence of numbers that is the same every time (Knuth's MMIX generator).
struct Dice(u64);

impl Dice {
    fn below(&mut self, end: usize) -> usize {
        self.0 = self.0.wrapping_mul(6364136223846793005).wrapping_add(1442695040888963407);
        usize::try_from(self.0 >> 33).expect("31 bits") % end
    }

    fn one<T: Copy>(&mut self, of: &[T]) -> T {
        of[self.below(of.len())]
    }
}

/// One conversation to try.
#[derive(Clone, Copy)]
struct Attempt {
    inbound: bool,
    peer: Party,
    /// The peer's address.
    remote: IpAddr,
    /// The server's.
    local: IpAddr,
    port: u16,
}

impl fmt::Display for Attempt {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { inbound, remote, local, port, peer: _ } = self;
        let way = if *inbound { "<-" } else { "->" };
        write!(f, "{local} {way} {remote} port {port}")
    }
}

impl Attempt {
    fn random(dice: &mut Dice) -> Self {
        let family = dice.one(&[Family::V4, Family::V6]);
        let peer = dice.one(&PEERS);
        let end = dice.one(&[None, Some(ENDS[0]), Some(ENDS[1]), Some(ENDS[2])]);
        let remote = match end {
            Some(end) => with_end(peer.address(family), end),
            None => peer.address(family),
        };
        let local = match peer {
            Party::Private => server_private(family),
            _ => Party::Server.address(family),
        };
        Self { inbound: dice.below(2) == 0, peer, remote, local, port: dice.one(&PORTS) }
    }

    fn connect(&self, world: &World) -> Outcome {
        const WITHIN: Duration = Duration::from_millis(500);
        let Self { inbound, peer, remote, local, port } = *self;
        let (host, from, to) = if inbound {
            (world.host(peer), remote, local)
        } else {
            (world.server(), local, remote)
        };
        tcp_connect(host, SocketAddr::new(from, 0), SocketAddr::new(to, port), WITHIN)
    }

    fn explain(&self, agent: &Agent) -> Value {
        let Self { inbound, peer, remote, local, port } = *self;
        let interface = if peer == Party::Private { "priv0" } else { "up0" };
        let (local, to) = (local.to_string(), format!("{}/tcp", SocketAddr::new(remote, port)));
        let (remote, port) = (remote.to_string(), format!("{port}/tcp"));
        let mut arguments = vec!["explain", "--json", "--interface", interface, "--to", &local];
        if inbound {
            arguments.extend(["inbound", "--from", &remote, "--port", &port]);
        } else {
            arguments.extend(["out", &to]);
        }
        serde_json::from_str(&agent.nsp_ok(&arguments)).expect("JSON")
    }

    /// The log's record about it, if there is one.
    fn logged<'a>(&self, log: &'a [Value]) -> Option<&'a Value> {
        let Self { inbound, remote, local, port, peer: _ } = *self;
        let (source, destination) = if inbound { (remote, local) } else { (local, remote) };
        let columns = json!({
            "SourceIpAddress": source,
            "DestinationIpAddress": destination,
            "DestinationPort": port,
            "SourceProtocol": "TCP",
            "ResultDirection": if inbound { "Inbound" } else { "Outbound" },
        });
        log.iter().find(|record| seen::has(record, &columns))
    }
}

#[test]
fn sockets_explain_and_the_log_agree() {
    const THREADS: usize = 8;
    let attempts_max = if env::var_os("NSP_TEST_FULL").is_some() { 1000 } else { 200 };
    let mut dice = Dice(seed());
    let policy = random_policy(&mut dice);
    let attempts: Vec<_> = (0..attempts_max).map(|_| Attempt::random(&mut dice)).collect();

    let world = World::new();
    add_addresses(&world);
    let hosts = PEERS.map(|peer| world.host(peer));
    let hosts = hosts.into_iter().chain([world.server()]);
    let _services: Vec<_> =
        hosts.flat_map(|host| PORTS.map(|port| service::tcp(host, port))).collect();
    let agent =
        Agent::builder(world.server()).interfaces(&["up0", "priv0"]).policy(&policy).start();

    let outcomes: Vec<Outcome> = thread::scope(|scope| {
        let parts = attempts.chunks(attempts.len().div_ceil(THREADS));
        let work = |part: &'_ [Attempt]| -> Vec<Outcome> {
            part.iter().map(|attempt| attempt.connect(&world)).collect()
        };
        let running: Vec<_> = parts.map(|part| scope.spawn(move || work(part))).collect();
        running.into_iter().flat_map(|it| it.join().expect("connecting")).collect()
    });
    seen::settle(&agent);
    let log = seen::records(&agent, &Value::Null);
    let mut tally = [0; 2];
    for (attempt, outcome) in attempts.iter().zip(outcomes) {
        let said = attempt.explain(&agent);
        let about = || format!("{attempt}: {outcome:?}\n{said:#}\n{policy}");
        let allowed = said["verdict"] == "allow";
        assert_eq!(allowed, outcome == Outcome::Connected, "{}", about());
        tally[usize::from(allowed)] += 1;
        let Some(record) = attempt.logged(&log) else {
            // Of private traffic only what comes in is logged.
            let unlogged = attempt.peer == Party::Private && !attempt.inbound;
            assert!(unlogged && said["category"] == "", "not logged: {}", about());
            continue;
        };
        let action = if allowed { "Approved" } else { "Denied" };
        let rule = match &said["rule"] {
            Value::Null => Value::Null,
            name => json!({"accessRule": name}),
        };
        let expected = json!({
            "ResultAction": action,
            "MatchedRule": rule,
            "Category": said["category"],
            "Profile": said["profile"],
            "Reason": said["reason"],
            "AccessMode": said["mode"],
        });
        assert!(seen::has(record, &expected), "{expected:#} is not\n{record:#}\n{}", about());
    }
    assert!(tally.iter().all(|it| *it > attempts_max / 10), "denied, allowed: {tally:?}");
}

/// Where the dice start: `NSP_TEST_SEED`, for whoever looks for more, else always the same.
fn seed() -> u64 {
    const SEED: u64 = 1;
    let given = env::var("NSP_TEST_SEED").ok();
    given.map_or(SEED, |it| it.parse().expect("NSP_TEST_SEED is a number"))
}

/// Three profiles with rules of random prefixes, some for one port.
fn random_policy(dice: &mut Dice) -> String {
    let mut text = "[perimeter]\nname = \"random\"\n\
         [member.web-1]\naddresses = [\"192.0.2.10\", \"2001:db8:1::10\"]\n"
        .to_owned();
    for profile in ["strict", "trial", "rest"] {
        for direction in ["inbound", "outbound"] {
            for number in 0..4 {
                let prefixes = [Family::V4, Family::V6].map(|family| random_prefix(family, dice));
                let ports = match dice.below(2) {
                    0 => String::new(),
                    _ => format!("ports = [\"{}/tcp\"]\n", dice.one(&PORTS)),
                };
                text += &format!(
                    "[profile.{profile}.{direction}.r{number}]\n\
                     address_prefixes = {prefixes:?}\n{ports}"
                );
            }
        }
    }
    for (name, selector, mode) in [
        ("strict", "ports = [\"5432/tcp\"]", "enforced"),
        ("trial", "ports = [\"8000-8001/tcp\"]", "transition"),
        ("rest", "host = true", "enforced"),
    ] {
        text += &format!(
            "[resource.{name}]\n{selector}\nprofile = \"{name}\"\naccess_mode = \"{mode}\"\n"
        );
    }
    text
}

/// A prefix around an address that somebody public has.
fn random_prefix(family: Family, dice: &mut Dice) -> String {
    let address = dice.one(&[Party::Office, Party::Stranger]).address(family);
    let end = dice.one(&ENDS);
    let length = dice.one(&[24, 25, 26, 28, 32]);
    match with_end(address, end) {
        IpAddr::V4(address) => {
            let bits = address.to_bits() & (u32::MAX << (32 - length));
            format!("{}/{length}", Ipv4Addr::from_bits(bits))
        }
        IpAddr::V6(address) => {
            let bits = address.to_bits() & (u128::MAX << (32 - length));
            format!("{}/{}", Ipv6Addr::from_bits(bits), length + 96)
        }
    }
}

/// The address with another last byte.
fn with_end(address: IpAddr, end: u8) -> IpAddr {
    match address {
        IpAddr::V4(address) => {
            let [a, b, c, _] = address.octets();
            Ipv4Addr::new(a, b, c, end).into()
        }
        IpAddr::V6(address) => {
            let bits = address.to_bits() & !0xff | u128::from(end);
            Ipv6Addr::from_bits(bits).into()
        }
    }
}

fn add_addresses(world: &World) {
    for peer in PEERS {
        for end in ENDS {
            let (v4, v6) =
                [Family::V4, Family::V6].map(|it| with_end(peer.address(it), end)).into();
            world
                .host(peer)
                .ip(&format!("address add {v4}/24 dev eth0\naddress add {v6}/64 dev eth0 nodad\n"));
        }
    }
    world.settle();
}
