//! Names that nobody asked for before, below a wildcard: the first packet of each passes.
//!
//! Programs ask by the C library's resolver, many at a time while both processors are busy, and connect
//! at once. No first packet is lost, whoever asks the office's server: they, or a stub between.

use std::{
    fmt::Write as _,
    fs,
    net::SocketAddr,
    path::Path,
    process::{Command, Stdio},
    sync::atomic::{AtomicBool, Ordering},
    thread,
    time::Duration,
};

use nsp_tests::{
    netns::{Namespace, Process, World},
    packet::{BOTH, Family, Party},
    sockets::{Outcome, tcp_connect},
};
use rustix::process::Signal;
use serde_json::{Value, json};

use crate::{cgroup::Cgroup, crowd, outbound::assert_denied, service};

const HTTPS: u16 = 443;
/// Threads that ask and connect at the same time.
const PARALLEL: usize = 64;
/// How long a storm may take on a machine that other tests keep busy.
const STORM_MAX: Duration = Duration::from_secs(120);
/// While the agent lives, and while it is stopped: names of one wildcard each.
const SUFFIXES: [&str; 2] = ["shop.example.com", "mall.example.com"];

/// Only what is below two names, by 443/tcp. No address here is private.
const POLICY: &str = r#"
    [perimeter]
    name = "payments"
    [dns]
    resolvers = ["203.0.113.5"]
    [private]
    prefixes = []
    [profile.job.outbound.shop]
    fqdns = ["*.shop.example.com", "*.mall.example.com"]
    ports = ["443/tcp"]
    [resource.host]
    host = true
    profile = "job"
    access_mode = "enforced"
"#;

/// A server of names in the foreground; the options come last.
pub(crate) fn dnsmasq(namespace: &Namespace, address: &str, options: &[&str]) -> Process {
    let mut command = Command::new("dnsmasq");
    command
        .args(["--keep-in-foreground", "--no-resolv", "--no-hosts", "--conf-file=/dev/null"])
        .args(["--user=root", "--bind-interfaces", "--pid-file=", "--dns-forward-max=1000"])
        .args(["--listen-address", address])
        .args(options)
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null());
    namespace.spawn(&mut command)
}

/// A command that sees these files in place of the host's own.
pub(crate) fn with_files(directory: &Path, program: &str) -> Command {
    let mut command = Command::new("unshare");
    let script = format!(
        "mount --bind {0}/resolv.conf /etc/resolv.conf && mount --bind {0}/hosts /etc/hosts && \
         exec \"$@\"",
        directory.display()
    );
    command.args(["--mount", "sh", "-c", &script, "sh", program]);
    command
}

/// A DNS server at the office that knows so many names twice; the office answers at all their
/// addresses.
fn office(world: &World, names: usize, directory: &Path) -> Process {
    let mut hosts = String::new();
    for number in 0..names * 2 {
        for family in BOTH {
            let name = format!("n{number}.{}", SUFFIXES[number / names]);
            let _written = writeln!(hosts, "{} {name}", crowd::address(family, number));
        }
    }
    let file = directory.join("names");
    fs::write(&file, hosts).expect("a file of ours");
    let v4 = Party::Office.v4();
    let office = world.host(Party::Office);
    crowd::at_the_office(world);
    let known = format!("--addn-hosts={}", file.display());
    dnsmasq(office, &v4.to_string(), &[&known])
}

/// Tells threads that work is over, on a panic too.
pub(crate) struct SetOnDrop<'a>(pub(crate) &'a AtomicBool);

impl Drop for SetOnDrop<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

/// Has a client resolve and connect, names `first..end` below a suffix, while all processors are busy.
fn storm(world: &World, directory: &Path, suffix: &str, names: std::ops::Range<usize>) -> Value {
    let done = AtomicBool::new(false);
    let output = thread::scope(|scope| {
        // On a panic too, or the processors would be busy for ever.
        let _done = SetOnDrop(&done);
        for _ in 0..2 {
            scope.spawn(|| {
                while !done.load(Ordering::Relaxed) {
                    std::hint::spin_loop();
                }
            });
        }
        let mut client = with_files(directory, env!("CARGO_BIN_EXE_fresh_client"));
        let numbers = [names.start, names.end, usize::from(HTTPS), PARALLEL];
        client.arg(suffix).args(numbers.map(|number| number.to_string()));
        world.server().output_within(&mut client, STORM_MAX)
    });
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    serde_json::from_str(&text).unwrap_or_else(|error| {
        panic!("{error}: {text}{}", String::from_utf8_lossy(&output.stderr))
    })
}

fn first_packets_pass(stub: bool) {
    let full = std::env::var_os("NSP_TEST_FULL").is_some();
    let names = if full { 10_000 } else { 300 };
    let world = World::builder().clients(&[Party::Office]).build();
    let directory = tempfile::tempdir().expect("the temporary directory is writable");
    let directory = directory.path();
    let _dns = office(&world, names, directory);
    let _https = service::tcp_of_the_kernel(world.host(Party::Office), HTTPS, names * 4 + 100);
    let unit = Cgroup::new("stub.service");
    let asked = if stub { "127.0.0.1".to_owned() } else { Party::Office.v4().to_string() };
    let upstream = format!("--server={}", Party::Office.v4());
    let stub =
        stub.then(|| dnsmasq(world.server(), "127.0.0.1", &[&upstream, "--cache-size=10000"]));
    if let Some(stub) = &stub {
        fs::write(unit.path().join("cgroup.procs"), stub.pid().to_string()).expect("a process");
    }
    let conf = format!("nameserver {asked}\noptions timeout:1 attempts:5\n");
    fs::write(directory.join("resolv.conf"), conf).expect("a file of ours");
    fs::write(directory.join("hosts"), "").expect("a file of ours");
    let mut agent = crowd::agent(&world, directory, POLICY);
    let from = |family: Family| SocketAddr::new(Party::Server.address(family), 0);
    let connect = |family: Family, number: usize, port: u16| {
        let to = SocketAddr::new(crowd::address(family, number), port);
        tcp_connect(world.server(), from(family), to, service::PATIENCE)
    };
    for family in BOTH {
        assert_denied(connect(family, 0, HTTPS));
    }
    let all =
        json!({"connected": 2 * names, "retransmitted": 0, "lost": 0, "failures": 0, "first": []});
    assert_eq!(storm(&world, directory, SUFFIXES[0], 0..names), all);
    agent.process().signal(Signal::STOP);
    let stopped = storm(&world, directory, SUFFIXES[1], names..2 * names);
    agent.process().signal(Signal::CONT);
    assert_eq!(stopped, all, "the agent stopped");
    // What nobody asked for is still closed, and what was learned only open where the rule says.
    assert_denied(connect(Family::V4, 2 * names, HTTPS));
    assert_denied(connect(Family::V4, 0, 8443));
    assert_eq!(connect(Family::V4, 0, HTTPS), Outcome::Connected);
}

#[test]
fn fresh_names_lose_no_first_packet_with_the_agent_alive_or_stopped() {
    first_packets_pass(false);
}

#[test]
fn fresh_names_lose_no_first_packet_behind_a_caching_stub() {
    first_packets_pass(true);
}
