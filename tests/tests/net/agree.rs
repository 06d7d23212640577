//! What a socket meets, what `nsp explain` says and what the access log says are one answer.

use std::{
    env, fmt,
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr},
    process::Command,
    thread,
    time::Duration,
};

use nsp_tests::{
    agent::Agent,
    deadline::Deadline,
    netns::{Process, World},
    packet::{Family, Party, server_private},
    sockets::{EchoServer, tcp_connect, udp_exchange},
};
use serde_json::{Value, json};

use crate::{
    cgroup::{Cgroup, Transport},
    seen, service,
};

/// Of a resource in enforced mode, of one in transition, of the unit, and the rest, which are the
/// host's.
const PORTS: [u16; 6] = [5432, 8000, 8001, UNIT_PORT, 443, 9999];

/// What the unit listens on.
const UNIT_PORT: u16 = 5353;

/// Of the resource in transition, and the host's.
const UDP_PORTS: [u16; 2] = [8000, 9999];

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

/// Who opens a conversation.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Opener {
    /// The peer.
    Peer,
    /// A process of the server that is in no unit of the policy.
    Host,
    /// A process in the unit.
    Unit,
}

/// One conversation to try.
#[derive(Clone, Copy)]
struct Attempt {
    opener: Opener,
    peer: Party,
    /// The peer's address.
    remote: IpAddr,
    /// The server's.
    local: IpAddr,
    transport: Transport,
    port: u16,
}

impl fmt::Display for Attempt {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { opener, remote, local, transport, port, peer: _ } = self;
        let way = match opener {
            Opener::Peer => "<-",
            Opener::Host => "->",
            Opener::Unit => "(unit) ->",
        };
        write!(f, "{local} {way} {remote} port {port}/{}", transport.word())
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
        let opener = dice.one(&[Opener::Peer, Opener::Peer, Opener::Host, Opener::Unit]);
        let (transport, port) = match dice.below(4) {
            0 => (Transport::Udp, dice.one(&UDP_PORTS)),
            _ => (Transport::Tcp, dice.one(&PORTS)),
        };
        Self { opener, peer, remote, local, transport, port }
    }

    /// Whether the other side was reached.
    fn connects(&self, world: &World, unit: &Unit) -> bool {
        const WITHIN: Duration = Duration::from_millis(500);
        let Self { opener, peer, remote, local, transport, port } = *self;
        let (host, from, to) = match opener {
            Opener::Peer => (world.host(peer), remote, local),
            Opener::Host => (world.server(), local, remote),
            Opener::Unit => {
                let to = SocketAddr::new(remote, port);
                return unit.cgroup.reaches(world.server(), transport, to);
            }
        };
        let (from, to) = (SocketAddr::new(from, 0), SocketAddr::new(to, port));
        let outcome = match transport {
            Transport::Tcp => tcp_connect(host, from, to, WITHIN),
            Transport::Udp => udp_exchange(host, from, to, b"question", WITHIN),
        };
        outcome.is_success()
    }

    /// The resource whose traffic this is.
    fn resource(&self) -> &'static str {
        match (self.opener, self.transport, self.port) {
            (Opener::Unit, ..) | (Opener::Peer, Transport::Tcp, UNIT_PORT) => "unit",
            (Opener::Peer, Transport::Tcp, 5432) => "strict",
            (Opener::Peer, _, 8000) | (Opener::Peer, Transport::Tcp, 8001) => "trial",
            _ => "rest",
        }
    }

    fn explain(&self, agent: &Agent, unit: &Unit) -> Value {
        let Self { opener, peer, remote, local, transport, port } = *self;
        let interface = if peer == Party::Private { "priv0" } else { "up0" };
        let port_text = format!("{port}/{}", transport.word());
        let to = match remote {
            IpAddr::V4(_) => format!("{remote}:{port_text}"),
            IpAddr::V6(_) => format!("[{remote}]:{port_text}"),
        };
        let (local, remote) = (local.to_string(), remote.to_string());
        let pid = unit.process.pid().to_string();
        let mut arguments = vec!["explain", "--json", "--interface", interface, "--to", &local];
        match opener {
            Opener::Peer => {
                arguments.extend(["inbound", "--from", &remote, "--port", &port_text]);
            }
            Opener::Host => arguments.extend(["out", &to]),
            // Two ways to say the same.
            Opener::Unit if port % 2 == 0 => arguments.extend(["out", &to, "--pid", &pid]),
            Opener::Unit => arguments.extend(["out", &to, "--unit", &unit.name]),
        }
        serde_json::from_str(&agent.nsp_ok(&arguments)).expect("JSON")
    }

    /// The log's record about it, if there is one.
    fn logged<'a>(&self, log: &'a [Value]) -> Option<&'a Value> {
        let Self { opener, remote, local, transport, port, peer: _ } = *self;
        let inbound = opener == Opener::Peer;
        let (source, destination) = if inbound { (remote, local) } else { (local, remote) };
        // A program that is refused has no address yet, unless it bound its socket to one.
        let any = if remote.is_ipv4() { "0.0.0.0" } else { "::" };
        let columns = json!({
            "DestinationIpAddress": destination,
            "DestinationPort": port,
            "SourceProtocol": transport.word().to_uppercase(),
            "ResultDirection": if inbound { "Inbound" } else { "Outbound" },
            // The same addresses and port may have been tried from inside the unit and outside.
            "ServiceResourceId": format!("/perimeters/random/resources/{}", self.resource()),
        });
        log.iter().find(|record| {
            let from = &record["SourceIpAddress"];
            let fits = *from == json!(source) || opener == Opener::Unit && *from == any;
            fits && seen::has(record, &columns)
        })
    }
}

/// A systemd unit as the kernel sees one: a control group with a process in it.
struct Unit {
    // Dropped in this order: a group with a process in it stays.
    process: Process,
    cgroup: Cgroup,
    name: String,
}

impl Unit {
    /// A unit that listens on its port, over both families.
    fn start(world: &World) -> Self {
        let cgroup = Cgroup::new("agree.service");
        let name = cgroup.name().trim_start_matches('/').to_owned();
        // Any program that listens will do; this one is needed elsewhere as well.
        let script = format!(
            "echo $$ > \"$0/cgroup.procs\" || exit 9\n\
             exec dnsmasq --keep-in-foreground --conf-file=/dev/null --no-resolv --no-hosts \
             --user=root --pid-file= --port={UNIT_PORT}"
        );
        let mut command = Command::new("bash");
        command.args(["-c", &script]).arg(cgroup.path());
        let process = world.server().spawn(&mut command);
        Self { process, cgroup, name }
    }

    /// Waits until the agent knows whose the port is.
    fn settle(&self, agent: &Agent) {
        let question = ["explain", "--json", "198.51.100.7", "5353/tcp"];
        let known = Deadline::after(Duration::from_secs(4)).poll(|| {
            let said: Value = serde_json::from_str(&agent.nsp_ok(&question)).expect("JSON");
            (said["resource"] == "unit").then_some(())
        });
        assert!(
            known.is_some(),
            "{UNIT_PORT} is not the port of {}: {}",
            self.name,
            agent.stderr()
        );
    }
}

#[test]
fn sockets_explain_and_the_log_agree() {
    const THREADS: usize = 8;
    let attempts_max = if env::var_os("NSP_TEST_FULL").is_some() { 1000 } else { 200 };
    let mut dice = Dice(seed());

    let world = World::new();
    add_addresses(&world);
    let _services = services(&world);
    let unit = Unit::start(&world);
    let policy = random_policy(&unit, &mut dice);
    let attempts: Vec<_> = (0..attempts_max).map(|_| Attempt::random(&mut dice)).collect();
    let agent =
        Agent::builder(world.server()).interfaces(&["up0", "priv0"]).policy(&policy).start();
    unit.settle(&agent);

    let reached: Vec<bool> = thread::scope(|scope| {
        let parts = attempts.chunks(attempts.len().div_ceil(THREADS));
        let work = |part: &'_ [Attempt]| -> Vec<bool> {
            part.iter().map(|attempt| attempt.connects(&world, &unit)).collect()
        };
        let running: Vec<_> = parts.map(|part| scope.spawn(move || work(part))).collect();
        running.into_iter().flat_map(|it| it.join().expect("connecting")).collect()
    });
    seen::settle(&agent);
    let log = seen::records(&agent, &Value::Null);
    // Denied and allowed, of all and of what the unit opened.
    let (mut tally, mut of_unit) = ([0; 2], [0; 2]);
    for (attempt, reached) in attempts.iter().zip(reached) {
        let said = attempt.explain(&agent, &unit);
        let about = || format!("{attempt}: reached: {reached}\n{said:#}\n{policy}");
        let allowed = said["verdict"] == "allow";
        assert_eq!(allowed, reached, "{}", about());
        assert_eq!(said["resource"], attempt.resource(), "{}", about());
        tally[usize::from(allowed)] += 1;
        of_unit[usize::from(allowed)] += usize::from(attempt.opener == Opener::Unit);
        let Some(record) = attempt.logged(&log) else {
            // Of private traffic only what comes in is logged.
            let unlogged = attempt.peer == Party::Private && attempt.opener != Opener::Peer;
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
            "Unit": (attempt.resource() == "unit").then_some(&unit.name),
        });
        assert!(seen::has(record, &expected), "{expected:#} is not\n{record:#}\n{}", about());
    }
    assert!(tally.iter().all(|it| *it > attempts_max / 10), "denied, allowed: {tally:?}");
    assert!(of_unit.iter().all(|it| *it > attempts_max / 50), "of the unit: {of_unit:?}");
}

/// Somebody answers on every port of every host; on the server's `UNIT_PORT` the unit does.
fn services(world: &World) -> Vec<EchoServer> {
    let mut services = Vec::new();
    for port in PORTS {
        services.extend(PEERS.map(|peer| service::tcp(world.host(peer), port)));
        services.extend((port != UNIT_PORT).then(|| service::tcp(world.server(), port)));
    }
    for (port, family) in UDP_PORTS.into_iter().flat_map(|it| [(it, Family::V4), (it, Family::V6)])
    {
        for local in [Party::Server.address(family), server_private(family)] {
            services.push(service::udp(world.server(), local, port));
        }
        for peer in PEERS {
            let address = peer.address(family);
            services.push(service::udp(world.host(peer), address, port));
            let further = ENDS.map(|end| with_end(address, end));
            services.extend(further.map(|it| service::udp(world.host(peer), it, port)));
        }
    }
    services
}

/// Where the dice start: `NSP_TEST_SEED`, for whoever looks for more, else always the same.
fn seed() -> u64 {
    const SEED: u64 = 1;
    let given = env::var("NSP_TEST_SEED").ok();
    given.map_or(SEED, |it| it.parse().expect("NSP_TEST_SEED is a number"))
}

/// Four profiles with rules of random prefixes, some for one port.
fn random_policy(unit: &Unit, dice: &mut Dice) -> String {
    let mut text = "[perimeter]\nname = \"random\"\n\
         [member.web-1]\naddresses = [\"192.0.2.10\", \"2001:db8:1::10\"]\n"
        .to_owned();
    for profile in ["strict", "trial", "rest", "unit"] {
        for direction in ["inbound", "outbound"] {
            for number in 0..4 {
                let prefixes = [Family::V4, Family::V6].map(|family| random_prefix(family, dice));
                let ports = match dice.below(4) {
                    0 | 1 => String::new(),
                    2 => format!("ports = [\"{}/tcp\"]\n", dice.one(&PORTS)),
                    _ => format!("ports = [\"{}/udp\"]\n", dice.one(&UDP_PORTS)),
                };
                text += &format!(
                    "[profile.{profile}.{direction}.r{number}]\n\
                     address_prefixes = {prefixes:?}\n{ports}"
                );
            }
        }
    }
    let unit = format!("unit = \"{}\"", unit.name);
    for (name, selector, mode) in [
        ("strict", "ports = [\"5432/tcp\"]", "enforced"),
        ("trial", "ports = [\"8000-8001/tcp\", \"8000/udp\"]", "transition"),
        ("rest", "host = true", "enforced"),
        ("unit", unit.as_str(), "enforced"),
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
