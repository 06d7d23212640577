//! Which processors what is timed runs on, and before whom.

use anyhow::{Context as _, Result};
use rustix::{
    process::setpriority_process,
    thread::{CpuSet, sched_setaffinity},
};

/// The processors of the two ends, as iperf3 takes them.
pub(crate) const BOTH: &str = "0,1";

/// Lets this thread, and what it starts from now on, run before everything else of the machine that is no
/// more urgent. Both runs of a pair have it.
pub(crate) fn raise() -> Result<()> {
    setpriority_process(None, -20).context("cannot raise the priority")
}

/// Keeps this thread on a processor.
pub(crate) fn pin(processor: usize) -> Result<()> {
    let mut set = CpuSet::new();
    set.set(processor);
    sched_setaffinity(None, &set).with_context(|| format!("no processor {processor}"))
}
