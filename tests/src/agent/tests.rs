//! The runner, with shell scripts in place of the daemon.

use std::os::unix::process::ExitStatusExt as _;

use rustix::process::Signal;

use super::*;
use crate::netns::Sandbox;

/// A sandbox with one host, and a daemon that is this script.
fn daemon(script: &str) -> (Sandbox, tempfile::TempDir, AgentBuilder) {
    let mut sandbox = Sandbox::new();
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("nsp.sh");
    fs::write(&path, script).unwrap();
    let agent = Agent::builder(sandbox.add_host("server")).binary(path).through(&["sh"]);
    (sandbox, directory, agent)
}

const GOOD: &str = "
trap 'echo bye >&2; exit 0' TERM
echo \"called: $*\" >&2
echo 'nsp: ready' >&2
while :; do sleep 0.02; done
";

#[test]
fn privileged_ready_agent_got_its_paths_and_ends_on_sigterm() {
    let (_sandbox, _files, builder) = daemon(GOOD);
    let mut agent = builder.policy("version = 1\n").argument("--watch").start();
    assert!(agent.is_running());
    let home = agent.home().path().display().to_string();
    let expected = format!(
        "called: run --policy {home}/policy.toml --state-dir {home}/state \
         --pin-dir {home}/bpf/nsp --control {home}/control --log {home}/log/access.log \
         --interface up0 --watch",
    );
    assert!(agent.says(&expected, Duration::ZERO), "{}", agent.stderr());
    assert_eq!(fs::read_to_string(agent.home().policy()).unwrap(), "version = 1\n");
    assert_eq!(agent.stop().code(), Some(0));
    assert!(agent.says("bye", Duration::from_secs(1)));
    assert!(!agent.is_running());
}

#[test]
fn privileged_killed_agent_starts_again_in_the_same_directories() {
    let (_sandbox, _files, builder) = daemon(GOOD);
    let mut agent = builder.start();
    fs::write(agent.home().state_dir().join("kept"), "").unwrap();
    assert_eq!(agent.kill().signal(), Some(9));
    agent.start();
    assert!(agent.home().state_dir().join("kept").exists());
    agent.process().signal(Signal::TERM);
    assert_eq!(agent.process().wait(Duration::from_secs(5)).unwrap().code(), Some(0));
}

#[test]
fn privileged_refused_start_has_status_and_reason() {
    let (_sandbox, _files, builder) = daemon("echo 'nsp: policy: no such file' >&2; exit 2");
    let mut agent = builder.build();
    let refused = agent.try_start().unwrap_err();
    assert_eq!(refused.status.unwrap().code(), Some(2));
    assert_eq!(refused.stderr, "nsp: policy: no such file\n");
    assert!(!agent.is_running());
}

#[test]
#[should_panic(expected = "still attaching")]
fn privileged_silent_agent_is_given_up_with_what_it_said() {
    let (_sandbox, _files, builder) = daemon("echo still attaching >&2; sleep 60");
    builder.ready_within(Duration::from_millis(300)).start();
}

#[test]
fn privileged_drop_ends_the_daemon() {
    let (_sandbox, _files, builder) = daemon(GOOD);
    let mut agent = builder.start();
    let process = format!("/proc/{}", agent.process().pid());
    drop(agent);
    assert!(!Path::new(&process).exists());
}

#[test]
fn privileged_verbs_know_the_directories_from_the_environment() {
    let mut sandbox = Sandbox::new();
    let host = sandbox.add_host("server");
    let agent = Agent::builder(host).binary("/usr/bin/env").build();
    let output = agent.nsp_ok(&["printenv", "NSP_CONTROL", "NSP_LOG"]);
    let home = agent.home();
    let expected = format!("{}\n{}\n", home.control().display(), home.log().display());
    assert_eq!(output, expected);
    assert_eq!(agent.nsp(&["false"]).status.code(), Some(1));
    agent.write_policy("version = 2\n");
    assert_eq!(fs::read_to_string(home.policy()).unwrap(), "version = 2\n");
    let mut following = agent.spawn_nsp(&["sleep", "60"]);
    assert!(following.is_running());
}
