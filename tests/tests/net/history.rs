//! The record of changes: what verbs asked for, what changed unasked, and who it was.

use std::{fs, process::Command, time::Duration};

use nsp_tests::{
    agent::{Agent, nsp_binary},
    deadline::Deadline,
    netns::World,
    packet::Party,
    pinned,
    small_disk::SmallDisk,
};
use rustix::process::Signal;
use serde_json::Value;

use crate::pins::{links, policy};

const SOON: Duration = Duration::from_secs(10);

fn world() -> World {
    World::builder().clients(&[Party::Office]).build()
}

fn history(agent: &Agent) -> Vec<Value> {
    let text = agent.nsp_ok(&["history", "--json"]);
    text.lines().map(|line| serde_json::from_str(line).expect("JSON Lines")).collect()
}

/// What was changed and what came of it, the oldest first.
fn told(agent: &Agent) -> Vec<String> {
    let text = |value: &Value| value.as_str().expect("a text").to_owned();
    let line = |it: &Value| format!("{} {}", text(&it["what"]), text(&it["outcome"]));
    history(agent).iter().map(line).collect()
}

#[track_caller]
fn last_is(agent: &Agent, expected: &str) -> Value {
    let last = || history(agent).pop();
    let is_it =
        |it: &Value| format!("{} {}", it["what"], it["outcome"]).replace('"', "") == expected;
    let found = Deadline::after(SOON).poll(|| last().filter(is_it));
    found.unwrap_or_else(|| panic!("not {expected}: {:?}", told(agent)))
}

#[test]
fn changes_are_told_with_who_and_outlive_agents() {
    let world = world();
    let mut agent = Agent::builder(world.server()).policy(&policy("transition")).start();
    let start = last_is(&agent, "start done");
    assert_eq!(start["detail"]["found"], "nothing in force");
    assert!(start.get("by").is_none() && start.get("before").is_none(), "{start}");
    let first = start["after"].as_str().expect("a digest").to_owned();

    agent.write_policy(&policy("enforced"));
    agent.nsp_ok(&["apply"]);
    let apply = last_is(&agent, "apply done");
    let second = apply["after"].as_str().expect("a digest").to_owned();
    assert_eq!(apply["before"], first.as_str());
    assert_ne!(first, second);
    assert_eq!(apply["by"]["uid"], 0);
    assert_eq!(apply["by"]["process"], "nsp");
    assert!(apply["by"]["pid"].is_number() && apply["generation"].is_number(), "{apply}");
    agent.write_policy("not a policy");
    assert!(!agent.nsp(&["apply"]).status.success());
    let refused = last_is(&agent, "apply refused");
    assert!(refused["why"].as_str().is_some_and(|why| why.contains("policy.toml:1")), "{refused}");
    assert_eq!((&refused["before"], &refused["after"]), (&apply["after"], &apply["after"]));
    agent.process().signal(Signal::HUP);
    last_is(&agent, "reload refused");
    agent.write_policy(&policy("transition"));
    agent.process().signal(Signal::HUP);
    assert_eq!(last_is(&agent, "reload done")["after"], first.as_str());
    agent.nsp_ok(&["mode", "host", "enforced"]);
    assert_eq!(last_is(&agent, "mode done")["detail"]["resource"], "host");
    agent.nsp_ok(&["block", "198.51.100.7", "--for", "1s"]);
    let block = last_is(&agent, "time-over done");
    assert_eq!(block["detail"]["rule"], "block 198.51.100.7");

    // What was asked is told without an agent, and goes on with the next one.
    agent.kill();
    let before = told(&agent);
    assert_eq!(before[before.len() - 2], "block done");
    agent.start();
    let again = last_is(&agent, "start done");
    assert_eq!(again["detail"]["found"], "what was in force, and goes on with it");
    assert_eq!(again["before"], first.as_str());
    pinned::detach(&links(&agent).join("tc-egress-".to_owned() + &index(&world)));
    let repair = last_is(&agent, "repair done");
    assert_eq!(
        (&repair["detail"]["interface"], &repair["detail"]["way"]),
        (&"up0".into(), &"egress".into())
    );
    agent.stop();
    assert_eq!(last_is(&agent, "end done")["detail"]["perimeter"], "stays in force");
    agent.nsp_ok(&["detach"]);
    let detach = last_is(&agent, "detach done");
    assert_eq!((&detach["detail"]["agent"], &detach["by"]["uid"]), (&"none".into(), &0.into()));
    assert!(detach.get("after").is_none());
    let told = told(&agent);
    assert_eq!(told[..before.len()], before[..]);

    let lines = agent.nsp_ok(&["history", "-n", "2"]);
    let lines: Vec<&str> = lines.lines().collect();
    assert_eq!(lines.len(), 2);
    assert!(lines[0].contains(" end: done; perimeter stays in force; policy "), "{lines:?}");
    assert!(lines[1].contains(" detach by uid 0 (") && lines[1].contains("hooks 7"), "{lines:?}");
    // The file is root's alone.
    let mut other = Command::new("setpriv");
    other.args(["--reuid=65534", "--regid=65534", "--clear-groups"]).arg(nsp_binary());
    other.args(["history", "--state-dir"]).arg(agent.home().state_dir());
    fs::set_permissions(agent.home().path(), std::os::unix::fs::PermissionsExt::from_mode(0o755))
        .expect("a directory of ours");
    let said = world.server().output(&mut other);
    let said = (said.status.code(), String::from_utf8_lossy(&said.stderr).into_owned());
    assert!(said.0 == Some(3) && said.1.contains("try: sudo nsp history"), "{said:?}");
}

fn index(world: &World) -> String {
    world.server().index("up0").to_string()
}

#[test]
fn what_becomes_of_a_change_that_waits_is_told() {
    let world = world();
    let mut agent = Agent::builder(world.server()).policy(&policy("transition")).start();
    agent.write_policy(&policy("enforced"));
    agent.nsp_ok(&["apply", "--confirm", "60s"]);
    let waits = last_is(&agent, "apply waits");
    let (old, new) = (waits["before"].clone(), waits["after"].clone());
    agent.nsp_ok(&["rollback"]);
    let back = last_is(&agent, "rollback taken-back");
    assert_eq!((&back["before"], &back["after"]), (&new, &old));
    agent.nsp_ok(&["apply", "--confirm", "60s"]);
    agent.nsp_ok(&["confirm"]);
    last_is(&agent, "confirm confirmed");
    agent.write_policy(&policy("transition"));
    agent.nsp_ok(&["apply", "--confirm", "1s"]);
    let back = last_is(&agent, "take-back taken-back");
    assert_eq!(back["why"], "nobody confirmed it in time");
    assert_eq!((&back["before"], &back["after"]), (&old, &new));
    assert!(back.get("by").is_none());
    // The agent dies in the window: the kernel takes it back, and the next agent says so.
    agent.nsp_ok(&["apply", "--confirm", "60s"]);
    agent.kill();
    agent.start();
    let told = told(&agent);
    assert_eq!(told[told.len() - 3..], ["apply waits", "take-back taken-back", "start done"]);
    assert_eq!(last_is(&agent, "start done")["after"], new);
}

#[test]
fn full_disk_stops_no_change_and_is_told() {
    let world = world();
    let agent = Agent::builder(world.server()).policy(&policy("transition")).build();
    let _disk = SmallDisk::mount(&agent.home().state_dir(), "256k");
    let mut agent = agent;
    agent.start();
    let filling = agent.home().state_dir().join("filling");
    // To the last byte: state that does not fit is complained of, and the policy is in force all the same.
    let mut size = 256 << 10;
    while size > 0 {
        let mut bytes = fs::read(&filling).unwrap_or_default();
        bytes.resize(bytes.len() + size, 0);
        if fs::write(&filling, &bytes).is_err() {
            let fits = bytes.len() - size;
            fs::write(&filling, &bytes[..fits]).expect("it did fit");
            size /= 2;
        }
    }
    // The page that the history lies in has room: fill that as well.
    for _ in 0..20 {
        agent.nsp_ok(&["mode", "host", "enforced"]);
        agent.nsp_ok(&["mode", "host", "transition"]);
    }
    agent.nsp_ok(&["mode", "host", "enforced"]);
    let status: Value = serde_json::from_str(&agent.nsp_ok(&["status", "--json"])).expect("JSON");
    assert_eq!(status["resources"][0]["inbound"], "enforced");
    let lost = status["history"]["recordsLost"].as_u64().expect("a number");
    assert!(lost > 0, "{}", status["history"]);
    assert!(agent.nsp_ok(&["status"]).contains("history: LOST "));
    fs::remove_file(&filling).expect("a file of ours");
    agent.nsp_ok(&["mode", "host", "transition"]);
    assert_eq!(last_is(&agent, "mode done")["lostBefore"], lost);
    assert!(agent.nsp_ok(&["status"]).contains("it is written again"));
}
