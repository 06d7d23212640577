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

use anyhow::{Context as _, Result};

use crate::setup::{self, Look, Tool};
use crate::{command, workspace};
use kernel::Kernel;
pub(crate) use verdict::Verdict;

/// The oldest kernel that NSP runs on.
const OLDEST: &str = "6.1";
/// Later ones that bring what the agent uses where it is there: 6.12 has tcx.
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

/// Runs the oldest kernel; with `full` the later ones too, as far as the distribution has them.
pub(crate) fn run(full: bool) -> Result<Verdict> {
    let guest = command::step("vm: build", build_guest)?;
    let later: &[&str] = if full { &LATER } else { &[] };
    let mut verdict = Verdict::default();
    for series in [OLDEST].iter().chain(later) {
        let fetch = || kernel::find(series);
        let kernel = match command::step(&format!("vm: kernel {series}"), fetch) {
            Ok(kernel) => kernel,
            Err(error) if *series != OLDEST => {
                println!("    kernel {series} is left out: {error:#}");
                verdict.left_out += 1;
                continue;
            }
            Err(error) => return Err(error),
        };
        let told = command::step(&format!("vm: {}", kernel.package), || boot(&kernel, &guest))?;
        verdict.add(&kernel.package, told);
    }
    Ok(verdict)
}

/// One machine, from its initramfs to its last line.
fn boot(kernel: &Kernel, guest: &Path) -> Result<Verdict> {
    let initramfs = initramfs::make(kernel, guest)?;
    let console = kernel.directory.join("console.txt");
    let verdict = machine::run(&kernel.image, &initramfs, &console)?;
    if !verdict.is_good() {
        println!("    the whole console: {}", console.display());
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
