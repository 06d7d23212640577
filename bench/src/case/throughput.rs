//! What a filter costs a TCP stream over veth: iperf3, with and without, in pairs.
//!
//! Over veth a segment is a socket buffer of up to 64 KB, which the programs at TC see once. Native XDP on
//! veth is another matter: the peer then has no TSO, and every frame of 1,500 bytes comes by itself; that is
//! the driver's doing, so those rows have no target. Both ends have a processor each.

use std::{
    fs,
    process::{Command, Stdio},
    time::Duration,
};

use anyhow::{Context as _, Result, bail, ensure};
use nsp_tests::{deadline::Deadline, netns::Process};
use serde_json::Value;

use crate::{
    Plan,
    cable::{self, Cable},
    compared::Case,
    filter::Filter,
    priority,
    report::Report,
};

/// A stream from the peer, and one to it.
const CASE: Case = Case {
    name: "throughput",
    kinds: ["in", "out"],
    metrics: [["in", "in, processors"], ["out", "out, processors"]],
    units: ["Gbit/s", "ns/byte"],
    quick_kinds: 1,
    pairs: |filter| if filter == Filter::Nsp { 24 } else { 8 },
};

/// Where iperf3 listens.
const PORT: u16 = 5201;

/// Measures it.
pub(crate) fn run(plan: &Plan, report: &mut Report) -> Result<()> {
    require_iperf3()?;
    CASE.measure(plan, report, |arm, family, kind| {
        let _server = serve(&arm.cable)?;
        stream(&arm.cable, family, kind == 1, plan.quick)
    })
}

/// Starts a server of iperf3 and waits until it listens.
fn serve(cable: &Cable) -> Result<Process> {
    let mut command = Command::new("iperf3");
    command.args(["--server", "--one-off"]);
    command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
    let server = cable.server().spawn(&mut command);
    let listens = || {
        let table = cable.server().enter(|| fs::read_to_string("/proc/thread-self/net/tcp6"));
        table.is_ok_and(|table| table.lines().any(is_listener)).then_some(())
    };
    Deadline::after(Duration::from_secs(10)).poll(listens).context("iperf3 does not listen")?;
    Ok(server)
}

/// Whether a line of the table of sockets is iperf3's that listens.
fn is_listener(line: &str) -> bool {
    const LISTEN: &str = "0A";
    let mut fields = line.split_whitespace().skip(1);
    let (local, state) = (fields.next(), fields.nth(1));
    local.is_some_and(|it| it.ends_with(&format!(":{PORT:04X}"))) && state == Some(LISTEN)
}

/// One stream: Gbit/s, and ns of all processors a byte.
fn stream(cable: &Cable, family: &str, is_out: bool, quick: bool) -> Result<[f64; 2]> {
    let address = cable::server_address(family).to_string();
    let mut command = Command::new("iperf3");
    command.args(["--client", &address, "--json", "--affinity", priority::BOTH]);
    command.args(if quick { ["--bytes", "500M"] } else { ["--time", "1"] });
    if is_out {
        command.arg("--reverse");
    }
    let before = busy_ns()?;
    let output = cable.peer().output_within(&mut command, Duration::from_secs(60));
    let busy = busy_ns()? - before;
    let said: Value = serde_json::from_slice(&output.stdout).context("iperf3 says no JSON")?;
    ensure!(said["error"].is_null(), "iperf3: {}", said["error"]);
    let end = &said["end"]["sum_received"];
    let rate = end["bits_per_second"].as_f64().context("iperf3 says no rate")?;
    let bytes = end["bytes"].as_f64().context("iperf3 says no bytes")?;
    Ok([rate / 1e9, busy as f64 / bytes])
}

/// What all processors have worked, interrupts included (proc_stat(5)); ns, in steps of 10 ms.
fn busy_ns() -> Result<u64> {
    const TICK_NS: u64 = 10_000_000;
    let text = fs::read_to_string("/proc/stat").context("/proc/stat")?;
    let line = text.lines().next().unwrap_or_default();
    let mut fields = line.split_whitespace().skip(1).map(|it| it.parse::<u64>().unwrap_or(0));
    let fields: [u64; 7] = std::array::from_fn(|_| fields.next().unwrap_or(0));
    let [user, nice, system, _idle, _iowait, irq, softirq] = fields;
    Ok((user + nice + system + irq + softirq) * TICK_NS)
}

fn require_iperf3() -> Result<()> {
    match Command::new("iperf3").arg("--version").output() {
        Ok(output) if output.status.success() => Ok(()),
        _ => bail!("case throughput needs iperf3: apt-get install iperf3"),
    }
}
