//! What the virtual machine of `cargo xtask test vm` runs: do the kernel programs load on this
//! kernel, do they judge built packets right, do they judge what goes over real devices, does the
//! perimeter outlive its agent, and does the agent hinder nobody who bonds links?
//!
//! It needs root and nothing else, so it runs on the development machine as well. Every line that
//! the machine outside reads starts with `report::MARK`; the last one has the sums.

mod bonds;
mod devices;
mod explain;
mod outlive;
mod packets;
mod programs;
mod report;

use std::{env, process::ExitCode};

use nsp_tests::prog::Hook;
use report::Report;

fn main() -> ExitCode {
    // The agent of its own tests.
    if env::args_os().len() > 1 {
        return nsp_agent::cli::main();
    }
    let mut report = Report::begin();
    // Everything after it needs the programs.
    if report.check("programs", programs::load) {
        for (name, hook) in [
            ("packets at XDP", Hook::Xdp),
            ("packets at TC", Hook::Tc),
            ("bare packets", Hook::Bare),
        ] {
            report.check(name, || packets::judge(hook));
        }
        report.check("explain", explain::ask);
        report.check("new generation", packets::another_generation);
        for device in &devices::ALL {
            device.check(&mut report);
        }
        outlive::check(&mut report);
        bonds::check(&mut report);
    }
    report.end()
}
