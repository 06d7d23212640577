//! Where one arm of a comparison runs: a fresh cable, with a filter or without.
//!
//! The agent runs in the arm with NSP and in no other: its hooks on the cgroups see what every process of
//! this machine sends, the peer's too.

use anyhow::{Context as _, Result, ensure};
use aya::{
    programs::loaded_programs,
    sys::{Stats, enable_stats},
};

use crate::{
    cable::Cable,
    filter::{Attached, Filter, Seen},
};

/// Part of the packets that must have gone by the flow table.
const BY_FLOW_MIN: f64 = 0.99;

/// A cable, and what stands at it.
#[derive(Debug)]
pub(crate) struct Arm {
    // Dropped in this order: an agent before its namespace.
    attached: Option<Attached>,
    pub(crate) cable: Cable,
}

impl Arm {
    /// Lays it, with this filter or none.
    pub(crate) fn lay(filter: Option<Filter>) -> Result<Self> {
        let cable = Cable::lay();
        let attached = filter.map(|filter| filter.attach(&cable)).transpose()?;
        Ok(Self { attached, cable })
    }

    /// Does some work, and says what NSP saw meanwhile, where it is NSP.
    ///
    /// # Errors
    /// When that were other packets than those of a flow.
    pub(crate) fn watched<T>(&self, work: impl FnOnce() -> Result<T>) -> Result<(T, Option<Seen>)> {
        let Some(Attached::Nsp(perimeter)) = &self.attached else { return Ok((work()?, None)) };
        let before = perimeter.seen()?;
        let done = work()?;
        let seen = perimeter.seen()? - before;
        let Seen { packets, by_flow, .. } = seen;
        ensure!(
            by_flow as f64 >= BY_FLOW_MIN * packets as f64,
            "only {by_flow} of {packets} packets by the flow table"
        );
        Ok((done, Some(seen)))
    }
}

/// A program of NSP, and what it took a packet in ns.
pub(crate) type Cost = (&'static str, f64);

/// What NSP's programs take a packet while this work is done, by the kernel's own clock
/// (BPF_ENABLE_STATS), which is in it. Of several programs of one name it is the one that ran most.
pub(crate) fn costs(work: impl FnOnce() -> Result<()>) -> Result<Vec<Cost>> {
    let _counting = enable_stats(Stats::RunTime)?;
    let before = totals()?;
    work()?;
    let mut costs = Vec::new();
    for name in ["nsp_xdp", "nsp_ingress", "nsp_egress", "nsp_send"] {
        let runs = totals()?.into_iter().filter(|total| total.name == name).map(|total| {
            let same = before.iter().find(|it| it.id == total.id);
            let (ns, runs) = same.map_or((0, 0), |it| (it.ns, it.runs));
            (total.runs - runs, total.ns - ns)
        });
        if let Some((runs @ 1.., ns)) = runs.max() {
            costs.push((name, ns as f64 / runs as f64));
        }
    }
    Ok(costs)
}

/// What a program has taken since it was loaded.
struct Total {
    id: u32,
    name: String,
    runs: u64,
    ns: u64,
}

fn totals() -> Result<Vec<Total>> {
    let mut totals = Vec::new();
    // One that goes while the list is read is none of ours.
    for program in loaded_programs().flatten() {
        totals.push(Total {
            id: program.id(),
            name: program.name_as_str().context("a program's name")?.to_owned(),
            runs: program.run_count(),
            ns: program.run_time().as_nanos() as u64,
        });
    }
    Ok(totals)
}
