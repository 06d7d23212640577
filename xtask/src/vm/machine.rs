//! Running a machine to its end, or to the end of patience.

use std::env;
use std::fs::File;
use std::io::{BufRead as _, BufReader, Write as _};
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::mpsc::{Receiver, RecvTimeoutError, channel};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result};

use super::verdict::{MARK, Verdict};

/// An emulated run takes four minutes on an idle machine, the long form ten.
const PATIENCE: Duration = Duration::from_secs(1500);

/// Names the accelerator, `kvm` where that works. Not probed for: on some hosts `/dev/kvm` opens
/// and then hangs.
const ACCELERATOR: &str = "NSP_VM_ACCEL";

/// The kernel's parameters: everything goes to the serial line, and a panic ends the machine.
const PARAMETERS: &str = "console=ttyS0 quiet panic=-1";

/// A kernel, and what it starts with.
pub(crate) struct Machine<'a> {
    /// Its name for people.
    pub(crate) series: &'a str,
    pub(crate) image: &'a Path,
    pub(crate) initramfs: &'a Path,
    /// The file that everything it says is kept in.
    pub(crate) console: &'a Path,
}

impl Machine<'_> {
    /// Boots with these parameters beside its own, and shows the test program's lines as they come.
    pub(crate) fn run(&self, parameters: &str) -> Result<Verdict> {
        let accelerator = env::var(ACCELERATOR).unwrap_or_else(|_| "tcg".to_owned());
        let mut qemu = Command::new("qemu-system-x86_64");
        qemu.args(["-machine", "q35", "-cpu", "max", "-m", "2G", "-smp", "2", "-no-reboot"])
            .args(["-accel", &accelerator, "-nodefaults", "-no-user-config"])
            .args(["-display", "none", "-monitor", "none", "-serial", "stdio"])
            .args(["-append", &format!("{PARAMETERS}{parameters}")])
            .arg("-kernel")
            .arg(self.image)
            .arg("-initrd")
            .arg(self.initramfs)
            .stdin(Stdio::null())
            .stdout(Stdio::piped());
        let mut child = qemu.spawn().context("could not start qemu-system-x86_64")?;
        let (sender, lines) = channel();
        let output = child.stdout.take().context("qemu's output is a pipe")?;
        let reader = thread::spawn(move || {
            // Bytes, not text: the firmware speaks to a terminal.
            for line in BufReader::new(output).split(b'\n').map_while(Result::ok) {
                let text = String::from_utf8_lossy(&line).trim_end().to_owned();
                if sender.send(text).is_err() {
                    break;
                }
            }
        });
        let followed = self.follow(&lines, &mut File::create(self.console)?);
        // Where it ended by itself this finds nothing to kill.
        let _gone = child.kill();
        let status = child.wait()?;
        drop(lines);
        let _reader = reader.join();
        let (mut verdict, in_time) = followed?;
        if !in_time {
            verdict.fail(format!("the machine was ended after {} s", PATIENCE.as_secs()));
        } else if !verdict.is_complete() {
            verdict.fail(format!("the machine ended without a sum (qemu: {status})"));
        }
        Ok(verdict)
    }

    /// Reads to the end of the console; the flag tells whether that came in time.
    fn follow(&self, lines: &Receiver<String>, console: &mut File) -> Result<(Verdict, bool)> {
        let end = Instant::now() + PATIENCE;
        let mut verdict = Verdict::default();
        loop {
            match lines.recv_timeout(end.saturating_duration_since(Instant::now())) {
                Ok(line) => {
                    writeln!(console, "{line}")?;
                    if let Some(told) = line.strip_prefix(MARK) {
                        println!("    {}: {}", self.series, told.trim());
                        verdict.read(told.trim());
                    }
                }
                Err(RecvTimeoutError::Disconnected) => return Ok((verdict, true)),
                Err(RecvTimeoutError::Timeout) => return Ok((verdict, false)),
            }
        }
    }
}
