//! What the program inside a machine said.

/// How its lines start (`tests/src/bin/vm_guest`).
pub(crate) const MARK: &str = "nsp-vm:";

/// Checks by outcome.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Verdict {
    pub(crate) passed: u32,
    pub(crate) left_out: u32,
    /// What failed, with the reason.
    pub(crate) failures: Vec<String>,
    /// The sums it ended with.
    sums: Option<(u32, u32)>,
}

impl Verdict {
    /// Takes in what stands behind the mark of one line.
    pub(crate) fn read(&mut self, line: &str) {
        if line.starts_with("ok ") {
            self.passed += 1;
        } else if line.starts_with("left out ") {
            self.left_out += 1;
        } else if let Some(failure) = line.strip_prefix("FAILED ") {
            self.fail(failure.to_owned());
        } else if let Some(sums) = sums(line) {
            self.sums = Some(sums);
        }
    }

    /// One more failure.
    pub(crate) fn fail(&mut self, why: String) {
        self.failures.push(why);
    }

    /// Takes in the verdict of a whole machine.
    pub(crate) fn add(&mut self, machine: &str, other: Self) {
        let Self { passed, left_out, failures, sums: _ } = other;
        self.passed += passed;
        self.left_out += left_out;
        self.failures.extend(failures.into_iter().map(|it| format!("{machine}: {it}")));
    }

    /// Whether nothing failed.
    pub(crate) fn is_good(&self) -> bool {
        self.failures.is_empty()
    }

    /// Whether it came to its end, and no line of it was lost on the way.
    pub(crate) fn is_complete(&self) -> bool {
        // A module that cannot be loaded is a failure that the program does not know of.
        self.sums.is_some_and(|(passed, failed)| {
            passed == self.passed && failed as usize <= self.failures.len()
        })
    }
}

/// The numbers of `9 passed, 0 failed`.
fn sums(line: &str) -> Option<(u32, u32)> {
    let (passed, failed) = line.split_once(" passed, ")?;
    Some((passed.parse().ok()?, failed.strip_suffix(" failed")?.parse().ok()?))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn told(lines: &[&str]) -> Verdict {
        let mut verdict = Verdict::default();
        for line in lines {
            verdict.read(line);
        }
        verdict
    }

    #[test]
    fn lines_are_counted_by_outcome() {
        let verdict = told(&[
            "kernel 6.1.0-54-cloud-amd64",
            "verified nsp_xdp 128489 instructions",
            "ok programs (14.0 s)",
            "left out VLAN: this kernel has no such device",
            "FAILED explain: not Drop",
            "1 passed, 1 failed",
        ]);
        assert_eq!((verdict.passed, verdict.left_out), (1, 1));
        assert_eq!(verdict.failures, ["explain: not Drop"]);
        assert!(verdict.is_complete() && !verdict.is_good());
    }

    #[test]
    fn a_machine_that_dies_is_not_complete() {
        assert!(!told(&["ok programs (14.0 s)"]).is_complete());
        assert!(!told(&["ok programs (14.0 s)", "9 passed, 0 failed"]).is_complete());
    }
}
