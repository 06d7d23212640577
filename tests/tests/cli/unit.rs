//! The systemd unit: what it leaves to the agent, as systemd itself judges it.

use std::{path::PathBuf, process::Command};

/// In systemd's tenths: "exposure 3.0" and above is medium.
const THRESHOLD: &str = "30";

fn unit() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../packaging/nsp.service")
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
