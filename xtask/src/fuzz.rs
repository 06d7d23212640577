//! `cargo xtask fuzz`: what reads bytes that somebody else wrote, on bytes that nobody would write.
//!
//! libFuzzer, by cargo-fuzz, in a workspace of its own (`fuzz/`). The corpus that is committed is read;
//! what a run finds beside it stays in `fuzz/target/corpus` until somebody keeps it (`--keep`).

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context as _, Result};

use crate::tool::Tool;
use crate::{command, workspace};

/// The version is the one that the committed corpora were made with.
const CARGO_FUZZ: Tool = Tool { name: "cargo-fuzz", version: "0.13.2" };

/// Run the fuzz targets; installs cargo-fuzz for this workspace if it is missing
#[derive(clap::Args)]
pub(crate) struct Arguments {
    /// Targets to run, all when none is named
    #[arg(value_enum)]
    targets: Vec<Target>,
    /// How long each of them runs
    #[arg(long, default_value_t = 60)]
    seconds: u32,
    /// With AddressSanitizer, which needs a nightly toolchain of rustup
    #[arg(long)]
    asan: bool,
    /// Afterwards put what reaches new code into fuzz/corpus
    #[arg(long)]
    keep: bool,
}

/// A file in `fuzz/fuzz_targets`.
#[derive(Clone, Copy, clap::ValueEnum)]
enum Target {
    /// Bytes as a DNS answer
    Answer,
    /// Bytes as a name on the wire, in a key and in a policy
    Name,
    /// Bytes as a frame, read and judged
    Packet,
    /// Bytes as a policy file
    Policy,
    /// Bytes as a request at the control socket
    Control,
    /// Bytes as what an agent finds of the one before it
    State,
    /// Bytes as what the kernel's ring and maps hold
    Event,
}

impl Target {
    fn name(self) -> &'static str {
        match self {
            Self::Answer => "answer",
            Self::Name => "name",
            Self::Packet => "packet",
            Self::Policy => "policy",
            Self::Control => "control",
            Self::State => "state",
            Self::Event => "event",
        }
    }

    /// Longest input in bytes: a little more than the product reads.
    fn length_max(self) -> u32 {
        match self {
            Self::Answer => 2200,
            Self::Name => 300,
            Self::Packet => 400,
            Self::Policy | Self::State => 4096,
            Self::Control => 1024,
            Self::Event => 176,
        }
    }
}

/// Runs each target for a while; a crash is an error.
pub(crate) fn run(arguments: &Arguments) -> Result<()> {
    let Arguments { targets, seconds, asan, keep } = arguments;
    let all = <Target as clap::ValueEnum>::value_variants();
    let tool = CARGO_FUZZ.get()?;
    for target in if targets.is_empty() { all } else { targets } {
        let name = target.name();
        command::step(&format!("fuzz {name}, {seconds} s"), || {
            let found = workspace::root().join("fuzz/target/corpus").join(name);
            fs::create_dir_all(&found).with_context(|| found.display().to_string())?;
            let mut fuzz = fuzz(&tool, *target, *asan);
            fuzz.arg(&found).arg(corpus(*target)).arg("--");
            fuzz.arg(format!("-max_total_time={seconds}")).arg("-timeout=10");
            fuzz.arg(format!("-max_len={}", target.length_max()));
            command::run(&mut fuzz)?;
            if *keep { merge(&tool, *target, *asan, &found) } else { Ok(()) }
        })?;
    }
    Ok(())
}

/// The committed inputs.
fn corpus(target: Target) -> PathBuf {
    workspace::root().join("fuzz/corpus").join(target.name())
}

/// Adds the fewest of what was found that reach all the code that any input does. How often a line
/// runs does not count, and long inputs stay out: the corpus is replayed by every `cargo xtask test`.
fn merge(tool: &Path, target: Target, asan: bool, found: &Path) -> Result<()> {
    let mut merge = fuzz(tool, target, asan);
    merge.arg(corpus(target)).arg(found).arg("--");
    merge.args(["-merge=1", "-use_counters=0", "-max_len=512"]);
    command::run(&mut merge)
}

/// The beginning of a run, up to the directories of its inputs.
fn fuzz(tool: &Path, target: Target, asan: bool) -> Command {
    let mut fuzz = Command::new(tool);
    fuzz.current_dir(workspace::root().join("fuzz")).args(["fuzz", "run"]);
    if asan {
        fuzz.env("RUSTUP_TOOLCHAIN", "nightly").env_remove("CARGO").env_remove("RUSTC");
        fuzz.args(["--sanitizer", "address"]);
    } else {
        fuzz.args(["--sanitizer", "none"]);
    }
    fuzz.arg(target.name());
    fuzz
}
