//! The kernel programs of one subject.

use std::{collections::BTreeMap, fs, path::Path, sync::Arc, thread};

use anyhow::{Context as _, Result};
use aya::{
    maps::{MapData, PerCpuArray, PerCpuValues, ProgramArray},
    programs::Program,
    util::nr_cpus,
};
use nsp_agent::{
    compile::{Compiled, Sizes},
    datapath::{Capacities, Datapath, Engine, FlowRoom},
};
use nsp_common::{bench::State, link::Link};

use crate::{
    peers::Peers,
    trace::{Trace, base_sum},
};

/// What maps addresses to classes, by the name of the subject.
pub(crate) const ENGINES: [(&str, Engine); 2] =
    [("nsp", Engine::RangeTable), ("nsp-lpm-trie", Engine::LpmTrie)];

/// What XDP programs answer.
pub(crate) const XDP_DROP: u32 = 1;
pub(crate) const XDP_PASS: u32 = 2;

/// The device that frames seem to come by: loopback is number one in every namespace.
const DEVICE: u32 = 1;

/// The programs of one subject.
pub(crate) struct Kernel {
    pub(crate) datapath: Datapath,
    trace: Trace,
    measured: ProgramArray<MapData>,
    /// What `bench_vary4_linear` calls.
    pub(crate) linear: ProgramArray<MapData>,
    /// What the trace holds: the peers, and the sum of their frame's header.
    written: Option<(Peers, u16)>,
    /// Whose turn it is among them.
    next: u64,
}

impl Kernel {
    /// Loads them with room for each of these policies, and for so many conversations.
    pub(crate) fn load(
        object: &Path,
        engine: Engine,
        flows: u32,
        policies: &[&Compiled],
    ) -> Result<Self> {
        let object = fs::read(object).with_context(|| object.display().to_string())?;
        let flows = FlowRoom::of(flows);
        let capacities = Capacities { engine, flows, ..Capacities::for_sizes(&largest(policies)) };
        let mut datapath = Datapath::load_object(&object, capacities)?;
        datapath.set_links(&[(DEVICE, Link { group: 0, ..Link::default() })])?;
        datapath.set_routes(&[("0.0.0.0/0".parse()?, 1), ("::/0".parse()?, 1)])?;
        let trace = Trace::new(datapath.object())?;
        let mut programs = |name| -> Result<_> {
            let map = datapath.object().take_map(name);
            Ok(ProgramArray::try_from(map.with_context(|| format!("no {name}"))?)?)
        };
        let (measured, linear) = (programs("MEASURED")?, programs("MEASURED_LINEAR")?);
        Ok(Self { datapath, trace, measured, linear, written: None, next: 0 })
    }

    /// One of each of [`ENGINES`]. The verifier takes seconds for each, so they are loaded side by side.
    pub(crate) fn load_engines(
        object: &Path,
        flows: u32,
        policies: &[&Compiled],
    ) -> Result<Vec<Self>> {
        thread::scope(|scope| {
            let load =
                |(_, engine)| scope.spawn(move || Self::load(object, engine, flows, policies));
            let loading = ENGINES.map(load);
            loading.into_iter().map(|it| it.join().expect("loading does not panic")).collect()
        })
    }

    /// Puts a policy in force.
    pub(crate) fn put_in_force(&mut self, policy: &Compiled) -> Result<()> {
        self.datapath.publish(policy, &[], &BTreeMap::new())?;
        Ok(())
    }

    /// Frames come from these peers from now on.
    pub(crate) fn come_from(&mut self, peers: &Peers, frame: &[u8]) {
        let sum = base_sum(frame);
        let is_there = |(it, of): &(Peers, u16)| Arc::ptr_eq(it, peers) && *of == sum;
        if !self.written.as_ref().is_some_and(is_there) {
            self.trace.write(peers, sum);
            self.written = Some((Arc::clone(peers), sum));
            self.next = 0;
        }
    }

    /// This program is measured from now on; whether a run waits for the one before. Peers go on taking
    /// turns where they were: a run that began with the first ones again would find their entries in the
    /// caches.
    pub(crate) fn measure(&mut self, program: &str, is_dependent: bool) -> Result<()> {
        let object = self.datapath.object();
        let Some(Program::Xdp(xdp)) = object.program(program) else {
            anyhow::bail!("the object has no XDP program {program}")
        };
        let fd = xdp.fd()?.try_clone()?;
        self.measured.set(0, &fd, 0)?;
        let map = object.map_mut("STATE").context("no STATE")?;
        let mut states = PerCpuArray::<_, State>::try_from(map)?;
        let is_dependent = u64::from(is_dependent);
        let state = State { next: self.next, is_dependent, ..State::default() };
        let count = nr_cpus().map_err(|(_, error)| error)?;
        states.set(0, PerCpuValues::try_from(vec![state; count])?, 0)?;
        Ok(())
    }

    /// Frames go into the stack from now on, once they have their peer.
    pub(crate) fn measure_the_stack(&mut self) -> Result<()> {
        self.measure("bench_noop", false)?;
        Ok(self.measured.clear_index(&0)?)
    }

    /// Runs the program that is measured over a frame whose peers take turns; ns a run.
    pub(crate) fn run(&mut self, frame: &[u8], repeat: u32) -> Result<f64> {
        let entry = if frame[12..14] == [0x08, 0] { "bench_vary4" } else { "bench_vary6" };
        let took = self.datapath.run_repeatedly(entry, frame, DEVICE, repeat)?;
        self.went(repeat);
        Ok(took.as_nanos() as f64)
    }

    /// So many peers had their turn.
    pub(crate) fn went(&mut self, frames: u32) {
        self.next += u64::from(frames);
    }

    /// Runs any program over a frame as it is, once; ns, with what it takes to read the clock.
    pub(crate) fn run_once(&self, program: &str, frame: &[u8]) -> Result<f64> {
        Ok(self.datapath.run_repeatedly(program, frame, DEVICE, 1)?.as_nanos() as f64)
    }

    /// What the program answers to a frame of one peer.
    pub(crate) fn verdict(&self, program: &str, frame: &[u8]) -> Result<u32> {
        Ok(self.datapath.run(program, frame, DEVICE)?)
    }

    /// What the last run of a program of [`State::found`] has found, whichever the processor.
    pub(crate) fn found(&mut self) -> Result<u64> {
        let map = self.datapath.object().map_mut("STATE").context("no STATE")?;
        let states = PerCpuArray::<_, State>::try_from(map)?;
        Ok(states.get(&0, 0)?.iter().map(|state| state.found).max().unwrap_or(0))
    }
}

/// The room that each of some policies finds enough.
fn largest(policies: &[&Compiled]) -> Sizes {
    policies.iter().fold(Sizes::default(), |most, policy| Sizes {
        pages: most.pages.max(policy.sizes.pages),
        classes: most.classes.max(policy.sizes.classes),
        cells: most.cells.max(policy.sizes.cells),
        rows: most.rows.max(policy.sizes.rows),
        rules: most.rules.max(policy.sizes.rules),
        selectors: most.selectors.max(policy.sizes.selectors),
        ..most
    })
}
