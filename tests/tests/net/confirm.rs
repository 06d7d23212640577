//! A change that takes itself back unless somebody confirms it from a session that it let in.

use std::{
    net::{SocketAddr, TcpStream},
    time::{Duration, Instant},
};

use nsp_tests::{
    agent::Agent,
    deadline::Deadline,
    netns::World,
    packet::{BOTH, Family, Party},
    sockets::{Outcome, still_echoes, tcp_connect},
};

use crate::{seen, service};

const SSH: u16 = 22;

/// Who may log in.
fn policy(prefixes: &str) -> String {
    format!(
        r#"
        [perimeter]
        name = "payments"
        [profile.admin.inbound.office]
        address_prefixes = [{prefixes}]
        [resource.ssh]
        ports = ["22/tcp"]
        profile = "admin"
        access_mode = "enforced"
        "#
    )
}

fn good() -> String {
    policy(r#""203.0.113.0/24", "2001:db8:100::/40""#)
}

/// Nobody that is in these tests.
fn bad() -> String {
    policy(r#""198.51.100.200/32""#)
}

fn world() -> World {
    World::builder().clients(&[Party::Office]).build()
}

fn log_in(world: &World, family: Family) -> Outcome {
    let from = SocketAddr::new(Party::Office.address(family), 0);
    let to = world.server_address(Party::Office, family, SSH);
    tcp_connect(world.host(Party::Office), from, to, Duration::from_millis(300))
}

/// What sshd puts into the environment of a session.
fn session(stream: &TcpStream) -> String {
    let (client, server) = (stream.local_addr().unwrap(), stream.peer_addr().unwrap());
    format!("{} {} {} {}", client.ip(), client.port(), server.ip(), server.port())
}

/// A verb in a session that came by this connection: whether it was done, and what it said.
fn verb(agent: &Agent, stream: &TcpStream, arguments: &[&str]) -> (bool, String) {
    let output = agent.nsp_with(&[("SSH_CONNECTION", &session(stream))], arguments);
    let text = [output.stdout, output.stderr].concat();
    (output.status.success(), String::from_utf8_lossy(&text).into_owned())
}

fn opens_within(world: &World, time: Duration) -> bool {
    let opened = || BOTH.iter().all(|it| log_in(world, *it) == Outcome::Connected).then_some(());
    Deadline::after(time).poll(opened).is_some()
}

#[test]
fn change_that_nobody_confirms_is_taken_back_and_cuts_no_session() {
    let world = world();
    let _sshd = service::tcp(world.server(), SSH);
    let mut agent = Agent::builder(world.server()).policy(&good()).start();
    let sessions = BOTH.map(|family| service::open(&world, Party::Office, family, SSH));
    agent.write_policy(&bad());
    let (done, said) = verb(&agent, &sessions[0], &["apply", "--confirm", "3s", "--force"]);
    assert!(done && said.contains("for 3 s, unless it is confirmed"), "{said}");
    let begun = Instant::now();
    assert!(
        BOTH.iter().all(|family| log_in(&world, *family) == Outcome::TimedOut),
        "it is in force"
    );

    // From a session that was there before nothing can be confirmed, and nothing else can be applied.
    let (done, said) = verb(&agent, &sessions[0], &["confirm"]);
    assert!(!done && said.contains("older than the change"), "{said}");
    for refused in [&["apply"][..], &["mode", "ssh", "transition"]] {
        let (done, said) = verb(&agent, &sessions[0], refused);
        assert!(!done && said.contains("waits to be confirmed"), "{said}");
    }
    assert!(begun.elapsed() < Duration::from_secs(3), "the machine is too slow for this");
    assert!(agent.nsp_ok(&["status"]).contains("WAITS to be confirmed"));

    assert!(opens_within(&world, Duration::from_secs(10)), "new sessions come in again");
    assert!(sessions.iter().all(still_echoes), "and the old ones never ended");
    let status = seen::status(&agent);
    assert!(status["lastError"].as_str().is_some_and(|it| it.contains("taken back")), "{status}");
    assert!(status["fileDiffers"] == true);
    let (done, said) = verb(&agent, &sessions[0], &["confirm"]);
    assert!(!done && said.contains("no change waits"), "{said}");

    // A start does not bring it back, nor does a signal.
    agent.stop();
    agent.start();
    assert!(agent.says("taken back", Duration::from_secs(1)), "{}", agent.stderr());
    assert!(opens_within(&world, Duration::from_secs(5)));
    agent.process().signal(rustix::process::Signal::HUP);
    assert!(agent.says("the policy stays as it is", Duration::from_secs(5)), "{}", agent.stderr());
    assert!(opens_within(&world, Duration::from_secs(5)));
}

#[test]
fn new_session_confirms_and_the_console_does() {
    let world = world();
    let _sshd = service::tcp(world.server(), SSH);
    let mut agent = Agent::builder(world.server()).policy(&good()).start();
    let old = service::open(&world, Party::Office, BOTH[0], SSH);
    let halves = policy(r#""203.0.113.0/25", "203.0.113.128/25", "2001:db8:100::/40""#);
    agent.write_policy(&halves);
    assert!(verb(&agent, &old, &["apply", "--confirm", "2s"]).0);
    let new = service::open(&world, Party::Office, BOTH[1], SSH);
    let (done, said) = verb(&agent, &new, &["confirm"]);
    assert!(done && said.contains("stays"), "{said}");
    let generation = seen::status(&agent)["generation"].clone();
    std::thread::sleep(Duration::from_millis(2500));
    assert_eq!(seen::status(&agent)["generation"], generation, "it is there for good");
    assert!(opens_within(&world, Duration::from_secs(1)));

    agent.write_policy(&bad());
    assert!(agent.nsp(&["apply", "--confirm", "20s"]).status.success());
    // Whose session is gone has proven nothing.
    let gone = session(&new);
    drop(new);
    std::thread::sleep(Duration::from_millis(100));
    let refused = agent.nsp_with(&[("SSH_CONNECTION", &gone)], &["confirm"]);
    assert!(!refused.status.success());
    agent.nsp_ok(&["rollback"]);
    assert!(opens_within(&world, Duration::from_secs(1)), "at once");

    assert!(agent.nsp(&["apply", "--confirm", "20s"]).status.success());
    agent.nsp_ok(&["confirm"]);
    assert_eq!(log_in(&world, BOTH[0]), Outcome::TimedOut, "the console may do as it likes");
    agent.stop();
    agent.start();
    assert_eq!(log_in(&world, BOTH[0]), Outcome::TimedOut, "and so it stays");
}

#[test]
fn kernel_takes_back_what_an_agent_that_is_dead_cannot() {
    let world = world();
    let _sshd = service::tcp(world.server(), SSH);
    let times = if std::env::var_os("NSP_TEST_FULL").is_some() { 20 } else { 3 };
    let mut agent = Agent::builder(world.server()).policy(&good()).start();
    let mut longest = Duration::ZERO;
    for number in 0..times {
        let session = service::open(&world, Party::Office, BOTH[number % 2], SSH);
        agent.write_policy(&bad());
        let (done, said) = verb(&agent, &session, &["apply", "--confirm", "5s", "--force"]);
        assert!(done, "{said}");
        let begun = Instant::now();
        agent.kill();
        assert_eq!(log_in(&world, BOTH[0]), Outcome::TimedOut, "it is in force without its agent");
        assert!(opens_within(&world, Duration::from_secs(10)), "time {number}: locked out");
        longest = longest.max(begun.elapsed());
        assert!(!agent.is_running());
        assert!(still_echoes(&session), "the session that did it lives");
        // The next agent goes on with what was confirmed.
        agent.start();
        assert!(opens_within(&world, Duration::from_secs(5)));
        agent.write_policy(&good());
        agent.nsp_ok(&["apply"]);
    }
    println!("{times} of {times}: new sessions at most {longest:?} after the kill, the agent dead");
}

#[test]
fn agent_that_starts_in_between_takes_it_back() {
    let world = world();
    let _sshd = service::tcp(world.server(), SSH);
    let mut agent = Agent::builder(world.server()).policy(&good()).start();
    // From each slot.
    for _ in 0..3 {
        agent.write_policy(&bad());
        assert!(agent.nsp(&["apply", "--confirm", "10m"]).status.success());
        assert_eq!(log_in(&world, BOTH[0]), Outcome::TimedOut);
        agent.kill();
        agent.start();
        assert!(opens_within(&world, Duration::from_secs(5)));
        assert!(!agent.nsp(&["confirm"]).status.success());
        agent.write_policy(&good());
        agent.nsp_ok(&["apply"]);
    }
}

#[test]
fn who_would_be_locked_out_is_told_so() {
    let world = world();
    let _sshd = service::tcp(world.server(), SSH);
    let agent = Agent::builder(world.server()).policy(&good()).start();
    for family in BOTH {
        let session = service::open(&world, Party::Office, family, SSH);
        agent.write_policy(&bad());
        let generation = seen::status(&agent)["generation"].clone();
        let (done, said) = verb(&agent, &session, &["apply"]);
        assert!(!done && said.contains("would be denied (no rule)"), "{said}");
        assert!(said.contains("--force"), "{said}");
        assert_eq!(seen::status(&agent)["generation"], generation, "nothing was changed");
        let (done, said) = verb(&agent, &session, &["apply", "--force"]);
        assert!(done, "{said}");
        assert_eq!(log_in(&world, family), Outcome::TimedOut);
        agent.write_policy(&good());
        assert!(verb(&agent, &session, &["apply"]).0);
    }
}

#[test]
fn start_goes_on_with_what_was_confirmed_and_not_with_what_was_edited() {
    let world = world();
    let _sshd = service::tcp(world.server(), SSH);
    let mut agent = Agent::builder(world.server()).policy(&good()).start();
    agent.stop();
    agent.write_policy(&bad());
    agent.start();
    assert!(agent.says("was not applied", Duration::from_secs(1)), "{}", agent.stderr());
    assert!(opens_within(&world, Duration::from_secs(5)));
    agent.stop();
    agent.write_policy("nonsense");
    agent.start();
    assert!(agent.says("has mistakes", Duration::from_secs(1)), "{}", agent.stderr());
    assert!(opens_within(&world, Duration::from_secs(5)));
    agent.stop();
    agent.write_policy(&bad());
    agent.restart_with(&["--as-it-is"]);
    assert_eq!(log_in(&world, BOTH[0]), Outcome::TimedOut);
}

#[test]
fn start_that_complains_of_something_else_keeps_its_policy_all_the_same() {
    const CONNECTIONS: usize = 400;
    let world = world();
    let _sshd = service::tcp_of_the_kernel(world.server(), SSH, 2 * CONNECTIONS);
    let open = |_| service::open(&world, Party::Office, Family::V6, SSH);
    let live: Vec<TcpStream> = (0..CONNECTIONS).map(open).collect();
    let mut agent = Agent::builder(world.server())
        .policy(&good())
        .arguments(&["--flows", "1024", "--flows-v6", "256"])
        .start();
    let said = agent.stderr();
    assert!(said.contains("a live conversation is not taken over"), "{said}");
    assert!(!said.contains("not the policy file"), "{said}");
    drop(live);
    agent.stop();
    agent.write_policy(&bad());
    agent.start();
    assert!(agent.says("was not applied", Duration::from_secs(1)), "{}", agent.stderr());
    assert!(opens_within(&world, Duration::from_secs(5)));
}
