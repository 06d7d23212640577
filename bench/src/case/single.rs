//! Rows of one packet a run, where a packet changes what the next would find. The clock is read twice a
//! run, which is most of what the row of a frame that is no IP has.

use anyhow::Result;

use crate::{
    kernel::Kernel,
    report::{self, Report},
    sample::Samples,
};

/// How the row of a frame that is no IP is called.
pub(crate) const METRIC: &str = "one a run";

/// A row to be.
pub(super) struct Row {
    case: &'static str,
    metric: &'static str,
    samples: Samples,
}

impl Row {
    pub(super) fn new(case: &'static str, metric: &'static str) -> Self {
        Self { case, metric, samples: Samples::default() }
    }

    /// Runs a program over a frame.
    pub(super) fn time(&mut self, kernel: &Kernel, program: &str, frame: &[u8]) -> Result<()> {
        self.samples.push(kernel.run_once(program, frame)?);
        Ok(())
    }

    pub(super) fn report(
        self,
        subject: &'static str,
        (family, size): (&'static str, usize),
        report: &mut Report,
    ) {
        let Self { case, metric, samples } = self;
        let subject = if case == "noop" { "none" } else { subject };
        report.add(report::Row::of(case, subject, size, family, metric, "ns/packet", &samples));
    }
}
