//! A child process that cannot outlive its handle.

use std::{
    io::Read,
    os::unix::process::ExitStatusExt as _,
    process::{Child, ChildStderr, ChildStdin, ChildStdout, ExitStatus, Output},
    thread,
    time::Duration,
};

use rustix::process::{Pid, Signal, kill_process};

use crate::deadline::Deadline;

/// A running (or ended) child, killed and waited for on drop.
#[derive(Debug)]
pub struct Process {
    child: Child,
    ended: Option<ExitStatus>,
}

impl Process {
    /// Takes charge of a child.
    pub fn new(child: Child) -> Self {
        Self { child, ended: None }
    }

    /// Its pid.
    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Its standard input, once, if it is a pipe.
    pub fn stdin(&mut self) -> Option<ChildStdin> {
        self.child.stdin.take()
    }

    /// Its standard output, once, if it is a pipe.
    pub fn stdout(&mut self) -> Option<ChildStdout> {
        self.child.stdout.take()
    }

    /// Its standard error, once, if it is a pipe.
    pub fn stderr(&mut self) -> Option<ChildStderr> {
        self.child.stderr.take()
    }

    /// Whether it has not ended yet.
    pub fn is_running(&mut self) -> bool {
        self.status().is_none()
    }

    /// How it ended, if it has.
    pub fn status(&mut self) -> Option<ExitStatus> {
        if self.ended.is_none() {
            self.ended = self.child.try_wait().expect("a child of ours can be asked");
        }
        self.ended
    }

    /// Sends a signal, unless it has ended.
    pub fn signal(&mut self, signal: Signal) {
        // Until it is waited for the pid stays its own, so the signal reaches nobody else.
        if self.is_running() {
            let pid = Pid::from_child(&self.child);
            kill_process(pid, signal).expect("a child of ours can be signalled");
        }
    }

    /// Waits for its end; `None` when the time is over and it still runs.
    pub fn wait(&mut self, timeout: Duration) -> Option<ExitStatus> {
        Deadline::after(timeout).poll(|| self.status())
    }

    /// SIGTERM, then SIGKILL when the grace is over.
    pub fn stop(&mut self, grace: Duration) -> ExitStatus {
        self.signal(Signal::TERM);
        match self.wait(grace) {
            Some(status) => status,
            None => self.kill(),
        }
    }

    /// SIGKILL, and the end.
    pub fn kill(&mut self) -> ExitStatus {
        self.signal(Signal::KILL);
        self.wait(Duration::from_secs(10)).expect("a killed process ends within ten seconds")
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        if self.ended.is_none() {
            // No assertions here: a panic during a panic would hide the first one.
            let _ = self.child.kill();
            let _ = self.child.wait();
        }
    }
}

/// Both outputs and the status of a process that is to end by itself.
///
/// # Panics
/// When it does not end in time; it is killed then.
pub(crate) fn run_to_end(mut process: Process, timeout: Duration) -> Output {
    let (stdout, stderr) = (process.stdout(), process.stderr());
    thread::scope(|scope| {
        // The pipes are drained while it runs: a full one would stop it.
        let stdout = scope.spawn(move || drain(stdout));
        let stderr = scope.spawn(move || drain(stderr));
        let ended = process.wait(timeout);
        // Killed before the join, else the readers would wait for it.
        let status = ended.unwrap_or_else(|| process.kill());
        let stdout = stdout.join().expect("a reader does not panic");
        let stderr = stderr.join().expect("a reader does not panic");
        let text = String::from_utf8_lossy(&stderr);
        assert!(
            ended.is_some(),
            "a command did not end within {timeout:?} (killed: {:?}): {text}",
            status.signal(),
        );
        Output { status, stdout, stderr }
    })
}

fn drain(pipe: Option<impl Read>) -> Vec<u8> {
    let mut bytes = Vec::new();
    if let Some(mut pipe) = pipe {
        // What was read before an error is still worth showing.
        let _ = pipe.read_to_end(&mut bytes);
    }
    bytes
}

#[cfg(test)]
mod tests {
    use std::process::{Command, Stdio};

    use super::*;

    fn shell(script: &str) -> Process {
        let mut command = Command::new("sh");
        command.args(["-c", script]).stdout(Stdio::piped()).stderr(Stdio::piped());
        Process::new(command.spawn().unwrap())
    }

    #[test]
    fn output_and_status_are_kept() {
        let output = run_to_end(shell("echo out; echo err >&2; exit 3"), Duration::from_secs(5));
        assert_eq!(output.status.code(), Some(3));
        assert_eq!((&output.stdout[..], &output.stderr[..]), (&b"out\n"[..], &b"err\n"[..]));
    }

    #[test]
    #[should_panic(expected = "did not end within")]
    fn command_that_hangs_is_killed() {
        run_to_end(shell("exec sleep 60"), Duration::from_millis(50));
    }

    #[test]
    fn deaf_process_is_killed_after_its_grace() {
        let mut process = shell("trap '' TERM; echo deaf; while :; do sleep 0.05; done");
        let mut ready = [0; 5];
        process.stdout().unwrap().read_exact(&mut ready).unwrap();
        let status = process.stop(Duration::from_millis(100));
        assert_eq!(status.signal(), Some(9));
        assert!(!process.is_running());
    }

    #[test]
    fn drop_ends_the_process() {
        let process = shell("exec sleep 60");
        let path = format!("/proc/{}", process.pid());
        drop(process);
        assert!(!std::path::Path::new(&path).exists());
    }
}
