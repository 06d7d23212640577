//! What an agent leaves pinned, who may touch it, and how it is taken away.

use std::{
    fs,
    os::unix::fs::{PermissionsExt as _, chown},
    path::{Path, PathBuf},
    process::Command,
    time::Duration,
};

use nsp_tests::{
    agent::{Agent, nsp_binary},
    deadline::Deadline,
    netns::World,
    packet::{BOTH, Party},
    pinned::{self, LinkIds},
    sockets::Outcome,
};
use serde_json::json;

use crate::{outbound::assert_denied, seen, service};

pub(crate) const POSTGRES: u16 = 5432;
pub(crate) const HTTPS: u16 = 443;

pub(crate) fn policy(mode: &str) -> String {
    format!(
        r#"
        [perimeter]
        name = "payments"
        [profile.database.inbound.office]
        address_prefixes = ["203.0.113.0/24", "2001:db8:100::/40"]
        [resource.host]
        host = true
        profile = "database"
        access_mode = "{mode}"
        "#
    )
}

pub(crate) fn world() -> World {
    World::builder().clients(&[Party::Office, Party::Stranger]).build()
}

#[track_caller]
pub(crate) fn is_closed(world: &World) {
    for family in BOTH {
        assert_eq!(world.connect(Party::Stranger, family, POSTGRES), Outcome::TimedOut);
        assert_eq!(world.connect(Party::Office, family, POSTGRES), Outcome::Connected);
    }
}

#[track_caller]
pub(crate) fn is_open(world: &World) {
    for family in BOTH {
        assert_eq!(world.connect(Party::Stranger, family, POSTGRES), Outcome::Connected);
        assert_eq!(service::connect_out(world, Party::Stranger, family, HTTPS), Outcome::Refused);
    }
}

pub(crate) fn links(agent: &Agent) -> PathBuf {
    agent.home().pin_dir().join("links")
}

/// The links at the server's interface, by name.
pub(crate) fn hooks(agent: &Agent) -> Vec<(String, LinkIds)> {
    let links = links(agent);
    pinned::names(&links)
        .into_iter()
        .map(|name| (name.clone(), pinned::ids(&links.join(name))))
        .collect()
}

#[test]
fn orderly_end_leaves_the_perimeter_in_force_and_says_how_to_take_it_away() {
    let world = world();
    let _postgres = service::tcp(world.server(), POSTGRES);
    let mut agent = Agent::builder(world.server()).policy(&policy("enforced")).start();
    assert!(agent.stop().success());
    let said = agent.stderr();
    assert!(said.contains("the perimeter stays in force; `nsp detach` takes it away"), "{said}");
    is_closed(&world);
    assert!(agent.nsp_ok(&["detach"]).starts_with("detached: 7 hooks"));
    is_open(&world);
    assert!(!agent.home().pin_dir().exists());
    let again = agent.nsp(&["detach"]);
    let said = String::from_utf8_lossy(&again.stderr);
    assert_eq!(again.status.code(), Some(1));
    assert!(said.contains("no agent answers") && said.contains("nothing is pinned"), "{said}");
}

#[test]
fn detach_takes_everything_away_with_the_agent() {
    let world = world();
    let _postgres = service::tcp(world.server(), POSTGRES);
    let mut agent = Agent::builder(world.server()).policy(&policy("enforced")).start();
    assert_eq!(agent.nsp_ok(&["detach"]), "detached\n");
    let ended = agent.process().wait(Duration::from_secs(5));
    assert!(ended.is_some_and(|status| status.success()), "{ended:?}");
    is_open(&world);
    assert!(!agent.home().pin_dir().exists());
}

#[test]
fn second_agent_on_the_same_pins_is_refused_and_detach_leaves_the_first_alone() {
    let world = world();
    let _postgres = service::tcp(world.server(), POSTGRES);
    let agent = Agent::builder(world.server()).policy(&policy("enforced")).start();
    let second = agent.home().path().join("second");
    fs::create_dir(&second).expect("a directory of ours");
    let nsp = |words: &[&str]| {
        let mut command = Command::new(nsp_binary());
        command
            .args(words)
            .env("NSP_PIN_DIR", agent.home().pin_dir())
            .env("NSP_CONTROL", second.join("control"))
            .env("NSP_STATE_DIR", second.join("state"));
        let output = world.server().output(&mut command);
        (output.status.code(), String::from_utf8_lossy(&output.stderr).into_owned())
    };
    let policy = agent.home().policy();
    let policy = policy.to_str().expect("a path of ours");
    let (code, said) = nsp(&["run", "--interface", "up0", "--policy", policy]);
    assert_eq!(code, Some(1), "{said}");
    assert!(said.contains("another agent has"), "{said}");
    let (code, said) = nsp(&["detach"]);
    assert_eq!(code, Some(1), "{said}");
    assert!(said.contains("another agent has") && said.contains("\ntry: "), "{said}");
    is_closed(&world);
}

#[test]
fn without_a_bpf_file_system_it_does_not_start_unless_it_is_told_to_pin_nothing() {
    let world = world();
    let _postgres = service::tcp(world.server(), POSTGRES);
    let agent = Agent::builder(world.server()).policy(&policy("enforced")).build();
    let mut command = Command::new(nsp_binary());
    let home = agent.home();
    command
        .args(["run", "--interface", "up0", "--policy"])
        .arg(home.policy())
        .env("NSP_PIN_DIR", home.state_dir().join("pins"))
        .env("NSP_CONTROL", home.control())
        .env("NSP_STATE_DIR", home.state_dir());
    let output = world.server().output(&mut command);
    let said = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(1), "{said}");
    assert!(said.contains("is not in a BPF file system") && said.contains("\ntry: "), "{said}");
    is_open(&world);

    let mut agent = Agent::builder(world.server()).policy(&policy("enforced")).unpinned().start();
    is_closed(&world);
    assert!(!agent.home().pin_dir().exists());
    agent.kill();
    is_open(&world);
}

#[test]
fn directory_that_others_may_write_is_refused() {
    let world = world();
    let mut agent = Agent::builder(world.server()).policy(&policy("enforced")).build();
    let directory = agent.home().pin_dir();
    fs::create_dir(&directory).expect("a bpffs");
    for (owner, mode) in [(65534, 0o700), (0, 0o777)] {
        chown(&directory, Some(owner), None).expect("root may");
        fs::set_permissions(&directory, fs::Permissions::from_mode(mode)).expect("root may");
        let refused = agent.try_start().expect_err("whoever owns it could take the hooks away");
        assert!(refused.stderr.contains("belongs to somebody else"), "{}", refused.stderr);
    }
}

/// Makes a map pinned at a path: something of the kernel's that is nobody's link.
fn pin_a_map(path: &Path) {
    let map = aya::maps::Array::<_, u32>::create(1, 0).expect("a small map");
    map.pin(path).expect("a bpffs");
}

#[test]
fn foreign_files_and_half_made_sets_are_told_of_and_do_no_harm() {
    let world = world();
    let _postgres = service::tcp(world.server(), POSTGRES);
    let mut agent = Agent::builder(world.server()).policy(&policy("enforced")).start();
    let hooks_before = hooks(&agent);
    agent.kill();
    let directory = agent.home().pin_dir();
    // Somebody's own, beside ours; a set that an agent was killed over; not a link where one belongs; and a
    // link of a device that nobody judges.
    pin_a_map(&directory.join("theirs"));
    let half = directory.join("v1-9");
    fs::create_dir(&half).expect("a bpffs");
    pin_a_map(&half.join("CONTROL"));
    pin_a_map(&links(&agent).join("their_link"));
    fs::remove_file(links(&agent).join("send")).expect("it was there");
    pin_a_map(&links(&agent).join("send"));
    pin_a_map(&links(&agent).join("tc-egress-9999"));
    agent.start();
    let said = agent.stderr();
    for name in ["theirs", "v1-9", "their_link", "send", "tc-egress-9999"] {
        assert!(said.contains(name), "nothing is said of {name}: {said}");
    }
    assert!(directory.join("theirs").exists() && links(&agent).join("their_link").exists());
    assert!(!half.exists() && !links(&agent).join("tc-egress-9999").exists());
    fs::remove_file(links(&agent).join("their_link")).expect("ours to tidy");
    let names =
        |hooks: &[(String, LinkIds)]| hooks.iter().map(|it| it.0.clone()).collect::<Vec<_>>();
    assert_eq!(names(&hooks(&agent)), names(&hooks_before));
    assert!(said.contains("pinned maps are adopted"), "{said}");
    is_closed(&world);
}

#[test]
fn hook_that_somebody_takes_away_is_back_within_a_second_or_two_and_told_of() {
    let world = world();
    let _postgres = service::tcp(world.server(), POSTGRES);
    let agent = Agent::builder(world.server()).policy(&policy("enforced")).start();
    let before = pinned::names(&links(&agent));
    for name in &before {
        pinned::detach(&links(&agent).join(name));
    }
    let back = Deadline::after(Duration::from_secs(5)).poll(|| {
        let closed = BOTH
            .into_iter()
            .all(|family| world.connect(Party::Stranger, family, POSTGRES) == Outcome::TimedOut);
        closed.then_some(())
    });
    assert!(back.is_some(), "{}", agent.stderr());
    assert!(agent.says("somebody took a hook away; it is back", Duration::from_secs(5)));
    assert!(agent.says("interface=\"all cgroups\" way=\"calls\"", Duration::from_secs(5)));
    for family in BOTH {
        assert_denied(service::connect_out(&world, Party::Stranger, family, HTTPS));
    }
    let error = seen::status(&agent)["lastError"].clone();
    assert!(error.as_str().is_some_and(|it| it.contains("somebody took the hook")), "{error}");
    assert_eq!(pinned::names(&links(&agent)), before);

    // Its file alone: the hook is there, and has a file again.
    fs::remove_file(links(&agent).join(&before[0])).expect("it was there");
    let again = Deadline::after(Duration::from_secs(5))
        .poll(|| (pinned::names(&links(&agent)) == before).then_some(()));
    assert!(again.is_some(), "{}", agent.stderr());
}

#[test]
fn device_that_went_while_no_agent_ran_leaves_nothing_behind() {
    let mut world = World::builder().clients(&[Party::Office, Party::Stranger]).build();
    let sandbox = world.sandbox();
    sandbox.add_host("late");
    sandbox.connect(("server", "up1"), ("late", "eth0"));
    let _postgres = service::tcp(world.server(), POSTGRES);
    let mut agent =
        Agent::builder(world.server()).interfaces(&["up*"]).policy(&policy("enforced")).start();
    assert_eq!(hooks(&agent).len(), 9);
    agent.kill();
    world.server().ip("link del up1");
    agent.start();
    assert_eq!(hooks(&agent).len(), 7, "{}", agent.stderr());
    is_closed(&world);
    let interfaces = &seen::status(&agent)["interfaces"];
    assert!(!interfaces.to_string().contains("up1"), "{interfaces:#}");
    assert_eq!(seen::status(&agent)["lastError"], json!(null));
}

#[test]
fn other_way_to_judge_takes_the_place_of_the_one_before() {
    let world = world();
    let _postgres = service::tcp(world.server(), POSTGRES);
    let mut agent = Agent::builder(world.server()).policy(&policy("enforced")).start();
    for (mode, hook) in
        [("off", "tc-ingress-"), ("generic", "xdp-generic-"), ("native", "xdp-native-")]
    {
        agent.kill();
        agent.restart_with(&["--xdp-mode", mode]);
        let names = pinned::names(&links(&agent));
        let ingress: Vec<_> =
            names.iter().filter(|name| !name.contains("egress") && name.contains('-')).collect();
        let ingress: Vec<_> =
            ingress.into_iter().filter(|name| !name.starts_with("call")).collect();
        assert!(ingress.len() == 1 && ingress[0].starts_with(hook), "{mode}: {names:?}");
        is_closed(&world);
    }
}
