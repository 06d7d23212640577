//! Exit codes, where things are printed, and help: what scripts rely on.

use super::{code, nsp, stderr, stdout};

const VERBS: [&str; 12] = [
    "init", "run", "check", "plan", "apply", "mode", "status", "explain", "exec", "logs", "flows",
    "detach",
];

#[test]
fn help_names_every_verb_and_exits_zero() {
    let output = nsp(&["--help"]);
    assert_eq!(code(&output), 0);
    let text = stdout(&output);
    for verb in VERBS {
        assert!(text.contains(&format!("  {verb}")), "{verb} is missing in:\n{text}");
    }
}

#[test]
fn every_verb_has_a_help_of_its_own() {
    for verb in VERBS {
        let output = nsp(&[verb, "--help"]);
        assert_eq!(code(&output), 0, "{verb}");
        assert!(stdout(&output).contains("Usage: nsp "), "{verb}: {}", stdout(&output));
    }
}

#[test]
fn a_wrong_word_is_usage_and_a_near_miss_is_suggested() {
    let output = nsp(&["chek"]);
    assert_eq!(code(&output), 2);
    assert!(stderr(&output).contains("check"), "{}", stderr(&output));
    assert_eq!(code(&nsp(&[])), 2);
}

#[test]
fn verbs_without_an_agent_say_so_with_a_cure() {
    for verb in ["status", "flows", "detach"] {
        let output = nsp(&[verb, "--control", "/nonexistent/control"]);
        assert_eq!(code(&output), 1, "{verb}: {}", stderr(&output));
        let text = stderr(&output);
        assert!(text.starts_with("nsp: no agent answers at /nonexistent/control"), "{text}");
        assert!(text.contains("\ntry: "), "{text}");
        assert!(stdout(&output).is_empty());
    }
}

#[test]
fn apply_without_an_agent_says_what_is_wrong_with_the_policy_first() {
    let apply = |file| nsp(&["apply", file, "--control", "/nonexistent/control"]);
    let bad = apply("rejected/prefix-host-bits.toml");
    assert_eq!(code(&bad), 1);
    assert!(stderr(&bad).contains("prefix-host-bits.toml:"), "{}", stderr(&bad));
    assert!(!stderr(&bad).contains("no agent"), "{}", stderr(&bad));
    let good = apply("accepted/minimal.toml");
    assert_eq!(code(&good), 1);
    assert!(stderr(&good).starts_with("nsp: no agent answers"), "{}", stderr(&good));
}

#[test]
fn explain_refuses_nonsense_as_usage() {
    for arguments in [
        vec!["explain", "not-an-address", "22"],
        vec!["explain", "198.51.100.7", "port"],
        vec!["explain", "out", "example.com"],
        vec!["explain", "198.51.100.7", "22", "--proto", "quic"],
        vec!["explain", "inbound"],
        vec!["explain", "198.51.100.7", "0/tcp"],
        vec!["explain", "out", "example.com:65536"],
        vec!["explain", "inbound", "--from", "198.51.100.7", "--port", "80-90/tcp"],
    ] {
        let output = nsp(&arguments);
        assert_eq!(code(&output), 2, "{arguments:?}: {}", stderr(&output));
    }
}

#[test]
fn explain_names_both_sides_of_a_contradiction() {
    let output = nsp(&["explain", "198.51.100.7", "53/udp", "--proto", "tcp"]);
    assert_eq!(code(&output), 2, "{}", stderr(&output));
    let expected = "nsp: explain: --proto tcp contradicts the port `53/udp`: \
                    a packet has one protocol\ntry: leave --proto out\n";
    assert_eq!(stderr(&output), expected);
}

#[test]
fn explain_takes_a_port_as_a_policy_writes_it() {
    // It is understood where the next thing missed is the agent.
    for arguments in [
        ["198.51.100.7", "5432/tcp"].as_slice(),
        &["198.51.100.7", "icmp"],
        &["out", "example.com:443/tcp"],
        &["inbound", "--from", "198.51.100.7", "--port", "53/udp"],
    ] {
        let all = [&["explain", "--control", "/nonexistent/control"], arguments].concat();
        let output = nsp(&all);
        assert_eq!(code(&output), 1, "{arguments:?}: {}", stderr(&output));
        assert!(stderr(&output).starts_with("nsp: no agent answers"), "{}", stderr(&output));
    }
}

#[test]
fn logs_of_an_unknown_category_are_usage() {
    let output = nsp(&["logs", "--category", "NspNonsense", "--control", "/nonexistent/control"]);
    assert_eq!(code(&output), 2, "{}", stderr(&output));
    assert!(stderr(&output).contains("NspNonsense"));
}

#[test]
fn exec_refuses_a_bad_destination_before_it_runs_anything() {
    for (destination, cure) in [
        ("github.com:443", "try: --allow github.com:443/tcp\n"),
        ("0.0.0.0/0", ""),
        ("*.com", ""),
        ("localhost", ""),
    ] {
        let output = nsp(&["exec", "--allow", destination, "--", "echo", "ran"]);
        assert_eq!(code(&output), 2, "{destination}: {}", stderr(&output));
        assert!(stderr(&output).starts_with("nsp: exec: --allow: "), "{}", stderr(&output));
        assert!(stderr(&output).ends_with(cure), "{}", stderr(&output));
        assert!(stdout(&output).is_empty(), "{}", stdout(&output));
    }
    assert_eq!(code(&nsp(&["exec"])), 2);
    assert_eq!(
        code(&nsp(&["exec", "--allow", "github.com", "true"])),
        2,
        "the command is after --"
    );
}

#[test]
fn run_refuses_room_for_conversations_that_no_table_can_have() {
    for (flag, number, range) in [
        ("--flows", "1023", "1023 is not in 1024..=8388608"),
        ("--flows", "8388609", "8388609 is not in 1024..=8388608"),
        ("--flows-v6", "255", "255 is not in 256..=8388608"),
        ("--flows", "many", "invalid digit"),
    ] {
        let output = nsp(&["run", flag, number]);
        assert_eq!(code(&output), 2, "{flag} {number}: {}", stderr(&output));
        assert!(stderr(&output).contains(range), "{}", stderr(&output));
    }
}
