//! Programs that take turns: each runs over its frames, whose peers take turns as well, round after round.

use anyhow::Result;

use crate::{
    Plan,
    kernel::Kernel,
    peers::Peers,
    report::{Report, Row},
    sample::Samples,
};

/// A program and its frames, one row to be.
pub(crate) struct Item {
    pub(crate) case: &'static str,
    pub(crate) subject: &'static str,
    pub(crate) metric: String,
    /// Which of the kernels, and which of its programs.
    pub(crate) kernel: usize,
    pub(crate) program: &'static str,
    /// The frame, before it has its peer.
    pub(crate) frame: Vec<u8>,
    pub(crate) peers: Peers,
    /// Whether each run waits for what the one before has found.
    pub(crate) is_dependent: bool,
}

/// Times them and reports the rows. Neighbours should have the same peers: to write others takes long.
pub(crate) fn time(
    plan: &Plan,
    kernels: &mut [Kernel],
    items: &[Item],
    (family, size): (&'static str, usize),
    report: &mut Report,
) -> Result<()> {
    // Whoever was measured before has filled the caches with tables of its own, which is not what programs
    // find under load: each sample comes after packets that are not counted.
    let (rounds, before, repeat) =
        if plan.quick { (7, 60_000, 30_000) } else { (21, 200_000, 100_000) };
    let mut samples = vec![Samples::default(); items.len()];
    for round in 0..=rounds {
        let mut turn: Vec<_> = items.iter().zip(&mut samples).collect();
        // Forth and back: what drifts disturbs all alike, and the last peers are there already.
        if round % 2 == 1 {
            turn.reverse();
        }
        for (item, samples) in turn {
            let Item { program, frame, peers, is_dependent, .. } = item;
            let kernel = &mut kernels[item.kernel];
            kernel.come_from(peers, frame);
            kernel.measure(program, *is_dependent)?;
            kernel.run(frame, before)?;
            let took = kernel.run(frame, repeat)?;
            // The first round warms up.
            if round > 0 {
                samples.push(took);
            }
        }
    }
    for (Item { case, subject, metric, .. }, samples) in items.iter().zip(&samples) {
        report.add(Row::of(case, subject, size, family, metric, "ns/packet", samples));
    }
    Ok(())
}
