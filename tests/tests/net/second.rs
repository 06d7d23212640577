//! Two agents at once.

use nsp_tests::{
    agent::Agent,
    netns::World,
    packet::{BOTH, Party},
    sockets::Outcome,
};

use crate::service;

const SERVICE: u16 = 5432;

const POLICY: &str = r#"
    [perimeter]
    name = "payments"
    [profile.database]
    [resource.postgres]
    ports = ["5432/tcp"]
    profile = "database"
    access_mode = "enforced"
"#;

#[test]
fn second_agent_at_the_same_socket_is_refused_and_the_first_goes_on() {
    let world = World::builder().clients(&[Party::Stranger]).build();
    let _postgres = service::tcp(world.server(), SERVICE);
    let mut first = Agent::builder(world.server()).policy(POLICY).start();
    // The verbs have the first one's directories, and so has this.
    let second = first.nsp(&["run", "--interface", "up0"]);
    let said = String::from_utf8_lossy(&second.stderr);
    assert_eq!(second.status.code(), Some(1), "{said}");
    assert!(said.contains("another agent listens"), "{said}");
    assert!(first.is_running());
    for family in BOTH {
        let met = world.connect(Party::Stranger, family, SERVICE);
        assert_eq!(met, Outcome::TimedOut);
    }
    assert!(first.nsp_ok(&["status"]).contains("postgres"));
}
