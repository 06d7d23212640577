//! The machine, as far as figures depend on it.

use std::{fs, path::Path, process::Command};

/// What no figure here is about.
pub(crate) const NOT_CLAIMED: &str = "There is no network card here: nothing is said about line rate, drivers, offloads or more than one \
    processor at a time. Figures are of one virtual machine; ratios within a run hold further than they.";

/// What was found when the run began.
pub(crate) struct Machine {
    /// By what they are.
    pub(crate) facts: Vec<(&'static str, String)>,
    ticks: Ticks,
}

/// Of all processors, since the machine started.
#[derive(Clone, Copy)]
struct Ticks {
    all: u64,
    stolen: u64,
}

impl Machine {
    pub(crate) fn read() -> Self {
        let processor =
            field("/proc/cpuinfo", "model name").unwrap_or_else(|| "unknown".to_owned());
        let processors = std::thread::available_parallelism().map_or(0, usize::from);
        let is_guest = field("/proc/cpuinfo", "flags").is_some_and(|it| it.contains(" hypervisor"));
        let uname = rustix::system::uname();
        let system =
            [uname.sysname(), uname.release(), uname.machine()].map(|it| it.to_string_lossy());
        let memory = field("/proc/meminfo", "MemTotal").unwrap_or_default();
        let facts = vec![
            (
                "Processor",
                format!(
                    "{processor}, {processors} of them{}",
                    if is_guest { ", virtual" } else { "" }
                ),
            ),
            ("Memory", memory),
            ("Kernel", system.join(" ")),
            ("BPF", just_in_time()),
            ("Mitigations", mitigations()),
            ("nft", version("nft", &["--version"])),
            ("iptables", version("iptables", &["--version"])),
            ("ipset", version("ipset", &["--version"])),
        ];
        Self { facts, ticks: Ticks::read() }
    }

    /// Part of the time that other guests had, since this was read.
    pub(crate) fn stolen_percent(&self) -> f64 {
        let now = Ticks::read();
        let all = now.all.saturating_sub(self.ticks.all).max(1);
        now.stolen.saturating_sub(self.ticks.stolen) as f64 * 100.0 / all as f64
    }

    /// On a few lines.
    pub(crate) fn summary(&self) -> String {
        let shown = self.facts.iter().map(|(name, fact)| format!("{name}: {fact}"));
        let stolen = format!("Steal: {:.2} % of the time", self.stolen_percent());
        shown.chain([stolen]).collect::<Vec<_>>().join("\n")
    }
}

impl Ticks {
    fn read() -> Self {
        let text = fs::read_to_string("/proc/stat").unwrap_or_default();
        let first = text.lines().next().unwrap_or_default();
        let ticks: Vec<u64> = first.split_whitespace().skip(1).flat_map(str::parse).collect();
        // user, nice, system, idle, iowait, irq, softirq, steal (proc_stat(5)); guests are in the first two.
        Self { all: ticks.iter().take(8).sum(), stolen: ticks.get(7).copied().unwrap_or(0) }
    }
}

/// The first line of a file that begins so.
fn field(path: &str, name: &str) -> Option<String> {
    let text = fs::read_to_string(path).ok()?;
    let line = text.lines().find(|line| line.starts_with(name))?;
    Some(line.split_once(':')?.1.trim().to_owned())
}

fn just_in_time() -> String {
    let setting = |name: &str| fs::read_to_string(Path::new("/proc/sys/net/core").join(name));
    let enabled = match setting("bpf_jit_enable").as_deref().map(str::trim) {
        Ok("0") => "interpreted",
        Ok(_) => "compiled (JIT)",
        Err(_) => "JIT unknown",
    };
    let hardened = match setting("bpf_jit_harden").as_deref().map(str::trim) {
        Ok("0") => "not hardened",
        Ok("1") => "hardened for users without privileges, which this is not",
        Ok(_) => "hardened",
        Err(_) => "hardening unknown",
    };
    format!("{enabled}, {hardened}")
}

/// What the kernel does about faults of the processor.
fn mitigations() -> String {
    let listed =
        fs::read_dir("/sys/devices/system/cpu/vulnerabilities").into_iter().flatten().flatten();
    let mut found: Vec<String> = listed
        .filter_map(|entry| {
            let state = fs::read_to_string(entry.path()).ok()?;
            let state = state.trim();
            let name = entry.file_name().to_string_lossy().into_owned();
            (state != "Not affected").then(|| format!("{name}: {state}"))
        })
        .collect();
    found.sort();
    if found.is_empty() { "none needed".to_owned() } else { found.join(" | ") }
}

fn version(program: &str, arguments: &[&str]) -> String {
    let said = Command::new(program).args(arguments).output();
    let said = said.map(|it| String::from_utf8_lossy(&it.stdout).into_owned()).unwrap_or_default();
    said.lines().next().unwrap_or("not there").to_owned()
}
