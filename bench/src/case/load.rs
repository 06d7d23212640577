//! How long it takes from a file of prefixes to their being in force: `nsp apply` on a running agent beside
//! `nft -f` and `ipset restore` in a namespace where nothing is loaded, each from the start of its command
//! to its end.
//!
//! The peers start from nothing, which spares them taking the set before out; nsp replaces the policy that
//! was in force, and reads the file twice (the command looks for mistakes before it bothers the agent).

use std::{fs, path::PathBuf, process::Command, thread, time::Duration};

use anyhow::{Context as _, Result, ensure};
use ipnet::IpNet;
use nsp_tests::agent::{Agent, nsp_binary};

use crate::{
    Plan,
    peer::{Site, Sites, ipset, nft, nft::Hook, timed},
    peers,
    policy::{self, OPEN},
    prefixes::{self, Random},
    report::{Report, Row},
    sample::Samples,
};

/// How long the kernel is left to itself after a set was removed: it frees the elements behind our back.
const REST: Duration = Duration::from_millis(300);

/// What the agent starts with.
const FIRST_POLICY: &str = "[perimeter]\nname = \"bench\"\n[profile.p]\n\
    [resource.host]\nhost = true\nprofile = \"p\"\naccess_mode = \"transition\"\n";

/// Who loads, and how often it does in a quick run and in another: nft takes longer than all the others
/// together.
const SUBJECTS: [(&str, usize, usize); 3] =
    [("nsp", 5, 11), ("ipset", 2, 7), ("nft-ingress", 1, 5)];

/// Measures it.
pub(crate) fn run(plan: &Plan, report: &mut Report) -> Result<()> {
    let counts: &[usize] = if plan.quick { &[1_000_000] } else { &[10_000, 100_000, 1_000_000] };
    let mut sites = Sites::new();
    let stage =
        Stage { nsp: sites.add("nsp")?, nft: sites.add("nft")?, ipset: sites.add("ipset")? };
    // From small to large: the peak of the agent's memory only ever grows.
    let mut agent = Agent::builder(&stage.nsp.namespace).policy(FIRST_POLICY).start();
    for count in counts.iter().filter(|count| plan.wants(**count)) {
        stage.size(plan, &mut agent, *count, report)?;
    }
    if plan.quick {
        report.note(
            "In a quick run nft -f and ipset restore find the prefixes joined already, which is less than half \
             as many, and are run once and twice.",
        );
    }
    Ok(())
}

/// Where each loads.
struct Stage {
    nsp: Site,
    nft: Site,
    ipset: Site,
}

impl Stage {
    fn size(
        &self,
        plan: &Plan,
        agent: &mut Agent,
        count: usize,
        report: &mut Report,
    ) -> Result<()> {
        let prefixes = prefixes::v4(count);
        let files = Files::write(plan, &prefixes)?;
        let runs = |(_, quick, full): (_, usize, usize)| if plan.quick { quick } else { full };
        let mut samples = SUBJECTS.map(|_| Samples::default());
        for run in 0..SUBJECTS.map(runs).into_iter().max().unwrap_or(0) {
            // Who comes first takes turns as well.
            for at in 0..SUBJECTS.len() {
                let which = (at + run) % SUBJECTS.len();
                if run < runs(SUBJECTS[which]) {
                    let took = self.load(SUBJECTS[which].0, agent, &files)?;
                    samples[which].push(took.as_secs_f64() * 1000.0);
                    thread::sleep(REST);
                }
            }
            if run == 0 {
                self.check(agent, &prefixes)?;
            }
        }
        for ((subject, ..), samples) in SUBJECTS.into_iter().zip(&samples) {
            report.add(Row::of("load", subject, count, "v4", "file to in force", "ms", samples));
        }
        let peak = Samples::one(peak_mib(agent.process().pid())?);
        report.add(Row::of("memory", "nsp", count, "v4", "agent, at most", "MiB", &peak));
        Ok(())
    }

    /// One run of a subject, from the start of its command to its end.
    fn load(&self, subject: &str, agent: &Agent, files: &Files) -> Result<Duration> {
        match subject {
            "nsp" => self.apply(agent, files),
            "ipset" => {
                let took = ipset::load(&self.ipset, &files.ipset)?;
                ipset::clear(&self.ipset).map(|()| took)
            }
            _ => {
                let took = nft::load(&self.nft, &files.nft)?;
                nft::clear(&self.nft).map(|()| took)
            }
        }
    }

    fn apply(&self, agent: &Agent, files: &Files) -> Result<Duration> {
        let mut apply = Command::new(nsp_binary());
        apply.arg("apply").arg(&files.policy).env("NSP_CONTROL", agent.home().control());
        timed(&self.nsp.namespace, &mut apply)
    }

    /// Whether what was loaded is in force: the agent asks the kernel programs.
    fn check(&self, agent: &Agent, prefixes: &[IpNet]) -> Result<()> {
        let mut random = Random(1);
        for prefix in prefixes.iter().step_by(prefixes.len() / 8) {
            let address = peers::inside(*prefix, &mut random).to_string();
            let said = agent.nsp(&["explain", &address, &OPEN.to_string(), "--json"]);
            let said = String::from_utf8_lossy(&said.stdout).into_owned();
            let value: serde_json::Value =
                serde_json::from_str(&said).with_context(|| said.clone())?;
            ensure!(value["verdict"] == "allow", "{address} of {prefix} is not allowed: {said}");
        }
        Ok(())
    }
}

/// The same prefixes in everybody's words.
struct Files {
    policy: PathBuf,
    nft: PathBuf,
    ipset: PathBuf,
    _directory: tempfile::TempDir,
}

impl Files {
    /// In a quick run the peers find the prefixes joined already, which is less than half as many.
    fn write(plan: &Plan, prefixes: &[IpNet]) -> Result<Self> {
        let joined = plan.quick.then(|| IpNet::aggregate(&prefixes.to_vec()));
        let peers = joined.as_deref().unwrap_or(prefixes);
        let directory = tempfile::tempdir()?;
        let [policy, nft, ipset] = ["policy.toml", "perimeter.nft", "perimeter.ipset"]
            .map(|name| directory.path().join(name));
        fs::write(&policy, policy::text(directory.path(), &[prefixes])?)?;
        fs::write(&nft, nft::file(Hook::Ingress, peers, OPEN)?)?;
        fs::write(&ipset, ipset::file(peers)?)?;
        Ok(Self { policy, nft, ipset, _directory: directory })
    }
}

/// The most memory that a process ever had.
fn peak_mib(pid: u32) -> Result<f64> {
    let path = format!("/proc/{pid}/status");
    let text = fs::read_to_string(&path).with_context(|| path.clone())?;
    let line = text.lines().find_map(|line| line.strip_prefix("VmHWM:"));
    let kib =
        line.and_then(|rest| rest.trim().strip_suffix(" kB")).with_context(|| path.clone())?;
    Ok(kib.trim().parse::<f64>()? / 1024.0)
}
