//! The wall clock is stepped while something is allowed for a time and a change waits to be confirmed: both end
//! when they were to, and only the dates of records follow.
//!
//! libfaketime steps the clock that the agent's calls of the C library read (`CLOCK_REALTIME`); the machine's own is
//! left alone, and time namespaces have none of it. The kernel programs never read that clock.

use std::{
    fs,
    path::{Path, PathBuf},
    time::{Duration, Instant},
};

use jiff::{SignedDuration, Timestamp};
use nsp_tests::{
    agent::Agent,
    deadline::Deadline,
    netns::World,
    packet::{BOTH, Party},
    sockets::Outcome,
};
use serde_json::{Value, json};

use crate::{pins::POSTGRES, seen, service};

const ALLOWED_S: u64 = 8;
const WAITS_S: u64 = 5;

/// The office's, or nobody's.
fn policy(prefixes: &str) -> String {
    format!(
        r#"
        [perimeter]
        name = "payments"
        [profile.database.inbound.office]
        address_prefixes = [{prefixes}]
        [resource.host]
        host = true
        profile = "database"
        access_mode = "enforced"
        "#
    )
}

/// Where Debian and Ubuntu have it.
fn library() -> PathBuf {
    let mut found = fs::read_dir("/usr/lib").expect("a directory").flatten().filter_map(|entry| {
        let path = entry.path().join("faketime/libfaketimeMT.so.1");
        path.exists().then_some(path)
    });
    found.next().expect("there is no libfaketime here: apt-get install faketime")
}

/// What the agent takes for seconds after now, from its next look.
fn step(clock: &Path, seconds: i64) {
    let draft = clock.with_extension("draft");
    fs::write(&draft, format!("{seconds:+}\n")).expect("a file of ours");
    fs::rename(draft, clock).expect("both are in the same directory");
}

/// How long it is until all connections of a party have this outcome.
fn until(world: &World, party: Party, outcome: Outcome, since: Instant) -> Duration {
    let all = || BOTH.iter().all(|family| world.connect(party, *family, POSTGRES) == outcome);
    let met = Deadline::after(Duration::from_secs(20)).poll(|| all().then(|| since.elapsed()));
    met.unwrap_or_else(|| panic!("{party:?} never met {outcome:?}"))
}

#[test]
fn steps_of_the_wall_clock_change_no_deadline_and_only_date_the_records() {
    let world = World::builder().clients(&[Party::Office, Party::Stranger]).build();
    let _postgres = service::tcp(world.server(), POSTGRES);
    let directory = tempfile::tempdir().expect("the temporary directory is writable");
    let clock = directory.path().join("clock");
    step(&clock, 0);
    let (good, bad) = (policy(r#""203.0.113.0/24", "2001:db8:100::/40""#), policy(""));
    let agent = Agent::builder(world.server())
        .policy(&good)
        .through(&[
            "env",
            &format!("LD_PRELOAD={}", library().display()),
            &format!("FAKETIME_TIMESTAMP_FILE={}", clock.display()),
            "FAKETIME_NO_CACHE=1",
            "FAKETIME_DONT_FAKE_MONOTONIC=1",
        ])
        .start();
    for seconds in [86_400 * 40, -86_400 * 40] {
        let since = Instant::now();
        for family in BOTH {
            let stranger = Party::Stranger.address(family).to_string();
            agent.nsp_ok(&["allow", &stranger, "--inbound", "--for", &format!("{ALLOWED_S}s")]);
        }
        agent.write_policy(&bad);
        agent.nsp_ok(&["apply", "--confirm", &format!("{WAITS_S}s")]);
        let applied = Instant::now();
        step(&clock, seconds);
        for family in BOTH {
            let met = |party| world.connect(party, family, POSTGRES);
            assert_eq!(met(Party::Stranger), Outcome::Connected, "{seconds}: still allowed");
        }
        let left: Vec<Value> =
            serde_json::from_str(&agent.nsp_ok(&["allow", "--list", "--json"])).expect("a list");
        assert_eq!(left.len(), 2, "{seconds}: {left:?}");
        assert!(left.iter().all(|it| seen::number(&it["remainingSeconds"]) <= ALLOWED_S + 1));
        assert_eq!(world.connect(Party::Office, BOTH[0], POSTGRES), Outcome::TimedOut, "it waits");
        assert!(
            applied.elapsed() < Duration::from_secs(WAITS_S),
            "the machine is too slow for this"
        );

        let back = until(&world, Party::Office, Outcome::Connected, since);
        let over = until(&world, Party::Stranger, Outcome::TimedOut, since);
        println!(
            "{seconds} s: the change was taken back after {back:?}, the allowance over after {over:?}"
        );
        // A refused connection takes a second to be seen, of each family.
        assert!(back >= Duration::from_secs(WAITS_S) && back < Duration::from_secs(WAITS_S + 4));
        assert!(
            over >= Duration::from_secs(ALLOWED_S) && over < Duration::from_secs(ALLOWED_S + 5)
        );

        // The agent does see the other clock.
        let denied =
            json!({"SourceIpAddress": Party::Stranger.address(BOTH[0]), "ResultAction": "Denied"});
        seen::settle(&agent);
        let expected = Timestamp::now() + SignedDuration::from_secs(seconds);
        let records = seen::records(&agent, &denied);
        let is_near = |record: &Value| {
            let time = record["TimeGenerated"].as_str().expect("a time");
            let time: Timestamp = time.parse().expect("a time");
            time.duration_since(expected).abs() < SignedDuration::from_hours(1)
        };
        assert!(records.iter().any(is_near), "{seconds}: {records:?}");
        assert_eq!(seen::status(&agent)["fileDiffers"], true);
    }
}
