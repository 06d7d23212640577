//! strace(1) at a running process: which system calls its first thread makes, and what becomes of one of them.
//!
//! It sees what the first thread does and nothing else: the daemon's loop is that thread.

use std::{
    fs,
    path::{Path, PathBuf},
    process::{Command, Stdio},
    time::Duration,
};

use rustix::process::Signal;

use crate::{deadline::Deadline, netns::Process};

/// How long attaching and letting go may take on a busy machine.
const WITHIN: Duration = Duration::from_secs(10);

/// A process that is followed, until this is dropped.
#[derive(Debug)]
pub struct Strace {
    process: Process,
    log: PathBuf,
}

impl Strace {
    /// Follows the calls that `calls` names (as `strace -e trace=`), and does to them what `inject` says:
    /// `signal=SIGKILL:when=3` is the last thing that happens to the process, before its third such call.
    /// Each system call is counted for itself, from now.
    ///
    /// # Panics
    /// Without strace: a test that injects nothing must not look like one that passed.
    pub fn attach(pid: u32, calls: &str, inject: Option<&str>, log: &Path) -> Self {
        let mut command = Command::new("strace");
        command.args(["-q", "-s", "200", "-y", "-p", &pid.to_string()]).arg("-o").arg(log);
        command.args(["-e", &format!("trace={calls}")]);
        if let Some(inject) = inject {
            command.args(["-e", &format!("inject={calls}:{inject}")]);
        }
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::inherit());
        let child = command.spawn().expect("there is no strace here: apt-get install strace");
        let mut process = Process::new(child);
        let attached = Deadline::after(WITHIN).poll(|| {
            let ended = process.status();
            assert!(ended.is_none(), "strace ended: {ended:?}");
            (tracer(pid) == process.pid()).then_some(())
        });
        assert!(attached.is_some(), "strace does not attach to {pid}");
        Self { process, log: log.to_owned() }
    }

    /// Lets go of the process; the calls that it made, a line each, in order.
    ///
    /// # Panics
    /// When strace does not end.
    pub fn calls(mut self) -> Vec<String> {
        self.process.signal(Signal::INT);
        assert!(self.process.wait(WITHIN).is_some(), "strace does not let go");
        let log = fs::read(&self.log).expect("strace made its log");
        let lines = String::from_utf8_lossy(&log);
        lines.lines().filter(|line| line.contains('(')).map(ToOwned::to_owned).collect()
    }
}

/// Who traces a process.
fn tracer(pid: u32) -> u32 {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix("TracerPid:"));
    line.and_then(|pid| pid.trim().parse().ok()).unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use std::os::unix::process::ExitStatusExt as _;

    use super::*;

    fn endless() -> Process {
        let mut command = Command::new("sh");
        command.args(["-c", "while :; do mkdir /proc/none/x 2>/dev/null; sleep 0.01; done"]);
        command.args(["sh"]).stdout(Stdio::null()).stderr(Stdio::null());
        Process::new(command.spawn().unwrap())
    }

    #[test]
    fn privileged_calls_are_seen_and_the_chosen_one_is_the_last() {
        let directory = tempfile::tempdir().unwrap();
        let log = directory.path().join("strace");
        let mut process = endless();
        let watch = Strace::attach(process.pid(), "/^(clone|v?fork)", None, &log);
        std::thread::sleep(Duration::from_millis(300));
        assert!(watch.calls().len() > 1);
        assert!(process.is_running(), "it goes on without strace");
        let inject = Some("signal=SIGKILL:when=2");
        let watch = Strace::attach(process.pid(), "/^(clone|v?fork)", inject, &log);
        assert_eq!(process.wait(WITHIN).and_then(|status| status.signal()), Some(9));
        assert_eq!(watch.calls().len(), 2);
    }
}
