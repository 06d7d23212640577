//! The systemd unit: what it leaves to the agent, as systemd itself judges it.

use std::{path::PathBuf, process::Command};

/// In systemd's tenths: "exposure 3.0" and above is medium.
const THRESHOLD: &str = "30";

fn unit() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../packaging/nsp.service")
}

/// The words of a line `key=words` in the unit.
fn words(key: &str) -> Vec<String> {
    let text = std::fs::read_to_string(unit()).expect("it is in the repository");
    let lines = text.lines().filter_map(|line| line.strip_prefix(key)?.strip_prefix('='));
    lines.flat_map(str::split_whitespace).map(str::to_owned).collect()
}

#[test]
fn unit_is_there_before_the_network_is() {
    for (key, wanted) in [
        ("Before", "network-pre.target"),
        ("Wants", "network-pre.target"),
        ("RequiresMountsFor", "/sys/fs/bpf"),
        ("ExecStart", "--early"),
    ] {
        assert!(words(key).iter().any(|word| word == wanted), "{key}={wanted}");
    }
    // What comes after it in every boot must not be waited for.
    assert_eq!(words("DefaultDependencies"), ["no"]);
    assert!(!words("After").iter().any(|word| word.starts_with("network")));
    assert_eq!(words("Type"), ["notify"]);
    assert_eq!(words("WatchdogSec").len(), 1);
}

#[test]
fn unit_leaves_three_capabilities_and_little_else() {
    let text = std::fs::read_to_string(unit()).expect("it is in the repository");
    let bounds: Vec<_> =
        text.lines().filter_map(|line| line.strip_prefix("CapabilityBoundingSet=")).collect();
    assert_eq!(bounds, ["CAP_BPF CAP_NET_ADMIN CAP_PERFMON"]);
    let mut judge = Command::new("systemd-analyze");
    judge.args(["security", "--offline=true", "--threshold", THRESHOLD]).arg(unit());
    let Ok(output) = judge.output() else {
        eprintln!("systemd-analyze is not installed here: only the capabilities are looked at");
        return;
    };
    let said = String::from_utf8_lossy(&output.stdout);
    println!("{}", said.lines().last().unwrap_or_default());
    assert!(output.status.success(), "{said}");
}
