//! What the next agent makes of what is pinned: it goes on with it, or puts its own in its place.

use std::{
    fs,
    os::unix::fs::PermissionsExt as _,
    path::{Path, PathBuf},
    process::Command,
    thread,
    time::{Duration, Instant},
};

use nsp_tests::{
    agent::{Agent, nsp_binary},
    packet::{BOTH, Family, Party, dns},
    pinned,
    sockets::{Outcome, still_echoes},
};
use serde_json::Value;

use crate::{
    dns_server::{DnsServer, Knows, ask},
    dns_status,
    outbound::assert_denied,
    pins::{POSTGRES, hooks, is_closed, policy, world},
    seen, service,
};

const HTTPS: u16 = 443;

#[test]
fn next_agent_goes_on_with_flows_counters_and_links_and_brings_its_own_programs() {
    let world = world();
    let _postgres = service::tcp(world.server(), POSTGRES);
    let mut agent = Agent::builder(world.server()).policy(&policy("enforced")).start();
    let streams = BOTH.map(|family| service::open(&world, Party::Office, family, POSTGRES));
    assert!(streams.iter().all(still_echoes));
    is_closed(&world);
    let flows = |agent: &Agent| {
        let listed: Value =
            serde_json::from_str(&agent.nsp_ok(&["flows", "--json"])).expect("JSON");
        listed.as_array().expect("a list").len()
    };
    let denied = |agent: &Agent| seen::packets(agent, "no rule", "Inbound", "deny");
    let (flows_before, denied_before, hooks_before) =
        (flows(&agent), denied(&agent), hooks(&agent));
    assert_eq!(hooks_before.len(), 7, "two ways of a device, five calls: {hooks_before:?}");
    agent.kill();
    is_closed(&world);
    agent.start();
    for ((name, before), (_, after)) in hooks_before.iter().zip(hooks(&agent)) {
        assert_eq!(before.link, after.link, "{name} is the same link");
        assert_ne!(before.program, after.program, "{name} has another program");
    }
    assert!(flows(&agent) >= flows_before, "{} of {flows_before}", flows(&agent));
    let listed: Value = serde_json::from_str(&agent.nsp_ok(&["flows", "--json"])).expect("JSON");
    let seeded = listed.as_array().expect("a list").iter().filter(|flow| flow["seeded"] == true);
    assert_eq!(seeded.count(), 0, "none had to be asked of the kernel's sockets: {listed:#}");
    // Each refused connection is a SYN at least, also while nobody was there.
    assert!(denied(&agent) >= denied_before + 2, "{} after {denied_before}", denied(&agent));
    assert!(streams.iter().all(still_echoes));
    seen::settle(&agent);
    assert_eq!(seen::status(&agent)["lastError"], Value::Null);
}

/// The binary with kernel programs of other bytes: those let one ICMP error more through a second.
fn with_other_programs(directory: &Path) -> PathBuf {
    const LIMIT: i32 = 1000;
    let mut bytes = fs::read(nsp_binary()).expect("the binary is there");
    // An ELF object for machine 247 (EM_BPF), little-endian, of 64 bits.
    let is_object = |at: &usize| {
        bytes[*at..].starts_with(b"\x7fELF\x02\x01")
            && bytes.get(at + 18..at + 20) == Some(&[247, 0])
    };
    let start = (0..bytes.len()).step_by(8).find(is_object).expect("the programs are in it");
    let mut patched = 0;
    for instruction in bytes[start..].chunks_exact_mut(8).take((1 << 20) / 8) {
        let (operation, value) = instruction.split_at_mut(4);
        // A register or a word of memory becomes 1000.
        if matches!(operation[0], 0xb7 | 0xb4 | 0x7a | 0x62) && *value == LIMIT.to_le_bytes() {
            value.copy_from_slice(&(LIMIT + 1).to_le_bytes());
            patched += 1;
        }
    }
    assert!(patched > 0, "no such instruction");
    let path = directory.join("nsp-other");
    fs::write(&path, bytes).expect("a directory of ours");
    fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).expect("a file of ours");
    path
}

#[test]
fn binary_with_other_programs_goes_on_with_the_same_maps() {
    let world = world();
    let _postgres = service::tcp(world.server(), POSTGRES);
    let mut agent = Agent::builder(world.server()).policy(&policy("enforced")).start();
    let streams = BOTH.map(|family| service::open(&world, Party::Office, family, POSTGRES));
    assert!(streams.iter().all(still_echoes));
    let tag = || {
        let shown =
            world.server().output(Command::new("ip").args(["-details", "link", "show", "up0"]));
        let shown = String::from_utf8_lossy(&shown.stdout).into_owned();
        let mut words = shown.split_whitespace().skip_while(|word| *word != "tag");
        words.nth(1).unwrap_or_else(|| panic!("no program at up0: {shown}")).to_owned()
    };
    let (before, hooks_before) = (tag(), hooks(&agent));
    let other = with_other_programs(agent.home().path());
    agent.stop();
    is_closed(&world);
    agent.restart_by(&other);
    assert!(agent.stderr().contains("pinned maps are adopted"), "{}", agent.stderr());
    assert_ne!(tag(), before, "the kernel has other instructions at the hook");
    for ((name, before), (_, after)) in hooks_before.iter().zip(hooks(&agent)) {
        assert_eq!(before.link, after.link, "{name} is the same link");
    }
    assert!(streams.iter().all(still_echoes));
    is_closed(&world);
    // And back: a downgrade of the same layout is no other thing.
    agent.kill();
    agent.restart_by(&nsp_binary());
    assert_eq!(tag(), before);
    assert!(streams.iter().all(still_echoes));
}

#[test]
fn name_that_is_learned_while_no_agent_runs_is_open_then_and_later() {
    const NAME: &str = "www.shop.example.com";
    let world = nsp_tests::netns::World::builder().clients(&[Party::Office]).build();
    let _https = service::tcp(world.host(Party::Office), HTTPS);
    let office = Party::Office.address(Family::V4);
    let knows = [(NAME, office)];
    let server =
        DnsServer::start(world.host(Party::Office), office, &Knows::Names(&knows, 600), None);
    let builder = Agent::builder(world.server()).policy(dns_status::POLICY);
    let mut agent = server.files(builder).start();
    let connect = || service::connect_out(&world, Party::Office, Family::V4, HTTPS);
    assert_denied(connect());
    agent.kill();
    assert_denied(connect());
    ask(world.server(), office, NAME, dns::A);
    assert_eq!(connect(), Outcome::Connected, "the kernel read the answer by itself");
    agent.start();
    assert_eq!(connect(), Outcome::Connected);
}

#[test]
fn clock_of_conversations_goes_on_without_an_agent_and_no_faster_with_the_next() {
    let world = world();
    let mut agent = Agent::builder(world.server()).policy(&policy("enforced")).start();
    let ticks = |agent: &Agent| seen::number(&seen::status(agent)["ageing"]["ticks"]);
    // Of a clock that goes off so many times a second.
    let rate = |agent: &mut Agent, during: &mut dyn FnMut(&mut Agent)| {
        let (before, since) = (ticks(agent), Instant::now());
        during(agent);
        (ticks(agent) - before) as f64 / since.elapsed().as_secs_f64()
    };
    let wait = || thread::sleep(Duration::from_secs(3));
    let alone = rate(&mut agent, &mut |_| wait());
    let dead = rate(&mut agent, &mut |agent| {
        agent.kill();
        wait();
        agent.start();
    });
    let next = rate(&mut agent, &mut |_| wait());
    println!(
        "{alone:.1} ticks a second, {dead:.1} over a kill and a start, {next:.1} with the next agent"
    );
    for other in [dead, next] {
        assert!((other / alone - 1.0).abs() < 0.3, "{alone} before, {other} now");
    }
}

#[test]
fn set_that_lacks_a_map_is_replaced_without_a_gap_in_what_is_open() {
    let world = world();
    let _postgres = service::tcp(world.server(), POSTGRES);
    let mut agent = Agent::builder(world.server()).policy(&policy("enforced")).start();
    let streams = BOTH.map(|family| service::open(&world, Party::Office, family, POSTGRES));
    let set = pinned::names(&agent.home().pin_dir()).into_iter().find(|name| name != "links");
    let set = agent.home().pin_dir().join(set.expect("a set of maps"));
    let links_before = hooks(&agent);
    agent.kill();
    fs::remove_file(set.join("FLOWS_V4")).expect("it was there");
    agent.start();
    let said = agent.stderr();
    assert!(said.contains("its map FLOWS_V4 cannot be opened"), "{said}");
    assert!(said.contains("taken over from the kernel's sockets"), "{said}");
    assert!(!set.exists(), "the one before is taken away");
    assert_eq!(hooks(&agent).len(), links_before.len());
    for ((name, before), (_, after)) in links_before.iter().zip(hooks(&agent)) {
        assert_eq!(before.link, after.link, "{name} is the same link");
    }
    assert!(streams.iter().all(still_echoes));
    is_closed(&world);
}

#[test]
fn other_state_directory_means_other_identities_and_maps_of_its_own() {
    let world = world();
    let _postgres = service::tcp(world.server(), POSTGRES);
    let mut agent = Agent::builder(world.server()).policy(&policy("enforced")).start();
    let streams = BOTH.map(|family| service::open(&world, Party::Office, family, POSTGRES));
    agent.kill();
    fs::remove_file(agent.home().state_dir().join("state.json")).expect("it was there");
    agent.start();
    let said = agent.stderr();
    assert!(said.contains("its identities are not in this agent's state directory"), "{said}");
    assert!(streams.iter().all(still_echoes));
    is_closed(&world);
}

#[test]
fn maps_of_another_size_give_their_conversations_names_and_counters_to_the_new_ones() {
    let world = world();
    let _postgres = service::tcp(world.server(), POSTGRES);
    let builder = Agent::builder(world.server()).policy(&policy("transition"));
    let mut agent = builder.arguments(&["--flows", "2048"]).start();
    let strangers = BOTH.map(|family| service::open(&world, Party::Stranger, family, POSTGRES));
    assert!(strangers.iter().all(still_echoes));
    agent.write_policy(&policy("enforced"));
    agent.nsp_ok(&["apply"]);
    assert!(strangers.iter().all(still_echoes), "kept");
    is_closed(&world);
    let kept = |agent: &Agent| {
        let listed: Value =
            serde_json::from_str(&agent.nsp_ok(&["flows", "--json"])).expect("JSON");
        let listed = listed.as_array().expect("a list").clone();
        listed.iter().filter(|flow| flow["state"] == "kept").count()
    };
    assert_eq!(kept(&agent), 2);
    let denied = |agent: &Agent| seen::packets(agent, "no rule", "Inbound", "deny");
    let (before, generation) = (denied(&agent), seen::number(&seen::status(&agent)["generation"]));
    let hooks_before = hooks(&agent);
    agent.kill();
    agent.restart_with(&["--flows", "4096"]);
    let said = agent.stderr();
    assert!(said.contains("it has room for other numbers of conversations"), "{said}");
    assert_eq!(kept(&agent), 2, "{said}");
    assert!(strangers.iter().all(still_echoes));
    assert!(denied(&agent) >= before, "{} after {before}", denied(&agent));
    assert!(seen::number(&seen::status(&agent)["generation"]) > generation);
    for ((name, before), (_, after)) in hooks_before.iter().zip(hooks(&agent)) {
        assert_eq!(before.link, after.link, "{name} is the same link");
    }
    is_closed(&world);
    seen::settle(&agent);
    let tables = &seen::status(&agent)["flowTables"];
    assert!(tables.to_string().contains("4096"), "{tables:#}");
    // And the one after goes on with those.
    agent.kill();
    agent.start();
    assert!(agent.stderr().contains("pinned maps are adopted"), "{}", agent.stderr());
    assert_eq!(kept(&agent), 2);
    assert!(denied(&agent) >= before);
    seen::settle(&agent);
}
