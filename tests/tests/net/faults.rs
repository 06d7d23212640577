//! System calls that fail while a policy is applied, and a file system that nobody may write: it is refused and says
//! why, and what was in force is in force.

use std::{process::Output, time::Duration};

use nsp_tests::{agent::Agent, deadline::Deadline, pinned, strace::Strace};
use serde_json::json;

use crate::{
    seen,
    two_policies::{InForce, POLICIES, Scene, Which, file_is_told_of, said_by},
};

/// Which calls fail, with what, and how that reads.
const FAULTS: [(&str, &str, &str); 8] = [
    ("bpf", "EPERM", "Operation not permitted"),
    ("bpf", "ENOMEM", "Cannot allocate memory"),
    ("write", "ENOSPC", "No space left on device"),
    ("write", "EIO", "Input/output error"),
    ("/^f(data)?sync", "EIO", "Input/output error"),
    ("/^rename", "EIO", "Input/output error"),
    ("/^mkdir", "ENOSPC", "No space left on device"),
    ("/^(unlink|rmdir)", "EROFS", "Read-only file system"),
];

/// An agent that enforces one of the two.
struct Stage {
    scene: Scene,
    agent: Agent,
    now: Which,
}

impl Stage {
    fn new() -> Self {
        let scene = Scene::new();
        let agent = scene.agent().start();
        scene.learned(&agent);
        Self { scene, agent, now: 0 }
    }

    /// Applies the other one, with strace beside it.
    fn apply(&mut self, calls: &str, inject: Option<&str>) -> (Output, Vec<String>) {
        self.agent.write_policy(POLICIES[1 - self.now]);
        let log = self.agent.home().path().join("strace");
        let strace = Strace::attach(self.agent.process().pid(), calls, inject, &log);
        let output = self.agent.nsp(&["apply"]);
        (output, strace.calls())
    }

    /// Fails unless this one is in force, wholly, and the agent says so.
    #[track_caller]
    fn is_in_force(&mut self, which: Which, when: &str) {
        let said = self.agent.stderr();
        assert_eq!(self.scene.in_force(), InForce::Wholly(which), "{when}: {said}");
        assert_eq!(said_by(&seen::status(&self.agent)), which, "{when}: {said}");
        file_is_told_of(&self.agent, which);
    }

    /// The places of calls of an apply that are about the kernel's tables or the state, of all such calls.
    fn places(&mut self, calls: &str) -> Vec<usize> {
        let (output, made) = self.apply(calls, None);
        assert!(output.status.success(), "{}", self.agent.stderr());
        self.now = 1 - self.now;
        // What is written elsewhere is somebody else's: the log, the answer.
        let is_ours = |line: &String| calls != "write" || line.contains("/state/");
        (1..).zip(&made).filter(|(_, line)| is_ours(line)).map(|(place, _)| place).collect()
    }

    /// Has one call fail; whether that refused the apply, and nothing if the call was not made.
    fn fail_at(&mut self, calls: &str, error: &str, reads: &str, place: usize) -> Option<bool> {
        let (old, new) = (self.now, 1 - self.now);
        let (output, made) = self.apply(calls, Some(&format!("error={error}:when={place}")));
        let injected = made.iter().find(|line| line.contains("(INJECTED)"));
        let when = format!("{error} at {calls} {place}, {injected:?}");
        let is_refused = !output.status.success();
        if is_refused {
            let said = String::from_utf8_lossy(&output.stderr);
            assert!(injected.is_some(), "{when}: refused without a fault: {said}");
            assert!(said.starts_with("nsp: ") && said.contains(reads), "{when}: {said}");
            assert_eq!(output.status.code(), Some(1), "{when}: {said}");
            self.is_in_force(old, &when);
            self.agent.nsp_ok(&["apply"]);
        }
        self.is_in_force(new, &when);
        self.now = new;
        injected.map(|_| is_refused)
    }
}

#[test]
fn call_that_fails_refuses_the_apply_and_the_next_one_works() {
    let mut stage = Stage::new();
    let is_full = std::env::var_os("NSP_TEST_FULL").is_some();
    for (calls, error, reads) in FAULTS {
        let places = stage.places(calls);
        let step = if calls == "bpf" && !is_full { 3 } else { 1 };
        let (mut refused, mut all_the_same) = (0, 0);
        for place in places.into_iter().step_by(step) {
            match stage.fail_at(calls, error, reads, place) {
                Some(true) => refused += 1,
                Some(false) => all_the_same += 1,
                None => {}
            }
        }
        println!("{error} in {calls}: {refused} refused, {all_the_same} without consequence");
        let must_refuse = calls != "/^(unlink|rmdir)" && (calls, error) != ("bpf", "ENOMEM");
        assert!(refused > 0 || !must_refuse, "{error} in {calls} refuses nothing");
    }
    // And nothing of all that stayed behind.
    stage.agent.kill();
    stage.agent.start();
    assert!(stage.agent.stderr().contains("pinned maps are adopted"), "{}", stage.agent.stderr());
    let now = stage.now;
    stage.is_in_force(now, "the next start");
}

/// What was refused had names, rules and resources that nobody ever had.
#[test]
fn next_agent_goes_on_with_the_maps_after_a_refused_apply() {
    let mut stage = Stage::new();
    let (output, made) = stage.apply("bpf", Some("error=EPERM:when=3"));
    assert!(!output.status.success(), "{made:?}");
    // Saves the state, and publishes nothing.
    stage.agent.nsp_ok(&["allow", "198.51.100.250", "--ports", "9/tcp", "--for", "1m"]);
    stage.agent.kill();
    stage.agent.start();
    let said = stage.agent.stderr();
    assert!(said.contains("pinned maps are adopted"), "{said}");
    stage.is_in_force(0, "the next start");
    stage.agent.nsp_ok(&["apply"]);
    stage.is_in_force(1, "the next apply");
}

/// The second policy with a long list, of addresses that nobody here has: for what it takes the process asks the kernel.
fn long_policy() -> String {
    let prefixes = (0..60_000_u32).map(|number| {
        let [_, a, b, c] = (number << 5).to_be_bytes();
        format!("\"24.{a}.{b}.{c}/28\", ")
    });
    let list: String = prefixes.collect();
    POLICIES[1].replace("[\"198.51.100.104/29\", ", &format!("[{list}\"198.51.100.104/29\", "))
}

/// An allocation that fails ends the process, as any Rust program's: then the kernel's side goes on without it.
#[test]
fn memory_that_runs_out_in_an_apply_leaves_one_policy_or_the_other() {
    const MEMORY: &str = "brk,mmap";
    let mut stage = Stage::new();
    let long = long_policy();
    assert_ne!(long, POLICIES[1]);
    let log = stage.agent.home().path().join("strace");
    let (mut ended, mut went_on) = (0, 0);
    for place in [1, 2] {
        stage.agent.write_policy(&long);
        let inject = format!("error=ENOMEM:when={place}+");
        let strace = Strace::attach(stage.agent.process().pid(), MEMORY, Some(&inject), &log);
        let output = stage.agent.nsp(&["apply"]);
        let is_dead = !output.status.success()
            && Deadline::after(Duration::from_secs(2))
                .poll(|| (!stage.agent.is_running()).then_some(()))
                .is_some();
        let calls = strace.calls();
        let in_force = stage.scene.in_force();
        let InForce::Wholly(which) = in_force else { panic!("{place}: {in_force:?}") };
        if is_dead {
            ended += 1;
            stage.agent.kill();
            stage.agent.start();
            assert!(stage.agent.stderr().contains("pinned maps are adopted"));
        } else {
            went_on += 1;
            assert_eq!(said_by(&seen::status(&stage.agent)), which, "{place}");
        }
        println!("from the {place}. of {}: in force {which}, dead {is_dead}", calls.len());
        for (which, policy) in [(1, long.as_str()), (0, POLICIES[0])] {
            stage.agent.write_policy(policy);
            stage.agent.nsp_ok(&["apply"]);
            assert_eq!(stage.scene.in_force(), InForce::Wholly(which), "the next apply");
        }
        // It has the memory now; another one has not.
        stage.agent.stop();
        stage.agent.start();
    }
    println!("memory ran out: {ended} times it ended, {went_on} times it went on");
    assert!(ended > 0, "it never ran out");
}

#[test]
fn bpf_file_system_that_becomes_read_only_changes_nothing_in_force_and_refuses_a_start() {
    let mut stage = Stage::new();
    let bpffs = stage.agent.home().bpffs();
    pinned::remount(&bpffs, true);
    // A policy makes no pins.
    stage.agent.write_policy(POLICIES[1]);
    stage.agent.nsp_ok(&["apply"]);
    stage.is_in_force(1, "an apply");
    stage.agent.kill();
    assert_eq!(stage.scene.in_force(), InForce::Wholly(1));
    let refused = stage.agent.try_start().expect_err("nothing can be opened");
    assert!(refused.stderr.contains("is mounted read-only"), "{}", refused.stderr);
    assert!(refused.stderr.contains("\ntry: mount -o remount,rw"), "{}", refused.stderr);
    assert_eq!(stage.scene.in_force(), InForce::Wholly(1));
    pinned::remount(&bpffs, false);
    stage.agent.start();
    assert!(stage.agent.stderr().contains("pinned maps are adopted"), "{}", stage.agent.stderr());
    stage.is_in_force(1, "it can be written again");
    assert_eq!(seen::status(&stage.agent)["lastError"], json!(null));
}
