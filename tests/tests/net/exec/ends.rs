//! How commands of `nsp exec` end, and what is left of them: exit codes, signals, children that stay
//! behind, verbs and agents that are killed.

use std::{fs, path::Path, time::Duration};

use nsp_tests::{deadline::Deadline, packet::Party};
use rustix::process::Signal;

use super::stage::{HTTP, Stage, With};
use crate::service;

#[test]
fn exit_codes_are_the_commands() {
    let stage = Stage::new(With::Agent);
    let code = |command: &[&str]| {
        let command: Vec<String> = command.iter().map(ToString::to_string).collect();
        let ran = stage.exec(&[], &command);
        (ran.code(), ran.stderr)
    };
    assert_eq!(code(&["true"]), (Some(0), String::new()));
    assert_eq!(code(&["bash", "-c", "exit 7"]).0, Some(7));
    assert_eq!(code(&["bash", "-c", "kill -KILL $$"]).0, Some(128 + 9));
    let (status, said) = code(&["no-such-command"]);
    assert_eq!(status, Some(127), "{said}");
    assert!(said.starts_with("nsp: exec: no-such-command: "), "{said}");
    assert_eq!(code(&["/etc/passwd"]).0, Some(126));
    assert!(stage.nothing_is_left());
}

#[test]
fn signals_reach_the_command_once() {
    let stage = Stage::new(With::Agent);
    for (signal, name) in [(Signal::TERM, "TERM"), (Signal::INT, "INT"), (Signal::USR1, "USR1")] {
        let _old = fs::remove_file(stage.path("ready"));
        // Not in bash, which may make nothing of a SIGINT that comes between two commands.
        let script = format!(
            "exec python3 -c '\n\
             import signal, sys, time\n\
             seen = []\n\
             signal.signal(signal.SIG{name}, lambda *_: seen.append(1))\n\
             open(\"ready\", \"w\").write(\"yes\")\n\
             end = time.monotonic() + 5\n\
             while not seen and time.monotonic() < end: time.sleep(0.01)\n\
             time.sleep(0.2)\n\
             sys.exit(40 + len(seen))'\n"
        );
        let mut running = stage.start(stage.host(Party::Server), &[], &[], &stage.script(&script));
        running.wait_for("ready");
        running.process.signal(signal);
        let ran = running.finish();
        assert_eq!(ran.code(), Some(41), "{name}: {ran}");
    }
}

#[test]
fn signal_that_is_ignored_stays_so() {
    let stage = Stage::new(With::Agent);
    let script = stage.script("echo yes > ready; sleep 0.5; exit 5\n");
    let through = ["bash", "-c", "trap '' HUP; exec \"$0\" \"$@\""];
    let mut running = stage.start(stage.host(Party::Server), &through, &[], &script);
    running.wait_for("ready");
    running.process.signal(Signal::HUP);
    let ran = running.finish();
    assert_eq!(ran.code(), Some(5), "{ran}");
}

/// A process that nobody waits for any more, with a session of its own.
const DAEMON: &str = r#"
    (setsid bash -c 'echo $$ > daemon
        exec 3<>/dev/tcp/198.51.100.7/80 && echo out > escaped
        echo done > tried; exec sleep 600' < /dev/null &) &
    until [ -s tried ]; do sleep 0.02; done
"#;

fn double_fork(with: With) {
    let stage = Stage::new(with);
    let _stranger = service::tcp(stage.host(Party::Stranger), HTTP);
    let ran = stage.exec(&[], &stage.script(DAEMON));
    assert_eq!(ran.code(), Some(0), "{ran}");
    assert!(!stage.path("escaped").exists(), "{ran}");
    let pid = fs::read_to_string(stage.path("daemon")).expect("it ran");
    assert!(ran.blocked().iter().any(|it| it["pid"].as_u64() == pid.trim().parse().ok()), "{ran}");
    assert_eq!(ran.summary()["ended"], 1, "{ran}");
    assert!(ran.stderr.contains("ended 1 process that was left behind"), "{ran}");
    assert!(!is_alive(&pid), "{ran}");
    assert!(stage.nothing_is_left(), "{ran}");
}

#[test]
fn with_an_agent_a_double_forked_child_stays_inside_and_is_ended() {
    double_fork(With::Agent);
}

#[test]
fn without_an_agent_a_double_forked_child_stays_inside_and_is_ended() {
    double_fork(With::Nothing);
}

fn is_alive(pid: &str) -> bool {
    let status = fs::read_to_string(format!("/proc/{}/stat", pid.trim())).unwrap_or_default();
    // A zombie is one that nobody has waited for, not one that runs.
    !status.is_empty() && !status.contains(") Z ")
}

fn dies_within(pid: &str) -> bool {
    let dead = || (!is_alive(pid)).then_some(());
    Deadline::after(Duration::from_secs(10)).poll(dead).is_some()
}

fn vanishes(cgroup: &Path) -> bool {
    let gone = || (!cgroup.exists()).then_some(());
    Deadline::after(Duration::from_secs(10)).poll(gone).is_some()
}

const SLEEPER: &str = "echo $$ > sleeper; exec sleep 600\n";

#[test]
fn killed_verb_takes_its_command_and_its_session_along() {
    for with in [With::Agent, With::Nothing] {
        let stage = Stage::new(with);
        let mut running = stage.start(stage.host(Party::Server), &[], &[], &stage.script(SLEEPER));
        let pid = running.wait_for("sleeper");
        let cgroup = stage.cgroup_of(&pid);
        running.process.kill();
        assert!(dies_within(&pid), "{with:?}");
        assert!(stage.nothing_is_left(), "{with:?}");
        assert!(vanishes(&cgroup), "{with:?}: {}", cgroup.display());
    }
}

#[test]
fn agent_that_ends_ends_the_commands_that_it_holds() {
    let stage = Stage::new(With::Agent);
    let running = stage.start(stage.host(Party::Server), &[], &[], &stage.script(SLEEPER));
    let pid = running.wait_for("sleeper");
    running.wait_until_let_out();
    stage.agent.borrow_mut().as_mut().expect("it runs").stop();
    assert!(dies_within(&pid));
    let ran = running.finish();
    assert_eq!(ran.code(), Some(1), "{ran}");
    assert!(ran.stderr.starts_with("nsp: "), "{ran}");
    stage.agent.borrow_mut().as_mut().expect("it ran").start();
    assert!(stage.nothing_is_left());
}

/// Nobody is there to hold it: the verb ends the command, the next agent what came of it.
#[test]
fn killed_agent_leaves_no_command_outside() {
    let stage = Stage::new(With::Agent);
    let script = format!("(setsid bash -c 'echo $$ > daemon; exec sleep 600' &) &\n{SLEEPER}");
    let running = stage.start(stage.host(Party::Server), &[], &[], &stage.script(&script));
    let pid = running.wait_for("sleeper");
    let daemon = running.wait_for("daemon");
    let cgroup = stage.cgroup_of(&daemon);
    running.wait_until_let_out();
    stage.agent.borrow_mut().as_mut().expect("it runs").kill();
    assert!(dies_within(&pid));
    assert_eq!(running.finish().code(), Some(1));
    stage.agent.borrow_mut().as_mut().expect("it ran").start();
    assert!(dies_within(&daemon));
    assert!(vanishes(&cgroup));
    assert!(stage.nothing_is_left());
}
