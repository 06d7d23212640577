//! Other kernels than the one at hand, in virtual machines: does the oldest supported one take the
//! programs, and do they judge there?
//!
//! A machine is a kernel of the distribution, unpacked and not installed, with an initramfs that
//! holds one test program. By default it is emulated, which needs neither root nor `/dev/kvm`.

mod initramfs;
mod kernel;
mod machine;
mod modules;
mod verdict;

use std::path::{Path, PathBuf};
use std::thread;

use anyhow::{Context as _, Result};

use crate::setup::{self, Look, Tool};
use crate::{command, workspace};
use kernel::Kernel;
use machine::Machine;
pub(crate) use verdict::Verdict;

/// The oldest kernel that NSP runs on.
const OLDEST: &str = "6.1";
/// Later ones that bring what the agent uses where it is there: 6.12 has tcx. Left out where the distribution
/// does not have them.
const LATER: [&str; 1] = ["6.12"];

/// What a machine is made with.
const TOOLS: [Tool; 4] = [
    Tool {
        look: Look::Command("qemu-system-x86_64"),
        package: "qemu-system-x86",
        why: "runs other kernels, emulated (large)",
        optional: false,
    },
    Tool {
        look: Look::Command("busybox"),
        package: "busybox-static",
        why: "mounts and loads modules inside",
        optional: false,
    },
    Tool {
        look: Look::Command("cpio"),
        package: "cpio",
        why: "packs what the kernel starts with",
        optional: false,
    },
    Tool {
        look: Look::Command("xz"),
        package: "xz-utils",
        why: "unpacks kernel modules",
        optional: false,
    },
];

/// Whether a machine of this architecture can run them.
pub(crate) const RUNS_HERE: bool = cfg!(target_arch = "x86_64");

/// Makes sure that this machine has what the others are made with.
pub(crate) fn prepare() -> Result<()> {
    setup::ensure(&TOOLS)
}

/// How much is run.
pub(crate) struct Extent<'a> {
    /// The long form of each test.
    pub(crate) full: bool,
    /// Only tests with one of these in their names, if there are any.
    pub(crate) only: &'a [String],
}

impl Extent<'_> {
    /// The same for the program inside, as parameters of the kernel. Those that it does not know are the first
    /// program's environment.
    fn parameters(&self) -> String {
        let mut words = String::new();
        if self.full {
            words += " NSP_TEST_FULL=1";
        }
        // Options are the test harness's, and a blank would end the parameter.
        let only = self.only.iter().filter(|it| !it.starts_with('-') && !it.contains(' '));
        let only: Vec<&str> = only.map(String::as_str).collect();
        if !only.is_empty() {
            words += &format!(" NSP_VM_ONLY={}", only.join(","));
        }
        words
    }
}

/// Boots every kernel of the matrix, all at once: one machine seldom uses two processors.
pub(crate) fn run(extent: &Extent<'_>) -> Result<Verdict> {
    let guest = command::step("vm: build", build_guest)?;
    let mut verdict = Verdict::default();
    let mut kernels = Vec::new();
    for series in [OLDEST].iter().chain(&LATER) {
        let fetch = || kernel::find(series);
        match command::step(&format!("vm: kernel {series}"), fetch) {
            Ok(kernel) => kernels.push((*series, kernel)),
            Err(error) if *series != OLDEST => {
                println!("    kernel {series} is left out: {error:#}");
                verdict.left_out += 1;
            }
            Err(error) => return Err(error),
        }
    }
    let names: Vec<&str> = kernels.iter().map(|(_, kernel)| &*kernel.package).collect();
    let told = command::step(&format!("vm: {}", names.join(", ")), || {
        thread::scope(|scope| {
            let boot = |(series, kernel)| {
                let guest = &guest;
                scope.spawn(move || boot(series, kernel, guest, extent))
            };
            let machines: Vec<_> = kernels.iter().map(|(series, it)| boot((series, it))).collect();
            let told = machines.into_iter().map(|it| it.join().expect("a machine is watched"));
            told.collect::<Result<Vec<_>>>()
        })
    })?;
    for ((series, _), told) in kernels.iter().zip(told) {
        verdict.add(series, told);
    }
    Ok(verdict)
}

/// One machine, from its initramfs to its last line.
fn boot(series: &str, kernel: &Kernel, guest: &Path, extent: &Extent<'_>) -> Result<Verdict> {
    let initramfs = initramfs::make(kernel, guest)?;
    let console = kernel.directory.join("console.txt");
    let machine =
        Machine { series, image: &kernel.image, initramfs: &initramfs, console: &console };
    let verdict = machine.run(&extent.parameters())?;
    if !verdict.is_good() {
        println!("    {series}: the whole console: {}", console.display());
    }
    Ok(verdict)
}

/// The program that runs inside, with the kernel programs in it.
fn build_guest() -> Result<PathBuf> {
    let mut cargo = command::cargo();
    command::run(cargo.args(["build", "--package", "nsp-tests", "--bin", "vm_guest"]))?;
    let guest = workspace::target().join("debug/vm_guest");
    guest.canonicalize().with_context(|| guest.display().to_string())
}

/// Where kernels are unpacked.
fn directory() -> PathBuf {
    workspace::target().join("vm")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn extent_is_told_in_words_that_the_kernel_hands_on() {
        let told = |full, only: &[&str]| {
            let only: Vec<String> = only.iter().map(ToString::to_string).collect();
            Extent { full, only: &only }.parameters()
        };
        assert_eq!(told(false, &[]), "");
        assert_eq!(told(true, &[]), " NSP_TEST_FULL=1");
        let filtered = told(false, &["killed", "two words", "TC", "--nocapture"]);
        assert_eq!(filtered, " NSP_VM_ONLY=killed,TC");
    }
}
