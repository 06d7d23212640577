//! An agent that is killed and started again while traffic runs: what leaked, and what was cut.
//!
//! The office may use the database and the log of the server, and the server may use the office; nobody else
//! anything. The stranger sends all the while.

use std::{
    fmt,
    net::{IpAddr, Ipv6Addr, SocketAddr, TcpStream},
    sync::atomic::{AtomicBool, AtomicU64, Ordering},
    thread,
    time::{Duration, Instant},
};

use crate::{
    agent::Agent,
    netns::World,
    packet::{BOTH, Family, Party, eth, tcp, udp},
    sockets::{EchoServer, Outcome, still_echoes, tcp_connect, tcp_counters, tcp_open},
};

/// The port of the database.
pub const POSTGRES: u16 = 5432;
const SYSLOG: u16 = 514;
const HTTPS: u16 = 443;

/// How long nobody answers before that counts as silence.
const PATIENCE: Duration = Duration::from_secs(5);
/// A connection request that is lost is sent again after a second.
const AT_ONCE: Duration = Duration::from_millis(900);

/// What the agent is to enforce.
pub const POLICY: &str = r#"
    [perimeter]
    name = "payments"
    [profile.database.inbound.office]
    address_prefixes = ["203.0.113.0/24", "2001:db8:100::/40"]
    [profile.database.outbound.office]
    address_prefixes = ["203.0.113.0/24", "2001:db8:100::/40"]
    [resource.host]
    host = true
    profile = "database"
    access_mode = "enforced"
"#;

/// How long everybody waits before the same again. A machine that can do no more than this traffic never starts
/// an agent.
#[derive(Clone, Copy, Debug)]
pub struct Pace {
    /// The stranger, after four frames.
    pub frames: Duration,
    /// Each conversation, after a message.
    pub messages: Duration,
    /// Those who open conversations, after four.
    pub openings: Duration,
}

impl Pace {
    /// Of a machine that runs this program itself.
    pub const REAL: Self = Self {
        frames: Duration::from_micros(200),
        messages: Duration::from_millis(1),
        openings: Duration::from_millis(5),
    };
    /// Of one that is emulated, twenty times as slow and more.
    pub const EMULATED: Self = Self {
        frames: Duration::from_millis(40),
        messages: Duration::from_millis(200),
        openings: Duration::from_secs(2),
    };
}

/// What came of it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Figures {
    /// How often it was killed and started again.
    pub kills: u32,
    /// Frames that no rule allows, sent.
    pub denied: u64,
    /// Those that arrived, or were answered.
    pub leaked: u64,
    /// Calls of the server for the stranger while no agent ran, and those that were let out.
    pub calls: [u64; 2],
    /// Conversations that were open all the while, and those that broke.
    pub lives: [u64; 2],
    /// Their messages that came back.
    pub messages: u64,
    /// Their segments that were sent again.
    pub again: u64,
    /// Conversations opened meanwhile, and those that did not come about at once.
    pub opened: [u64; 2],
}

impl fmt::Display for Figures {
    fn fmt(&self, to: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { kills, denied, leaked, calls, lives, messages, again, opened } = self;
        write!(
            to,
            "{kills} kills: {leaked} of {denied} denied frames leaked, {} of {} denied calls; {} of {} old \
             conversations cut, {messages} messages, {again} segments sent again; {} of {} new conversations late",
            calls[1], calls[0], lives[1], lives[0], opened[1], opened[0],
        )
    }
}

/// What the threads count.
struct Counts {
    pace: Pace,
    denied: AtomicU64,
    messages: AtomicU64,
    opened: AtomicU64,
    late: AtomicU64,
    done: AtomicBool,
}

impl Counts {
    fn new(pace: Pace) -> Self {
        let zero = AtomicU64::default;
        let (denied, messages, opened, late) = (zero(), zero(), zero(), zero());
        Self { pace, denied, messages, opened, late, done: AtomicBool::new(false) }
    }

    fn goes_on(&self) -> bool {
        !self.done.load(Ordering::Acquire)
    }
}

/// Ends the threads when it is dropped, by a panic too: nobody else would.
struct Ends<'a>(&'a Counts);

impl Drop for Ends<'_> {
    fn drop(&mut self) {
        self.0.done.store(true, Ordering::Release);
    }
}

fn add(counter: &AtomicU64, count: u64) {
    counter.fetch_add(count, Ordering::Relaxed);
}

fn any(address: IpAddr) -> SocketAddr {
    SocketAddr::new(address, 0)
}

/// Datagrams to a service, and connection requests.
fn knock(world: &World, counts: &Counts) {
    let wire = world.wire();
    let mut number = 0_u16;
    while counts.goes_on() {
        for family in BOTH {
            let port = 1024 + number % 60_000;
            let ip = || family.ip(Party::Stranger, Party::Server);
            wire.send(eth() / ip() / udp(port, SYSLOG) / "hello");
            wire.send(eth() / ip() / tcp(port, POSTGRES).syn());
            add(&counts.denied, 2);
        }
        number = number.wrapping_add(1);
        thread::sleep(counts.pace.frames);
    }
}

/// Uses a conversation; false when it breaks.
fn talk(stream: &TcpStream, counts: &Counts) -> bool {
    while counts.goes_on() {
        if !still_echoes(stream) {
            return false;
        }
        add(&counts.messages, 1);
        thread::sleep(counts.pace.messages);
    }
    true
}

/// Opens conversations, in both directions.
fn open(world: &World, counts: &Counts) {
    while counts.goes_on() {
        for family in BOTH {
            for outbound in [false, true] {
                let begun = Instant::now();
                let opened = connect(world, family, outbound);
                add(&counts.opened, 1);
                if opened.is_err() || begun.elapsed() > AT_ONCE {
                    add(&counts.late, 1);
                }
            }
        }
        thread::sleep(counts.pace.openings);
    }
}

fn connect(world: &World, family: Family, outbound: bool) -> Result<TcpStream, Outcome> {
    let (office, server) = (Party::Office.address(family), Party::Server.address(family));
    if outbound {
        tcp_open(world.server(), any(server), SocketAddr::new(office, HTTPS), PATIENCE)
    } else {
        let to = SocketAddr::new(server, POSTGRES);
        tcp_open(world.host(Party::Office), any(office), to, PATIENCE)
    }
}

/// Whether the server gets through to the stranger, who listens.
fn gets_out(world: &World, family: Family) -> bool {
    let (stranger, server) = (Party::Stranger.address(family), Party::Server.address(family));
    let to = SocketAddr::new(stranger, HTTPS);
    tcp_connect(world.server(), any(server), to, Duration::from_millis(500)) == Outcome::Connected
}

/// Kills the agent, which enforces [`POLICY`], so many times and has `restart` start it again, while all of this
/// goes on.
///
/// # Panics
/// When it does not start, or conversations do not come about before.
pub fn survive(
    world: &World,
    agent: &mut Agent,
    kills: u32,
    pace: Pace,
    mut restart: impl FnMut(&mut Agent, u32),
) -> Figures {
    let everywhere = |port| SocketAddr::new(Ipv6Addr::UNSPECIFIED.into(), port);
    let _database = EchoServer::tcp(world.server(), everywhere(POSTGRES));
    let _office = EchoServer::tcp(world.host(Party::Office), everywhere(HTTPS));
    let stranger = EchoServer::tcp(world.host(Party::Stranger), everywhere(HTTPS));
    let syslog = BOTH.map(|family| {
        let address = SocketAddr::new(Party::Server.address(family), SYSLOG);
        EchoServer::udp(world.server(), address)
    });
    let ways = BOTH.into_iter().flat_map(|family| [(family, false), (family, true)]);
    let lives: Vec<TcpStream> = ways
        .map(|(family, outbound)| connect(world, family, outbound).expect("a rule allows it"))
        .collect();
    let counts = Counts::new(pace);
    let (mut called, mut let_out) = (0, 0);
    let broke = thread::scope(|scope| {
        let counts = &counts;
        let ends = Ends(counts);
        scope.spawn(|| knock(world, counts));
        scope.spawn(|| open(world, counts));
        let talks: Vec<_> =
            lives.iter().map(|stream| scope.spawn(move || talk(stream, counts))).collect();
        for kill in 0..kills {
            thread::sleep(Duration::from_millis(100));
            agent.kill();
            for family in BOTH {
                called += 1;
                let_out += u64::from(gets_out(world, family));
            }
            restart(agent, kill);
        }
        drop(ends);
        let talks = talks.into_iter().map(|talk| talk.join().expect("it talks"));
        talks.filter(|goes_on| !goes_on).count() as u64
    });
    let read = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
    let arrived: usize = syslog.iter().map(|server| server.served().arrivals).sum();
    Figures {
        kills,
        denied: read(&counts.denied),
        leaked: (arrived + stranger.served().arrivals) as u64,
        calls: [called, let_out],
        lives: [lives.len() as u64, broke],
        messages: read(&counts.messages),
        again: lives.iter().map(|it| u64::from(tcp_counters(it).retransmitted_total)).sum(),
        opened: [read(&counts.opened), read(&counts.late)],
    }
}
