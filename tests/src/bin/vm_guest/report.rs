//! Checks with names, and the lines that tell of them.

use std::{
    any::Any,
    panic::{AssertUnwindSafe, catch_unwind},
    process::ExitCode,
    time::Instant,
};

/// How lines for the machine outside start.
const MARK: &str = "nsp-vm:";

/// The checks so far.
pub(crate) struct Report {
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
        Self { passed: 0, failed: 0 }
    }

    /// Runs a check, which fails by a panic, and says what became of it.
    pub(crate) fn check(&mut self, name: &str, work: impl FnOnce()) -> bool {
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
        let Self { passed, failed } = self;
        tell(&format!("{passed} passed, {failed} failed"));
        if failed == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE }
    }
}

fn first_line(panic: &(dyn Any + Send)) -> &str {
    let text = panic.downcast_ref::<String>().map(String::as_str);
    let text = text.or_else(|| panic.downcast_ref::<&str>().copied()).unwrap_or("a panic");
    text.lines().next().unwrap_or(text)
}
