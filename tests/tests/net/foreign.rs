//! Programs of others at the hooks of a covered device: that they are there is said, and whether they are
//! asked before the perimeter.

use std::{path::PathBuf, process::Command, time::Duration};

use nsp_tests::{
    agent::Agent,
    deadline::Deadline,
    netns::World,
    pinned::{self, Kind},
};
use serde_json::{Value, json};

use crate::{
    capabilities::WITH_THREE,
    pins::{POSTGRES, is_closed, policy, world},
    service,
};

/// What comes or goes is found within the second; a loaded machine is slow.
const SOON: Duration = Duration::from_secs(10);

fn run(world: &World, line: &str) {
    run_words(world, &line.split(' ').map(str::to_owned).collect::<Vec<_>>());
}

fn run_words(world: &World, words: &[String]) {
    let done = world.server().output(Command::new(&words[0]).args(&words[1..]));
    assert!(done.status.success(), "{words:?}: {}", String::from_utf8_lossy(&done.stderr));
}

/// A program of somebody else's, pinned where `tc` and `ip` can take it.
fn theirs(agent: &Agent, kind: Kind, name: &str) -> PathBuf {
    let path = agent.home().bpffs().join(name);
    pinned::program(kind, name, &path);
    path
}

fn others(agent: &Agent) -> Vec<Value> {
    let status = agent.nsp_ok(&["status", "--json"]);
    let status: Value = serde_json::from_str(&status).expect("JSON");
    assert_eq!(status["otherProgramsError"], Value::Null);
    status["otherPrograms"].as_array().expect("a list").clone()
}

/// The entries, once there are this many.
#[track_caller]
fn others_are(agent: &Agent, count: usize) -> Vec<Value> {
    let there = || Some(others(agent)).filter(|it| it.len() == count);
    Deadline::after(SOON).poll(there).unwrap_or_else(|| panic!("{:?}", others(agent)))
}

#[track_caller]
fn is(entry: &Value, expected: &Value) {
    for (key, value) in expected.as_object().expect("an object") {
        assert_eq!(&entry[key], value, "{key} of {entry}");
    }
}

fn lines(agent: &Agent, text: &str) -> usize {
    agent.stderr().lines().filter(|line| line.contains(text)).count()
}

#[test]
fn filters_of_others_are_told_once_when_they_come_and_when_they_go() {
    let world = world();
    let _postgres = service::tcp(world.server(), POSTGRES);
    let agent = Agent::builder(world.server()).policy(&policy("enforced")).start();
    assert_eq!(others(&agent), Vec::<Value>::new());
    let path = theirs(&agent, Kind::Classifier, "their_filter");
    run(&world, "tc qdisc add dev up0 clsact");
    for side in ["ingress", "egress"] {
        let path = path.display();
        run(&world, &format!("tc filter add dev up0 {side} pref 7 bpf da object-pinned {path}"));
    }
    // One without a program of the kernel's: classic BPF that matches nothing.
    let classic = "tc filter add dev up0 ingress pref 9 protocol ip bpf bytecode 1,6|0|0|0,";
    let words: Vec<String> = classic.split(' ').map(|word| word.replace('|', " ")).collect();
    run_words(&world, &words);
    let found = others_are(&agent, 3);
    for (entry, side) in found.iter().zip(["ingress", "ingress", "egress"]) {
        is(entry, &json!({"interface": "up0", "side": side, "place": "after"}));
    }
    let of_program: Vec<&Value> = found.iter().filter(|it| it["program"] != Value::Null).collect();
    assert_eq!(of_program.len(), 2);
    for entry in of_program {
        assert!(
            entry["how"].as_str().is_some_and(|how| how.starts_with("bpf filter 0x")),
            "{entry}"
        );
        is(entry, &json!({"anotherNsp": false}));
    }
    let said = agent.nsp_ok(&["status"]);
    assert!(said.contains("  up0: another program (egress, bpf filter 0x1, program "), "{said}");
    assert!(
        said.contains("  up0: another program (ingress, bpf filter 0x1) comes after"),
        "{said}"
    );
    is_closed(&world);
    run(&world, "tc qdisc del dev up0 clsact");
    others_are(&agent, 0);
    // Seconds went by: each was said once.
    assert_eq!(lines(&agent, "another program is asked after nsp"), 3, "{}", agent.stderr());
    assert_eq!(lines(&agent, "another program has gone"), 3, "{}", agent.stderr());
    assert_eq!(lines(&agent, "asked before nsp"), 0);
}

#[test]
fn xdp_of_others_comes_before_where_the_perimeter_is_at_tc() {
    let world = world();
    let _postgres = service::tcp(world.server(), POSTGRES);
    for (how, flag) in [("xdp native", "xdpdrv"), ("xdp generic", "xdpgeneric")] {
        let agent = Agent::builder(world.server()).policy(&policy("enforced"));
        let agent = agent.argument("--xdp-mode").argument("off").start();
        assert_eq!(others(&agent), Vec::<Value>::new());
        let path = theirs(&agent, Kind::Xdp, "their_xdp");
        run(&world, &format!("ip link set dev up0 {flag} pinned {}", path.display()));
        let found = others_are(&agent, 1);
        let expected = json!({
            "interface": "up0", "side": "ingress", "place": "before", "how": how,
            "name": "their_xdp", "anotherNsp": false,
        });
        is(&found[0], &expected);
        let said = agent.nsp_ok(&["status"]);
        let line = format!("  up0: another program (ingress, {how}, program ");
        assert!(said.contains(&line) && said.contains("comes BEFORE nsp"), "{said}");
        assert!(agent.says("another program is asked before nsp", SOON), "{}", agent.stderr());
        is_closed(&world);
        run(&world, &format!("ip link set dev up0 {flag} off"));
        others_are(&agent, 0);
        assert!(agent.says("another program has gone", SOON));
        agent.nsp_ok(&["detach"]);
    }
}

#[test]
fn two_agents_at_one_interface_tell_of_each_other() {
    let world = world();
    let _postgres = service::tcp(world.server(), POSTGRES);
    let start = || Agent::builder(world.server()).policy(&policy("enforced"));
    let first = start().argument("--xdp-mode").argument("off").start();
    assert_eq!(others(&first), Vec::<Value>::new());
    // Who comes later asks to be first, and is.
    let mut second = start().argument("--xdp-mode").argument("off").start();
    let both = |agent: &Agent, place: &str| {
        for (entry, (side, name)) in
            others_are(agent, 2).iter().zip([("ingress", "nsp_ingress"), ("egress", "nsp_egress")])
        {
            let expected = json!({
                "interface": "up0", "side": side, "place": place, "how": "tcx", "name": name,
                "anotherNsp": true,
            });
            is(entry, &expected);
        }
    };
    both(&second, "after");
    both(&first, "before");
    let said = first.nsp_ok(&["status"]);
    assert!(said.contains("another nsp (ingress, tcx, program "), "{said}");
    assert!(
        second.stderr().contains("another_nsp=true"),
        "said before it is ready: {}",
        second.stderr()
    );
    is_closed(&world);
    // One that ends leaves its programs; one that detaches does not.
    second.stop();
    both(&first, "before");
    second.nsp_ok(&["detach"]);
    others_are(&first, 0);
}

#[test]
fn without_the_right_to_open_programs_numbers_are_told_and_root_is_told_names() {
    let world = world();
    let start = || {
        let agent = Agent::builder(world.server()).policy(&policy("enforced"));
        agent.argument("--xdp-mode").argument("off").through(&WITH_THREE).start()
    };
    let (_first, second) = (start(), start());
    let told = |text: &str| second.stderr().lines().any(|line| line.contains(text));
    assert!(told("another program is asked after nsp"), "{}", second.stderr());
    assert!(!told("nsp_ingress") && !told("another_nsp"), "{}", second.stderr());
    // The verb has more rights than the agent.
    for entry in others_are(&second, 2) {
        is(&entry, &json!({"anotherNsp": true}));
    }
    let mut status = Command::new("setpriv");
    status.args(["--bounding-set=-all", "--inh-caps=-all"]).arg(nsp_tests::agent::nsp_binary());
    status.args(["status", "--control"]).arg(second.home().control());
    let said = world.server().output(&mut status);
    let said = String::from_utf8_lossy(&said.stdout);
    assert!(said.contains("whose name takes CAP_SYS_ADMIN"), "{said}");
}
