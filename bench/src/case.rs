//! What is measured.

mod latency;
mod packet;
mod throughput;

use anyhow::Result;
use clap::ValueEnum;

use crate::{Plan, report::Report};

/// A case by its name.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Name {
    /// What the programs cost a packet, by test runs
    Packet,
    /// What a filter costs a TCP stream over veth
    Throughput,
    /// What a filter costs a question and its answer over veth
    Latency,
}

impl Name {
    /// Those that were named, or all.
    pub(crate) fn chosen(named: &[Self]) -> Vec<Self> {
        if named.is_empty() { Self::value_variants().to_vec() } else { named.to_vec() }
    }

    /// Measures it.
    pub(crate) fn run(self, plan: &Plan, report: &mut Report) -> Result<()> {
        match self {
            Self::Packet => packet::run(plan, report),
            Self::Throughput => throughput::run(plan, report),
            Self::Latency => latency::run(plan, report),
        }
    }
}
