//! The tier of other kernels, in virtual machines.

use std::time::Instant;

use anyhow::Result;

use super::counts::Counts;
use super::summary::{Outcome, Row};
use super::{Plan, Tier};
use crate::vm;

/// Runs the machines, if `ready` for it.
pub(crate) fn run(ready: &Result<()>, plan: &Plan) -> Row {
    if !vm::RUNS_HERE {
        let why = "the machines are x86_64 ones: run the vm tier there".to_owned();
        return Row::new(Tier::Vm.name(), Outcome::Elsewhere(why));
    }
    println!("==> tests: vm");
    let start = Instant::now();
    let outcome = match (ready, vm::prepare()) {
        (Err(error), _) => Outcome::Broken(format!("{error:#}")),
        (_, Err(error)) => Outcome::NotRun(format!("{error:#}")),
        (Ok(()), Ok(())) => match vm::run(&vm::Extent { full: plan.full, only: &plan.filter }) {
            Ok(vm::Verdict { passed, left_out, failures, .. }) => {
                let failed = failures.len() as u32;
                Outcome::Ran(Counts { passed, failed, ignored: left_out, failures })
            }
            Err(error) => Outcome::Broken(format!("{error:#}")),
        },
    };
    Row { seconds: start.elapsed().as_secs_f64(), ..Row::new(Tier::Vm.name(), outcome) }
}
