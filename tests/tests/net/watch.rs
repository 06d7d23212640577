//! `--watch` while somebody writes: what is half written is nobody's policy.

use std::{
    fs,
    sync::atomic::{AtomicBool, Ordering},
    thread,
    time::Duration,
};

use nsp_tests::{
    agent::Agent,
    deadline::Deadline,
    netns::World,
    packet::{BOTH, Family, Party},
    sockets::Outcome,
};
use serde_json::Value;

use crate::{seen, service};

const SERVICE: u16 = 5432;

fn policy(resource: &str, sources: &str) -> String {
    format!(
        r#"
        [perimeter]
        name = "payments"
        [profile.database.inbound.office]
        address_prefixes = [{sources}]
        {resource}
        "#
    )
}

const RESOURCE: &str = r#"
        [resource.postgres]
        ports = ["5432/tcp"]
        profile = "database"
        access_mode = "enforced"
"#;
const OFFICE: &str = r#""203.0.113.0/24", "2001:db8:100::/40""#;
const STRANGER: &str = r#", "198.51.100.0/24", "2001:db8:5::/48""#;

#[test]
fn file_that_is_rewritten_a_hundred_times_a_second_opens_and_closes_nothing() {
    let world = World::builder().clients(&[Party::Office, Party::Stranger]).build();
    let _postgres = service::tcp(world.server(), SERVICE);
    let whole = policy(RESOURCE, OFFICE);
    let mut agent = Agent::builder(world.server()).policy(&whole).argument("--watch").start();
    let before = seen::status(&agent)["generation"].clone();
    let writes = AtomicBool::new(true);
    let path = agent.home().policy();
    thread::scope(|scope| {
        scope.spawn(|| {
            // Nothing, half a policy that is one, half a word, another policy, no text at all.
            let open = policy("", OFFICE);
            let cut = &whole[..whole.len() / 2];
            // Every second one opens all there is, should it be read.
            let open = open.as_bytes();
            let others: [&[u8]; 5] = [
                b"",
                cut.as_bytes(),
                whole.as_bytes(),
                b"\xff\xfe",
                b"[perimeter]\nname = \"another\"\n",
            ];
            let parts = others.map(|other| [open, other]);
            for part in parts.as_flattened().iter().cycle().take(2000) {
                if !writes.load(Ordering::Acquire) {
                    return;
                }
                fs::write(&path, part).expect("a file of ours");
                thread::sleep(Duration::from_millis(10));
            }
        });
        for _ in 0..3 {
            for family in BOTH {
                let met = |party| world.connect(party, family, SERVICE);
                assert_eq!(met(Party::Stranger), Outcome::TimedOut, "{}", agent.stderr());
                assert_eq!(met(Party::Office), Outcome::Connected, "{}", agent.stderr());
            }
        }
        writes.store(false, Ordering::Release);
    });
    assert_eq!(seen::status(&agent)["generation"], before, "{}", agent.stderr());
    assert!(agent.is_running());
    // When it is at rest, and loosens, it is applied.
    agent.write_policy(&policy(RESOURCE, &format!("{OFFICE}{STRANGER}")));
    let applied = Deadline::after(Duration::from_secs(5)).poll(|| {
        let met = world.connect(Party::Stranger, Family::V4, SERVICE);
        (met == Outcome::Connected).then_some(())
    });
    assert!(applied.is_some(), "{}", agent.stderr());
}

/// Reasons of the refusals that are recorded.
fn refused(agent: &Agent) -> Vec<String> {
    let text = agent.nsp_ok(&["history", "--json"]);
    let all = text.lines().map(|line| serde_json::from_str::<Value>(line).expect("JSON Lines"));
    all.filter(|it| it["what"] == "watch" && it["outcome"] == "refused")
        .map(|it| it["why"].as_str().expect("a reason").to_owned())
        .collect()
}

#[track_caller]
fn refused_are(agent: &Agent, count: usize) -> Vec<String> {
    let there = || Some(refused(agent)).filter(|it| it.len() == count);
    let found = Deadline::after(Duration::from_secs(10)).poll(there);
    found.unwrap_or_else(|| panic!("{:?} {}", refused(agent), agent.stderr()))
}

#[test]
fn mistake_that_is_made_again_is_told_of_again() {
    const MISTAKE: &str = "[perimeter]\nnmae = \"payments\"\n";
    let world = World::builder().clients(&[Party::Office]).build();
    let agent = Agent::builder(world.server())
        .policy(&policy(RESOURCE, OFFICE))
        .argument("--watch")
        .start();
    agent.write_policy(MISTAKE);
    refused_are(&agent, 1);
    let generation = seen::status(&agent)["generation"].clone();
    agent.write_policy(&policy(RESOURCE, &format!("{OFFICE}{STRANGER}")));
    let applied = || (seen::status(&agent)["generation"] != generation).then_some(());
    assert!(Deadline::after(Duration::from_secs(10)).poll(applied).is_some());
    assert_eq!(seen::status(&agent)["lastError"], Value::Null);
    agent.write_policy(MISTAKE);
    let reasons = refused_are(&agent, 2);
    assert_eq!(reasons[0], reasons[1]);
    let error = seen::status(&agent)["lastError"].clone();
    assert!(error.as_str().is_some_and(|it| it.contains("is not applied")), "{error}");
}

#[test]
fn file_that_has_judged_what_only_passes_through_is_left_to_apply() {
    let world = World::builder().clients(&[Party::Office]).build();
    let whole = policy(RESOURCE, OFFICE);
    let passes = whole.replace("\"payments\"", "\"payments\"\nforwarded = \"pass\"");
    let agent = Agent::builder(world.server()).policy(&passes).argument("--watch").start();
    let generation = seen::status(&agent)["generation"].clone();
    agent.write_policy(&whole);
    let reasons = refused_are(&agent, 1);
    assert!(reasons[0].starts_with("forwarded gets stricter: "), "{reasons:?}");
    assert_eq!(seen::status(&agent)["generation"], generation);
    agent.nsp_ok(&["apply"]);
    agent.write_policy(&passes);
    let generation = seen::status(&agent)["generation"].clone();
    let applied = || (seen::status(&agent)["generation"] != generation).then_some(());
    assert!(Deadline::after(Duration::from_secs(10)).poll(applied).is_some(), "it loosens");
}
