//! NSP: the agent with an enforced perimeter, and what it says that it has seen.

use std::{
    fmt::Write as _,
    fs,
    ops::{Add, Sub},
    time::Instant,
};

use anyhow::{Context as _, Result};
use ipnet::IpNet;
use nsp_tests::agent::Agent;
use serde_json::Value;
use tempfile::TempDir;

use crate::cable::{Cable, DEVICE, PEER_NETWORKS};

/// The agent on a cable's server.
#[derive(Debug)]
pub(crate) struct Perimeter {
    agent: Agent,
    pid: u32,
    started: Instant,
    /// With the file of prefixes, which the agent may read again.
    _files: TempDir,
}

/// What a perimeter has seen.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Seen {
    /// Packets judged.
    pub(crate) packets: u64,
    /// Their bytes, of frames or of socket buffers.
    pub(crate) bytes: u64,
    /// Packets that went by the flow table.
    pub(crate) by_flow: u64,
    /// How long the agent has worked, in us of one processor.
    pub(crate) agent_us: u64,
    /// How long it has run, in us.
    pub(crate) wall_us: u64,
}

impl Perimeter {
    /// Starts the agent and waits until it is ready.
    pub(super) fn start(cable: &Cable, xdp_mode: &str, prefixes: &[IpNet]) -> Result<Self> {
        let files = tempfile::tempdir()?;
        let file = files.path().join("prefixes.txt");
        let lines: String = prefixes.iter().map(|prefix| format!("{prefix}\n")).collect();
        fs::write(&file, lines).with_context(|| file.display().to_string())?;
        let mut agent = Agent::builder(cable.server())
            .policy(&policy(&file.display().to_string()))
            .interfaces(&[DEVICE])
            .argument("--xdp-mode")
            .argument(xdp_mode)
            .start();
        let pid = agent.process().pid();
        Ok(Self { agent, pid, started: Instant::now(), _files: files })
    }

    /// What it has seen so far.
    pub(crate) fn seen(&self) -> Result<Seen> {
        let status: Value = serde_json::from_str(&self.agent.nsp_ok(&["status", "--json"]))?;
        let reasons = status["counters"]["reasons"].as_array().context("status has no reasons")?;
        let number = |value: &Value| value.as_u64().context("a counter is no number");
        let mut seen = Seen {
            agent_us: processor_us(self.pid)?,
            wall_us: self.started.elapsed().as_micros() as u64,
            ..Seen::default()
        };
        for counter in reasons {
            let packets = number(&counter["packets"])?;
            seen.packets += packets;
            seen.bytes += number(&counter["bytes"])?;
            if counter["reason"] == "open conversation" && counter["verdict"] == "allow" {
                seen.by_flow += packets;
            }
        }
        Ok(seen)
    }
}

/// The peer and the prefixes of a file are admitted, both ways; nobody else.
fn policy(file: &str) -> String {
    let networks = PEER_NETWORKS.map(|it| format!("\"{it}\"")).join(", ");
    let mut text = String::from("[perimeter]\nname = \"bench\"\n");
    for way in ["inbound", "outbound"] {
        let _written = write!(
            text,
            "[profile.p.{way}.peer]\naddress_prefixes = [{networks}]\n\
             [profile.p.{way}.others]\nservice_tags = [\"file:others\"]\n"
        );
    }
    text + "[resource.host]\nhost = true\nprofile = \"p\"\naccess_mode = \"enforced\"\n\
            [sources.prefix_files]\nothers = \""
        + file
        + "\"\n"
}

/// How long the first thread of a process has worked, which is the agent's loop (schedstat: ns).
fn processor_us(pid: u32) -> Result<u64> {
    let path = format!("/proc/{pid}/schedstat");
    let text = fs::read_to_string(&path).with_context(|| path.clone())?;
    let field = text.split_whitespace().next().context("schedstat is empty")?;
    Ok(field.parse::<u64>().with_context(|| path)? / 1_000)
}

impl Sub for Seen {
    type Output = Self;

    fn sub(self, before: Self) -> Self {
        let Self { packets, bytes, by_flow, agent_us, wall_us } = before;
        Self {
            packets: self.packets - packets,
            bytes: self.bytes - bytes,
            by_flow: self.by_flow - by_flow,
            agent_us: self.agent_us - agent_us,
            wall_us: self.wall_us - wall_us,
        }
    }
}

impl Add for Seen {
    type Output = Self;

    fn add(self, other: Self) -> Self {
        let Self { packets, bytes, by_flow, agent_us, wall_us } = other;
        Self {
            packets: self.packets + packets,
            bytes: self.bytes + bytes,
            by_flow: self.by_flow + by_flow,
            agent_us: self.agent_us + agent_us,
            wall_us: self.wall_us + wall_us,
        }
    }
}
