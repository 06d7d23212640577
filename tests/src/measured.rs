//! A command, and what it took.

use std::{
    fs,
    io::{Read as _, Seek as _},
    process::{Command, ExitStatus, Stdio},
    thread,
    time::{Duration, Instant},
};

/// How often the command is looked at: the last growth of its memory may be missed.
const LOOK_INTERVAL: Duration = Duration::from_millis(2);

/// How a command ended and what it took.
#[derive(Debug)]
pub struct Measured {
    /// How it ended.
    pub status: ExitStatus,
    /// What it printed.
    pub stdout: String,
    /// What it said.
    pub stderr: String,
    /// From its start to its end.
    pub took: Duration,
    /// The most memory that it had at a time (`VmHWM`), in bytes.
    pub peak_bytes: u64,
}

/// Runs a command to its end.
///
/// # Panics
/// When it does not start, or prints what is not UTF-8.
pub fn measured(command: &mut Command) -> Measured {
    // Files, since nobody reads while it runs.
    let mut outputs = [(); 2].map(|()| tempfile::tempfile().expect("a temporary file"));
    let [stdout, stderr] =
        outputs.each_ref().map(|it| Stdio::from(it.try_clone().expect("a file")));
    let start = Instant::now();
    let mut child = command.stdout(stdout).stderr(stderr).spawn().expect("the command starts");
    let mut peak_bytes = 0;
    let status = loop {
        if let Some(status) = child.try_wait().expect("a child of ours") {
            break status;
        }
        peak_bytes = peak_bytes.max(peak_of(child.id()));
        thread::sleep(LOOK_INTERVAL);
    };
    let took = start.elapsed();
    let [stdout, stderr] = outputs.each_mut().map(|file| {
        let mut text = String::new();
        file.rewind().expect("a file of ours");
        file.read_to_string(&mut text).expect("UTF-8");
        text
    });
    Measured { status, stdout, stderr, took, peak_bytes }
}

/// The most memory that a process had at a time so far, in bytes; zero if it is gone.
pub fn peak_of(pid: u32) -> u64 {
    peak(&fs::read_to_string(format!("/proc/{pid}/status")).unwrap_or_default())
}

/// `VmHWM` of a `/proc/PID/status`, in bytes.
fn peak(status: &str) -> u64 {
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"));
    let kib = line.and_then(|rest| rest.trim().strip_suffix(" kB"));
    kib.and_then(|kib| kib.parse::<u64>().ok()).map_or(0, |kib| kib << 10)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn memory_that_was_had_for_a_moment_counts() {
        let fill = "x=$(head -c 30000000 /dev/zero | tr '\\0' x); x=; sleep 0.1; echo done >&2";
        let large = measured(Command::new("sh").args(["-c", fill]));
        assert!(large.status.success());
        assert_eq!((large.stdout.as_str(), large.stderr.as_str()), ("", "done\n"));
        assert!(large.peak_bytes > 30_000_000, "{large:?}");
        assert!(large.took >= Duration::from_millis(100), "{large:?}");
        let small = measured(Command::new("sh").args(["-c", "sleep 0.05; echo done"]));
        assert!((1..30_000_000).contains(&small.peak_bytes), "{small:?}");
        assert_eq!(small.stdout, "done\n");
    }
}
