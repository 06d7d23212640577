//! `nsp off` and `nsp on` where something else is broken as well.

use std::{fs, process::Output, time::Duration};

use nsp_tests::{agent::Agent, deadline::Deadline, pinned, strace::Strace};
use rustix::process::Signal;
use serde_json::{Value, json};

use crate::{
    pins::{POSTGRES, hooks, is_closed, is_open, links, policy, world},
    seen, service,
    switch::{agent, off},
};

/// `nsp on` with something injected at the `bpf` call at which all is hooked, and the policy not in force yet.
fn on_with(agent: &mut Agent, inject: impl Fn(usize) -> String) -> (Output, Strace) {
    let log = agent.home().path().join("strace");
    agent.nsp_ok(&["off"]);
    let strace = Strace::attach(agent.process().pid(), "bpf", None, &log);
    agent.nsp_ok(&["on"]);
    let hooked = strace.calls().iter().rposition(|line| line.contains("BPF_OBJ_PIN"));
    let place = hooked.expect("hooks are pinned") + 2;
    agent.nsp_ok(&["off"]);
    let strace = Strace::attach(agent.process().pid(), "bpf", Some(&inject(place)), &log);
    (agent.nsp(&["on"]), strace)
}

#[test]
fn on_whose_publication_fails_says_so_and_is_tried_again() {
    let world = world();
    let _postgres = service::tcp(world.server(), POSTGRES);
    let mut agent = agent(&world);
    let (refused, strace) = on_with(&mut agent, |place| format!("error=EPERM:when={place}+"));
    let said = String::from_utf8_lossy(&refused.stderr);
    assert_eq!(refused.status.code(), Some(1), "{said}");
    assert!(said.contains("nsp: on: "), "{said}");
    is_open(&world);
    strace.calls();
    let closed = Deadline::after(Duration::from_secs(5))
        .poll(|| (seen::status(&agent)["dropsNothingYet"] == false).then_some(()));
    assert!(closed.is_some(), "{}", agent.stderr());
    is_closed(&world);
}

/// Between the hooks and the policy a generation is in force that drops nothing: it must not stay when nobody is there
/// to end it.
#[test]
fn agent_that_dies_on_the_way_back_leaves_the_policy_and_not_an_open_host() {
    let world = world();
    let _postgres = service::tcp(world.server(), POSTGRES);
    let mut agent = agent(&world);
    let (done, strace) = on_with(&mut agent, |place| format!("signal=SIGKILL:when={place}"));
    assert!(!done.status.success());
    strace.calls();
    assert!(!agent.is_running(), "it was to be killed");
    is_open(&world);
    // The kernel's own doing, after half a minute.
    std::thread::sleep(Duration::from_secs(31));
    is_closed(&world);
    agent.kill();
    agent.start();
    is_closed(&world);
}

#[test]
fn off_needs_no_bpf_file_system_that_can_be_written() {
    let world = world();
    let _postgres = service::tcp(world.server(), POSTGRES);
    let agent = agent(&world);
    let bpffs = agent.home().bpffs();
    pinned::remount(&bpffs, true);
    agent.nsp_ok(&["off"]);
    is_open(&world);
    // What is hooked would not outlive the agent, so nothing is, and that is said.
    let refused = agent.nsp(&["on"]);
    assert_eq!(refused.status.code(), Some(1), "{}", String::from_utf8_lossy(&refused.stderr));
    pinned::remount(&bpffs, false);
    agent.nsp_ok(&["off"]);
    agent.nsp_ok(&["on"]);
    is_closed(&world);

    pinned::remount(&bpffs, true);
    let half = agent.nsp(&["detach"]);
    let said = String::from_utf8_lossy(&half.stderr);
    assert!(!half.status.success() && said.contains("Read-only file system"), "{said}");
    is_open(&world);
    pinned::remount(&bpffs, false);
}

#[test]
fn off_takes_away_what_others_hold_as_well() {
    let world = world();
    let _postgres = service::tcp(world.server(), POSTGRES);
    let agent = agent(&world);
    let held: Vec<_> = hooks(&agent)
        .into_iter()
        .map(|(name, _)| pinned::hold(&links(&agent).join(name)))
        .collect();
    assert_eq!(held.len(), 7);
    agent.nsp_ok(&["off"]);
    is_open(&world);
    agent.nsp_ok(&["on"]);
    is_closed(&world);
}

#[test]
fn switch_is_the_agents_wherever_the_verb_looks() {
    let world = world();
    let _postgres = service::tcp(world.server(), POSTGRES);
    let mut agent = agent(&world);
    let elsewhere = tempfile::tempdir().expect("a temporary directory");
    let other = elsewhere.path().to_str().expect("a path of ours").to_owned();
    agent.nsp_ok(&["off", "--state-dir", &other]);
    is_open(&world);
    assert_eq!(fs::read_dir(&other).expect("it is there").count(), 0);
    agent.kill();
    agent.start();
    is_open(&world);
    agent.nsp_ok(&["on", "--state-dir", &other]);
    is_closed(&world);
    assert_eq!(fs::read_dir(&other).expect("it is there").count(), 0);
}

#[test]
fn switch_that_cannot_be_read_is_told_of_and_the_command_line_counts() {
    let world = world();
    let _postgres = service::tcp(world.server(), POSTGRES);
    let mut agent = Agent::builder(world.server()).policy(&policy("enforced")).build();
    let home = agent.home();
    let line = home.path().join("cmdline");
    let switch = home.state_dir().join("switch.json");
    fs::create_dir_all(home.state_dir()).expect("a directory of ours");
    fs::write(&line, "ro quiet\n").expect("a directory of ours");
    fs::write(&switch, "{\"off").expect("a directory of ours");
    let arguments =
        ["--command-line", line.to_str().expect("a path of ours")].map(ToOwned::to_owned);
    let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
    agent.restart_with(&arguments);
    is_closed(&world);
    let last = seen::status(&agent)["lastError"].clone();
    assert!(last.as_str().is_some_and(|it| it.contains("the switch cannot be read")), "{last}");

    agent.kill();
    fs::write(&line, "ro nsp.off quiet\n").expect("a directory of ours");
    agent.restart_with(&arguments);
    is_open(&world);
    assert_eq!(off(&agent), json!({"leftSeconds": null, "byCommandLine": true}));
    agent.nsp_ok(&["on"]);
    is_closed(&world);
    assert_eq!(off(&agent), Value::Null);
}

#[test]
fn hooks_that_hang_with_an_agent_and_are_pinned_nowhere_are_told_of() {
    let world = world();
    let _postgres = service::tcp(world.server(), POSTGRES);
    let mut agent = Agent::builder(world.server()).policy(&policy("enforced")).unpinned().start();
    agent.process().signal(Signal::STOP);
    let refused = agent.nsp(&["off"]);
    let said = String::from_utf8_lossy(&refused.stderr);
    assert_eq!(refused.status.code(), Some(1), "{said}");
    assert!(said.contains("no hook of it is found") && said.contains("\ntry: kill it"), "{said}");
    is_closed(&world);
    agent.process().signal(Signal::CONT);
    let obeyed =
        Deadline::after(Duration::from_secs(5)).poll(|| off(&agent).is_object().then_some(()));
    assert!(obeyed.is_some(), "{}", agent.stderr());
    is_open(&world);
}

/// Calls by which the agent does what the switch says.
const CALLS: [&str; 3] = ["bpf", "/^rename", "/^(unlink|rmdir)"];

#[test]
fn agent_killed_at_any_call_of_off_or_on_is_obeyed_and_obeys_at_its_next_start() {
    let world = world();
    let _postgres = service::tcp(world.server(), POSTGRES);
    let mut agent = agent(&world);
    let log = agent.home().path().join("strace");
    let step = if std::env::var_os("NSP_TEST_FULL").is_some() { 1 } else { 12 };
    let (mut killed, mut went_on) = (0, 0);
    for calls in CALLS {
        for place in (1..).step_by(step) {
            let mut survived = 0;
            for verb in ["off", "on"] {
                let inject = format!("signal=SIGKILL:when={place}");
                let strace = Strace::attach(agent.process().pid(), calls, Some(&inject), &log);
                let done = agent.nsp(&[verb]);
                strace.calls();
                let when = format!("{verb}, {calls} {place}: {done:?}");
                if agent.is_running() {
                    assert!(done.status.success(), "{when}");
                    survived += 1;
                } else {
                    killed += 1;
                    // To go off takes no agent; to come on takes one.
                    assert_eq!(done.status.success(), verb == "off", "{when}");
                    if verb == "off" {
                        is_open(&world);
                    }
                    agent.kill();
                    agent.start();
                }
                if verb == "off" {
                    is_open(&world);
                } else {
                    is_closed(&world);
                };
            }
            went_on += survived;
            if survived == 2 {
                break;
            }
        }
    }
    println!("killed at {killed} calls of off and on, went on at {went_on}: obeyed each time");
    assert!(killed >= 4, "{killed}");
}
