//! Every policy that is refused, as the policy of an agent that runs.

use std::{
    fs,
    path::{Path, PathBuf},
};

use nsp_tests::{
    agent::Agent,
    data::workspace,
    netns::World,
    packet::{BOTH, Party},
    sockets::{Outcome, still_echoes},
};

use crate::{seen, service};

const POSTGRES: u16 = 5432;

const GOOD: &str = r#"
    [perimeter]
    name = "payments"
    [profile.database.inbound.office]
    address_prefixes = ["203.0.113.0/24", "2001:db8:100::/40"]
    [resource.postgres]
    ports = ["5432/tcp"]
    profile = "database"
    access_mode = "enforced"
"#;

#[test]
fn no_refused_policy_changes_anything_and_each_says_where_it_is_wrong() {
    let world = World::builder().clients(&[Party::Office, Party::Stranger]).build();
    let _postgres = service::tcp(world.server(), POSTGRES);
    let agent = Agent::builder(world.server()).policy(GOOD).start();
    let streams = BOTH.map(|family| service::open(&world, Party::Office, family, POSTGRES));
    assert!(streams.iter().all(still_echoes));
    let before = seen::status(&agent)["generation"].clone();

    let policies = refused();
    assert!(policies.len() >= 60, "only {} policies", policies.len());
    for path in &policies {
        let name = path.file_name().expect("a file has a name").to_string_lossy();
        write(&agent, path);
        let output = agent.nsp(&["apply"]);
        let said = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(1), "{name}: {said}");
        for place in places(path) {
            let place = place.replace(&*name, "policy.toml");
            assert!(said.contains(&place), "{name}: {place} is not in\n{said}");
        }
        assert_eq!(seen::status(&agent)["generation"], before, "{name}: {said}");
    }
    assert!(streams.iter().all(still_echoes), "what was open goes on");
    for family in BOTH {
        assert_eq!(world.connect(Party::Office, family, POSTGRES), Outcome::Connected);
        assert_eq!(world.connect(Party::Stranger, family, POSTGRES), Outcome::TimedOut);
    }
}

fn fixtures() -> PathBuf {
    workspace().join("tests/fixtures")
}

/// The files among the refused policies; a directory cannot take the place of the agent's file.
fn refused() -> Vec<PathBuf> {
    let entries = fs::read_dir(fixtures().join("policies/rejected")).expect("they are there");
    let mut paths: Vec<_> = entries.map(|entry| entry.expect("an entry").path()).collect();
    paths.retain(|path| path.extension().is_some_and(|it| it == "toml"));
    paths.sort();
    paths
}

/// Makes it the agent's policy. The sources that it names are found as if it lay where it did.
fn write(agent: &Agent, path: &Path) {
    let bytes = fs::read(path).expect("a fixture can be read");
    let bytes = match String::from_utf8(bytes) {
        Ok(text) => {
            let sources = fixtures().join("sources");
            text.replace("../../sources", &sources.to_string_lossy()).into_bytes()
        }
        // One of them is not UTF-8, and is refused for that.
        Err(error) => error.into_bytes(),
    };
    fs::write(agent.home().policy(), bytes).expect("a directory of ours is writable");
}

/// The places (`file:line:column:`, or the file alone) at which it is wrong, as is written beside
/// it.
fn places(path: &Path) -> Vec<String> {
    let expected = fs::read_to_string(path.with_extension("stderr")).expect("its errors");
    let errors = expected.lines().filter_map(|line| line.strip_prefix("nsp: "));
    let places = errors.filter_map(|line| line.split_once(": ").map(|(place, _)| place));
    let places = places.map(|place| format!("{}:", place.trim_start_matches("../../")));
    let places: Vec<_> = places.collect();
    assert!(!places.is_empty(), "{}: {expected}", path.display());
    places
}
