//! `nsp exec`: what a command inside a perimeter of its own reaches, and what is said of the rest. With
//! an agent that runs and without one.

mod ends;
mod host;
mod jobs;
pub(crate) mod stage;

use std::net::SocketAddr;

use nsp_tests::packet::{BOTH, Party};
use serde_json::json;

use self::stage::{ALLOWED, Attempt, HTTP, Stage, TELEMETRY, With};
use crate::{seen, service};

/// What a refusal may take.
const AT_ONCE_MS: f64 = 10.0;
/// Operation not permitted.
const EPERM: i64 = 1;

fn all_but_what_is_given_is_refused(with: With) {
    let stage = Stage::new(with);
    let _stranger = service::tcp(stage.host(Party::Stranger), HTTP);
    let _private = service::tcp(stage.host(Party::Private), HTTP);
    let _member = service::tcp(stage.host(Party::Member), HTTP);
    let mut script = String::from("set -e\n");
    let mut refused = Vec::new();
    for family in BOTH {
        for party in [Party::Stranger, Party::Private, Party::Member] {
            refused.push(SocketAddr::new(party.address(family), HTTP));
        }
        // Allowed by its name only, and only there.
        refused.push(SocketAddr::new(Party::Office.address(family), 8080));
    }
    refused.push("169.254.169.254:80".parse().expect("an address"));
    for (at, to) in refused.iter().enumerate() {
        script.push_str(&format!("probe {} {} refused-{at}\n", to.ip(), to.port()));
    }
    for (at, family) in ["-4", "-6"].iter().enumerate() {
        script.push_str(&format!("probe {family} {ALLOWED} {HTTP} allowed-{at}\n"));
    }
    let ran = stage.exec(&["--allow", "index.example.com:80/tcp"], &stage.script(&script));
    assert_eq!(ran.code(), Some(0), "{ran}");
    for at in 0..2 {
        let Attempt { errno, retransmits, .. } = stage.attempt(&format!("allowed-{at}"));
        assert_eq!((errno, retransmits), (0, 0), "{ran}");
    }
    let blocked = ran.blocked();
    for (at, to) in refused.iter().enumerate() {
        let Attempt { errno, pid, .. } = stage.attempt(&format!("refused-{at}"));
        assert_eq!(errno, EPERM, "{to}: {ran}");
        // The address of a metadata service of many clouds is refused for what it is.
        let expected = json!({
            "address": to.ip(), "port": to.port(), "protocol": "tcp", "pid": pid, "count": 1,
        });
        let line = blocked.iter().find(|line| seen::has(line, &expected));
        let line = line.unwrap_or_else(|| panic!("no {expected} in {blocked:#?}"));
        let process = line["process"].as_str().expect("a process has a name");
        let said = format!("blocked {process}[{pid}] → ");
        assert!(ran.stderr.contains(&said), "{said} is not in {ran}");
    }
    assert_eq!(blocked.len(), refused.len(), "{blocked:#?}");
    let fastest = (0..refused.len()).map(|at| stage.attempt(&format!("refused-{at}")).took_ms);
    let median = median(fastest.collect());
    assert!(median < AT_ONCE_MS, "refusals took {median} ms");
    assert!(stage.nothing_is_left(), "{ran}");
}

fn median(mut all: Vec<f64>) -> f64 {
    all.sort_by(f64::total_cmp);
    all[all.len() / 2]
}

#[test]
fn with_an_agent_all_but_what_is_given_is_refused() {
    all_but_what_is_given_is_refused(With::Agent);
}

#[test]
fn without_an_agent_all_but_what_is_given_is_refused() {
    all_but_what_is_given_is_refused(With::Nothing);
}

/// The name of the telemetry is answered, and what comes of it is refused, by name where it is known.
#[test]
fn telemetry_is_refused_and_its_process_named() {
    let stage = Stage::new(With::Agent);
    let stranger = service::tcp(stage.host(Party::Stranger), HTTP);
    let script = format!("probe -4 {TELEMETRY} {HTTP} telemetry || true\n");
    let ran = stage.exec(&["--allow", ALLOWED], &stage.script(&script));
    assert_eq!(ran.code(), Some(0), "{ran}");
    assert_ne!(stage.attempt("telemetry").errno, 0, "{ran}");
    let blocked = ran.blocked();
    let of_it = |line: &&serde_json::Value| {
        line["name"] == TELEMETRY || line["address"] == json!(Party::Stranger.v4())
    };
    assert!(blocked.iter().any(|line| of_it(&line)), "{ran}");
    assert_eq!(stranger.served().arrivals, 0);
}

/// No name but those given is asked for, by UDP or TCP, and no datagram goes where no rule says.
#[test]
fn names_that_are_not_given_are_not_asked_for_and_datagrams_stay() {
    let stage = Stage::new(With::Agent);
    let office = Party::Office.v4();
    let private = service::udp(stage.host(Party::Private), Party::Private.v4().into(), 9);
    let stranger = service::udp(stage.host(Party::Stranger), Party::Stranger.v4().into(), 9);
    stage.write("send.py", SEND);
    // The private network is beyond a device that this agent does not cover.
    let script = stage.script(&format!(
        "getent ahosts {TELEMETRY} > telemetry; getent ahosts {ALLOWED} > allowed\n\
         probe {office} 53 tcp\n\
         python3 send.py {} 9 > private; python3 send.py {} 9 > stranger\n",
        Party::Private.v4(),
        Party::Stranger.v4(),
    ));
    let ran = stage.exec(&["--allow", ALLOWED], &script);
    let said = |name: &str| std::fs::read_to_string(stage.path(name)).expect("the script ran");
    assert!(said("allowed").contains(&office.to_string()), "{ran}");
    assert_eq!(said("telemetry"), "", "{ran}");
    assert_eq!(stage.attempt("tcp").errno, EPERM, "{ran}");
    assert_eq!((said("private").trim(), said("stranger").trim()), ("1", "1"), "{ran}");
    assert_eq!((private.served().arrivals, stranger.served().arrivals), (0, 0));
    let blocked = ran.blocked();
    let has = |columns: serde_json::Value| blocked.iter().any(|line| seen::has(line, &columns));
    let refused = json!({"name": TELEMETRY, "process": "getent", "address": null});
    assert!(has(refused), "{ran}");
    assert!(ran.stderr.contains("] → telemetry.example.net: strict DNS"), "{ran}");
    for to in [Party::Private, Party::Stranger] {
        assert!(has(json!({"address": to.v4(), "port": 9, "protocol": "udp"})), "{ran}");
    }
    // It is the flags that decide.
    let outside = stage.script(&format!("getent ahosts {TELEMETRY} > outside"));
    let ran = stage.exec(&["--allow", TELEMETRY], &outside);
    assert!(said("outside").contains(&Party::Stranger.v4().to_string()), "{ran}");
}

/// Sends a datagram by a socket that is not connected, and prints the error.
const SEND: &str = r#"
import socket, sys
try:
    socket.socket(socket.AF_INET, socket.SOCK_DGRAM).sendto(b"out", (sys.argv[1], int(sys.argv[2])))
    print(0)
except OSError as error:
    print(error.errno)
"#;

#[test]
fn learning_refuses_nothing_and_prints_flags_that_do() {
    let stage = Stage::new(With::Agent);
    let _stranger = service::tcp(stage.host(Party::Stranger), HTTP);
    let _private = service::tcp(stage.host(Party::Private), HTTP);
    let script = stage.script(&format!(
        "set -e\nprobe {} {HTTP} a\nprobe {} {HTTP} b\nprobe -4 {ALLOWED} {HTTP} c\n",
        Party::Stranger.v4(),
        Party::Private.v4(),
    ));
    let ran = stage.exec(&["--learn"], &script);
    assert_eq!(ran.code(), Some(0), "{ran}");
    for at in ["a", "b", "c"] {
        assert_eq!(stage.attempt(at).errno, 0, "{ran}");
    }
    let needed = ran.summary()["needed"].clone();
    let flags: Vec<&str> =
        needed.as_array().expect("flags").iter().filter_map(|flag| flag.as_str()).collect();
    assert!(flags.contains(&"198.51.100.7:80/tcp"), "{ran}");
    assert!(ran.stderr.contains("it needs --allow "), "{ran}");
    // The same once more, with what it asked for.
    let all: Vec<&str> = flags.iter().flat_map(|flag| ["--allow", flag]).collect();
    let ran = stage.exec(&all, &script);
    assert_eq!(ran.code(), Some(0), "{ran}");
    for at in ["a", "b", "c"] {
        assert_eq!(stage.attempt(at).errno, 0, "{ran}");
    }
    assert!(ran.blocked().is_empty(), "{ran}");
}
