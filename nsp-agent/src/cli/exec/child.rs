//! The command: started, signalled, waited for.

use std::{
    ffi::{OsStr, OsString},
    io,
    os::{
        fd::{AsFd as _, BorrowedFd},
        unix::process::ExitStatusExt as _,
    },
    process::{self, Command, ExitStatus},
    time::Duration,
};

use futures_util::FutureExt as _;
use nix::{
    errno::Errno,
    sys::{
        signal::{SigSet, Signal, kill},
        signalfd::{SfdFlags, SignalFd},
    },
    unistd::Pid,
};
use rustix::{
    event::{PollFd, PollFlags, Timespec, poll},
    process::{PidfdFlags, pidfd_open},
};
use tokio::{
    runtime::Runtime,
    signal::unix::{self, SignalKind},
};

/// What is passed on. What stops and continues is the terminal's affair: it reaches both by itself.
const FORWARDED: [Signal; 7] = [
    Signal::SIGINT,
    Signal::SIGTERM,
    Signal::SIGHUP,
    Signal::SIGQUIT,
    Signal::SIGUSR1,
    Signal::SIGUSR2,
    Signal::SIGWINCH,
];

/// The kernel's own signal, `SI_KERNEL`: a terminal sends it to the whole foreground group, so the
/// command has it already.
const BY_KERNEL: i32 = 0x80;

/// Nothing to do with the command.
const FAILED: u8 = 1;
/// A command that is there and cannot be run, and one that is not there: as shells say it.
const NOT_EXECUTABLE: u8 = 126;
const NOT_FOUND: u8 = 127;
/// Plus the number of the signal that ended it.
const BY_SIGNAL: u8 = 128;

/// How long a command may outlive the agent: one that ends in order has ended its sessions before.
const ORPHAN_TIME: Duration = Duration::from_millis(100);

/// Signals to this process, held back and read one by one.
struct Signals(SignalFd);

impl Signals {
    /// Holds signals back from now on. A child that is started afterwards would inherit that.
    fn hold() -> Result<Self, Errno> {
        let set: SigSet = FORWARDED.into_iter().collect();
        set.thread_block()?;
        SignalFd::with_flags(&set, SfdFlags::SFD_CLOEXEC | SfdFlags::SFD_NONBLOCK).map(Self)
    }

    fn pass_on(&self, to: Pid) {
        while let Ok(Some(about)) = self.0.read_signal() {
            let signal = i32::try_from(about.ssi_signo).ok().and_then(|it| it.try_into().ok());
            if let Some(signal) = signal.filter(|_: &Signal| about.ssi_code != BY_KERNEL) {
                // It is not waited for yet, so the number is its own; it may have ended.
                let _sent = kill(to, signal);
            }
        }
    }
}

/// Signals that come while the command is started: nothing can be held back then, for the command would
/// inherit that; handlers it does not inherit.
struct Early {
    runtime: Runtime,
    heard: Vec<(Signal, unix::Signal)>,
}

impl Early {
    fn listen() -> io::Result<Self> {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        let heard = {
            let _inside = runtime.enter();
            let listen =
                |signal: Signal| Ok((signal, unix::signal(SignalKind::from_raw(signal as i32))?));
            // What is ignored (`nohup`) the command ignores too; a handler would end that.
            let ignored = ignored();
            let wanted = |it: &Signal| ignored >> (*it as i32 - 1) & 1 == 0;
            FORWARDED.into_iter().filter(wanted).map(listen).collect::<io::Result<_>>()?
        };
        Ok(Self { runtime, heard })
    }

    /// Passes on what came.
    fn pass_on(mut self, to: Pid) {
        self.runtime.block_on(async {
            // What a handler noted is told by the runtime, once it has had its turn.
            tokio::time::sleep(Duration::from_millis(1)).await;
            for (signal, heard) in &mut self.heard {
                if heard.recv().now_or_never().is_some() {
                    let _sent = kill(to, *signal);
                }
            }
        });
    }
}

/// The signals that this process ignores, a bit each from SIGHUP on; none where the kernel does not say.
fn ignored() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let bits = status.lines().find_map(|line| line.strip_prefix("SigIgn:"));
    bits.and_then(|bits| u64::from_str_radix(bits.trim(), 16).ok()).unwrap_or(0)
}

/// The command, running.
pub(super) struct Child {
    child: process::Child,
    signals: Signals,
}

/// Starts the command; the exit code and the reason when it does not.
pub(super) fn spawn(program: &OsStr, arguments: &[OsString]) -> Result<Child, (u8, io::Error)> {
    let early = Early::listen().map_err(|error| (FAILED, error))?;
    let mut child = Command::new(program).args(arguments).spawn().map_err(|error| {
        let code = match error.kind() {
            io::ErrorKind::NotFound => NOT_FOUND,
            _ => NOT_EXECUTABLE,
        };
        (code, error)
    })?;
    match Signals::hold() {
        Ok(signals) => {
            early.pass_on(Pid::from_raw(child.id().cast_signed()));
            Ok(Child { child, signals })
        }
        Err(error) => {
            let _killed = child.kill();
            let _waited = child.wait();
            Err((FAILED, error.into()))
        }
    }
}

impl Child {
    /// Ends it.
    pub(super) fn kill(&mut self) {
        // It may have ended by itself.
        let _killed = self.child.kill();
        let _waited = self.child.wait();
    }

    /// Waits for its end, passing signals on; answers its exit code. When the agent goes before it, so
    /// does the perimeter, and the command is ended.
    pub(super) fn wait(&mut self, agent: BorrowedFd<'_>) -> Result<u8, String> {
        let pid = Pid::from_raw(self.child.id().cast_signed());
        let process = rustix::process::Pid::from_child(&self.child);
        let process = pidfd_open(process, PidfdFlags::empty()).map_err(|error| {
            self.kill();
            format!("cannot wait for the command: {error}")
        })?;
        loop {
            let mut files = [
                PollFd::new(&process, PollFlags::IN),
                PollFd::from_borrowed_fd(self.signals.0.as_fd(), PollFlags::IN),
                PollFd::from_borrowed_fd(agent, PollFlags::IN),
            ];
            // A failed wait is a short one: the next round looks again.
            let _woken = poll(&mut files, None);
            let [ended, signalled, agent_spoke] = files.map(|file| !file.revents().is_empty());
            if signalled {
                self.signals.pass_on(pid);
            }
            if ended {
                return self.child.wait().map(code_of).map_err(|error| error.to_string());
            }
            // It has nothing to say before it is asked: this is the end of the connection.
            if agent_spoke {
                // One that ends in order ends its sessions itself.
                let nanoseconds = i64::from(ORPHAN_TIME.subsec_nanos());
                let patience = Timespec { tv_sec: 0, tv_nsec: nanoseconds };
                let _woken = poll(&mut [PollFd::new(&process, PollFlags::IN)], Some(&patience));
                self.kill();
                return Err("the agent ended, and the command with it".to_owned());
            }
        }
    }
}

/// A shell's code for how a process ended.
fn code_of(status: ExitStatus) -> u8 {
    let by_signal = || status.signal().map(|signal| i32::from(BY_SIGNAL) + signal);
    status.code().or_else(by_signal).and_then(|code| u8::try_from(code).ok()).unwrap_or(1)
}
