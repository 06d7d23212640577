//! Checks with names, and the lines that tell of them.

use std::{
    any::Any,
    env,
    panic::{AssertUnwindSafe, catch_unwind},
    process::ExitCode,
    time::Instant,
};

/// How lines for the machine outside start.
const MARK: &str = "nsp-vm:";

/// What a check's name has in it if it is to be run, one or another; all are when nobody says.
const ONLY: &str = "NSP_VM_ONLY";

/// The checks so far.
pub(crate) struct Report {
    only: Vec<String>,
    passed: u32,
    failed: u32,
}

/// One more line for the machine outside.
pub(crate) fn tell(text: &str) {
    println!("{MARK} {text}");
}

impl Report {
    /// Says where this is.
    pub(crate) fn begin() -> Self {
        let system = rustix::system::uname();
        tell(&format!("kernel {}", system.release().to_string_lossy()));
        let only = env::var(ONLY).unwrap_or_default();
        let only = only.split(',').filter(|it| !it.is_empty()).map(str::to_owned).collect();
        Self { only, passed: 0, failed: 0 }
    }

    /// Whether anybody asked for this check.
    pub(crate) fn wants(&self, name: &str) -> bool {
        self.only.is_empty() || self.only.iter().any(|it| name.contains(it))
    }

    /// Runs a check, which fails by a panic, and says what became of it. False when it failed.
    pub(crate) fn check(&mut self, name: &str, work: impl FnOnce()) -> bool {
        if !self.wants(name) {
            return true;
        }
        let start = Instant::now();
        let outcome = catch_unwind(AssertUnwindSafe(work));
        let seconds = start.elapsed().as_secs_f64();
        match &outcome {
            Ok(()) => {
                self.passed += 1;
                tell(&format!("ok {name} ({seconds:.1} s)"));
            }
            Err(panic) => {
                self.failed += 1;
                // The panic's own message, of many lines maybe, is on the console before this one.
                tell(&format!("FAILED {name}: {}", first_line(panic.as_ref())));
            }
        }
        outcome.is_ok()
    }

    /// Says that a check cannot be made here.
    pub(crate) fn leave_out(&self, name: &str, why: &str) {
        tell(&format!("left out {name}: {why}"));
    }

    /// The sums, and the process's answer.
    pub(crate) fn end(self) -> ExitCode {
        let Self { only: _, passed, failed } = self;
        tell(&format!("{passed} passed, {failed} failed"));
        if failed == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE }
    }
}

fn first_line(panic: &(dyn Any + Send)) -> &str {
    let text = panic.downcast_ref::<String>().map(String::as_str);
    let text = text.or_else(|| panic.downcast_ref::<&str>().copied()).unwrap_or("a panic");
    text.lines().next().unwrap_or(text)
}
