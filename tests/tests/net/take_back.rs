//! A change that is taken back while `nsp exec` has sessions, and one whose taking back the kernel refuses:
//! the policy before is what counts from there on, and nothing brings the other one in.

use std::{net::SocketAddr, time::Duration};

use nsp_tests::{
    agent::Agent,
    packet::{BOTH, Party},
    sockets::{Outcome, tcp_connect},
    strace::Strace,
};
use serde_json::Value;

use crate::{
    exec::stage::{Running, Stage, With},
    seen, service,
};

const SSH: u16 = 22;
/// The name that the first session of `nsp exec` would have.
const TAKEN: &str = "exec-1";
const WITHIN: Duration = Duration::from_secs(10);

/// Whom a resource of this name lets in by SSH.
fn policy(resource: &str, prefixes: &str) -> String {
    format!(
        r#"
        [perimeter]
        name = "payments"
        [profile.admin.inbound.office]
        address_prefixes = [{prefixes}]
        [resource.{resource}]
        ports = ["22/tcp"]
        profile = "admin"
        access_mode = "enforced"
        "#
    )
}

fn before(resource: &str) -> String {
    policy(resource, r#""203.0.113.0/24", "2001:db8:100::/40""#)
}

/// Nobody of these tests comes in.
fn waits() -> String {
    policy("ssh", r#""198.51.100.200/32""#)
}

#[track_caller]
fn log_in(stage: &Stage, expected: &Outcome) {
    for family in BOTH {
        let from = SocketAddr::new(Party::Office.address(family), 0);
        let to = SocketAddr::new(Party::Server.address(family), SSH);
        let met = tcp_connect(stage.host(Party::Office), from, to, Duration::from_millis(500));
        assert_eq!(met, *expected, "{family:?}: {}", with(stage, Agent::stderr));
    }
}

fn with<T>(stage: &Stage, ask: impl FnOnce(&Agent) -> T) -> T {
    ask(stage.agent.borrow().as_ref().expect("an agent runs"))
}

/// A command that waits for the file `go`.
fn session(stage: &Stage) -> Running {
    let script = stage.script("echo $$ > begun; until [ -e go ]; do sleep 0.02; done");
    let running = stage.start(stage.host(Party::Server), &[], &[], &script);
    running.wait_for("begun");
    running
}

/// What `nsp status` says, once that is about the policy that came back.
#[track_caller]
fn status_of_the_one_before(stage: &Stage, resource: &str) -> Value {
    let status = with(stage, seen::status);
    let resources = status["resources"].as_array().expect("a list");
    assert!(resources.len() == 1 && resources[0]["name"] == resource, "{resources:?}");
    assert_eq!(status["fileDiffers"], true);
    status
}

#[test]
fn session_in_between_has_no_name_of_the_policy_that_comes_back() {
    let stage = Stage::with_policy(With::Agent, &before(TAKEN));
    let _sshd = service::tcp(stage.host(Party::Server), SSH);
    log_in(&stage, &Outcome::Connected);
    with(&stage, |agent| {
        agent.write_policy(&waits());
        agent.nsp_ok(&["apply", "--confirm", "3s", "--force"]);
    });
    let running = session(&stage);
    log_in(&stage, &Outcome::TimedOut);
    let taken_back = |agent: &Agent| agent.says("the change was taken back", WITHIN);
    assert!(with(&stage, taken_back), "{}", with(&stage, Agent::stderr));
    let status = status_of_the_one_before(&stage, TAKEN);
    assert_eq!(status["sessions"][0]["name"], "exec-2", "{status}");
    log_in(&stage, &Outcome::Connected);
    // A session that ends has the policy published once more.
    stage.write("go", "");
    assert!(running.finish().status.success());
    assert!(stage.nothing_is_left());
    status_of_the_one_before(&stage, TAKEN);
    log_in(&stage, &Outcome::Connected);
}

#[test]
fn taking_back_that_the_kernel_refuses_leaves_nothing_of_the_change() {
    let stage = Stage::with_policy(With::Agent, &before("login"));
    let _sshd = service::tcp(stage.host(Party::Server), SSH);
    with(&stage, |agent| {
        agent.write_policy(&waits());
        agent.nsp_ok(&["apply", "--confirm", "10m", "--force"]);
    });
    let running = session(&stage);
    log_in(&stage, &Outcome::TimedOut);
    let pid = stage.agent.borrow_mut().as_mut().expect("an agent runs").process().pid();
    let strace = Strace::attach(pid, "bpf", Some("error=EPERM"), &stage.path("strace"));
    with(&stage, |agent| agent.nsp_ok(&["rollback"]));
    let injected = strace.calls().iter().filter(|line| line.contains("(INJECTED)")).count();
    assert!(injected > 0);
    let said = with(&stage, Agent::stderr);
    assert!(said.contains("the policy before is in force as it was"), "{said}");
    let status = status_of_the_one_before(&stage, "login");
    log_in(&stage, &Outcome::Connected);
    // It knows nothing of the session, which nothing would hold.
    assert_eq!(status["sessions"], Value::Array(Vec::new()));
    assert_eq!(running.finish().status.code(), Some(128 + 9));
    // A name that no rule has is published with the policy in force.
    with(&stage, |agent| agent.nsp_ok(&["allow", "fresh.example.com", "--for", "1m"]));
    log_in(&stage, &Outcome::Connected);
    status_of_the_one_before(&stage, "login");
}
