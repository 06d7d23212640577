//! What is measured.

mod dns;
mod flood;
mod flows;
mod latency;
mod load;
mod memory;
mod packet;
mod single;
mod swap;
mod throughput;

use std::time::Instant;

use anyhow::Result;
use clap::ValueEnum;

use crate::{Plan, report::Report};

/// A case by its name.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Name {
    /// What the programs cost a packet, by test runs
    Packet,
    /// What a packet of an open conversation costs, and one that opens it, by test runs
    Flows,
    /// How long a publication takes, with a flood and without
    Swap,
    /// What questions and answers of DNS cost that teach addresses, by test runs
    Dns,
    /// What a flood costs a packet, until it is dropped, beside the peers
    Flood,
    /// From a file of prefixes to their being in force, beside the peers
    Load,
    /// What a prefix takes of the kernel's memory, beside the peers
    Memory,
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
        let begun = Instant::now();
        match self {
            Self::Packet => packet::run(plan, report),
            Self::Flows => flows::run(plan, report),
            Self::Swap => swap::run(plan, report),
            Self::Dns => dns::run(plan, report),
            Self::Flood => flood::run(plan, report),
            Self::Load => load::run(plan, report),
            Self::Memory => memory::run(plan, report),
            Self::Throughput => throughput::run(plan, report),
            Self::Latency => latency::run(plan, report),
        }?;
        println!("{self:?} took {:.1} s", begun.elapsed().as_secs_f64());
        Ok(())
    }
}
