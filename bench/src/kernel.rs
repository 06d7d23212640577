//! The kernel programs of one subject, with a policy in force.

use std::{collections::BTreeMap, fmt::Write as _, fs, path::Path};

use anyhow::{Context as _, Result};
use aya::{maps::ProgramArray, programs::Program};
use ipnet::IpNet;
use nsp_agent::{
    compile::{compile, identities::Identities},
    datapath::{Capacities, Datapath, Engine, FlowRoom},
    policy,
};
use nsp_common::{bench::State, link::Link};

use crate::trace::{Peers, Trace, base_sum};

/// The port that the rules of the policy are for.
pub(crate) const OPEN: u16 = 443;

/// The device that frames seem to come by: loopback is number one in every namespace.
const DEVICE: u32 = 1;

/// A policy that admits these prefixes to [`OPEN`], dealt to so many rules in turn, and nothing else.
pub(crate) fn policy_text(directory: &Path, prefixes: &[IpNet], rules: usize) -> Result<String> {
    let rules = rules.min(prefixes.len());
    let mut files = String::from("[sources.prefix_files]\n");
    let mut text = String::from("[perimeter]\nname = \"bench\"\n");
    for rule in 0..rules {
        let mut lines = String::new();
        for prefix in prefixes.iter().skip(rule).step_by(rules) {
            writeln!(lines, "{prefix}")?;
        }
        let name = format!("set{rule}.txt");
        fs::write(directory.join(&name), lines)?;
        writeln!(files, "set{rule} = \"{name}\"")?;
        writeln!(
            text,
            "[profile.p.inbound.rule{rule}]\nservice_tags = [\"file:set{rule}\"]\nports = [\"{OPEN}/tcp\", \"{OPEN}/udp\"]"
        )?;
    }
    text.push_str("[resource.host]\nhost = true\nprofile = \"p\"\naccess_mode = \"enforced\"\n");
    Ok(text + &files)
}

/// The programs of one subject.
pub(crate) struct Kernel {
    pub(crate) datapath: Datapath,
    trace: Trace,
    measured: ProgramArray<aya::maps::MapData>,
}

impl Kernel {
    /// Loads them with room for the policy in this file, and puts it in force.
    pub(crate) fn load(
        object: &Path,
        policy_file: &Path,
        engine: Engine,
        flows: u32,
    ) -> Result<Self> {
        let object = fs::read(object).with_context(|| object.display().to_string())?;
        let loaded = policy::load(policy_file).map_err(|errors| anyhow::anyhow!("{errors}"))?;
        let mut identities = Identities::default();
        let compiled = compile(&loaded.policy, &mut identities)?;
        let capacities = Capacities {
            engine,
            flows: FlowRoom::of(flows),
            ..Capacities::for_sizes(&compiled.sizes)
        };
        let mut datapath = Datapath::load_object(&object, capacities)?;
        datapath.set_links(&[(DEVICE, Link { group: 0, ..Link::default() })])?;
        datapath.set_routes(&[("0.0.0.0/0".parse()?, 1), ("::/0".parse()?, 1)])?;
        datapath.publish(&compiled, &[], &BTreeMap::new())?;
        let trace = Trace::new(datapath.object())?;
        let measured = datapath.object().take_map("MEASURED").context("no MEASURED")?;
        let measured = ProgramArray::try_from(measured)?;
        Ok(Self { datapath, trace, measured })
    }

    /// Frames come from these peers from now on.
    pub(crate) fn come_from(&mut self, peers: &Peers, frame: &[u8]) {
        self.trace.write(peers, base_sum(frame));
    }

    /// This program is measured from now on; whether a run waits for the one before.
    pub(crate) fn measure(&mut self, program: &str, is_dependent: bool) -> Result<()> {
        let object = self.datapath.object();
        let Some(Program::Xdp(xdp)) = object.program(program) else {
            anyhow::bail!("the object has no XDP program {program}")
        };
        let fd = xdp.fd()?.try_clone()?;
        self.measured.set(0, &fd, 0)?;
        let map = object.map_mut("STATE").context("no STATE")?;
        let mut states = aya::maps::PerCpuArray::<_, State>::try_from(map)?;
        let state = State { is_dependent: u64::from(is_dependent), ..State::default() };
        let count = aya::util::nr_cpus().map_err(|(_, error)| error)?;
        states.set(0, aya::maps::PerCpuValues::try_from(vec![state; count])?, 0)?;
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
        Ok(took.as_nanos() as f64)
    }

    /// What the program answers to a frame of one peer.
    pub(crate) fn verdict(&mut self, program: &str, frame: &[u8]) -> Result<u32> {
        Ok(self.datapath.run(program, frame, DEVICE)?)
    }
}
