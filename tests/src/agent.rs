//! The `nsp` binary in a namespace: the daemon, and the verbs that talk to it.
//!
//! ```no_run
//! # use nsp_tests::{agent::Agent, netns::World};
//! let world = World::new();
//! let mut agent = Agent::builder(world.server()).policy("version = 1").start();
//! assert!(agent.nsp(&["status"]).status.success());
//! agent.kill(); // as the kernel would: nothing is tidied up
//! agent.start();
//! ```

mod binary;
mod builder;
mod home;
mod stderr;

use std::{
    ffi::OsString,
    fs::{self, File},
    path::{Path, PathBuf},
    process::{Command, ExitStatus, Output, Stdio},
    time::Duration,
};

use rustix::process::Signal;

use self::stderr::Lines;
pub use self::{binary::nsp_binary, builder::AgentBuilder, home::Home};
use crate::{
    deadline::Deadline,
    netns::{Namespace, Process},
};

/// The line by which the daemon says that both directions are attached and tested.
const READY: &str = "nsp: ready";

/// How long the daemon may take to end by itself.
const GRACE: Duration = Duration::from_secs(5);

/// An agent of one test: its directories, and the daemon if it runs. Dropping it ends the daemon
/// (SIGTERM, SIGKILL after five seconds) and removes what it pinned.
#[derive(Debug)]
pub struct Agent {
    // Dropped in this order: the process before the directories and the bpffs it uses.
    running: Option<Process>,
    lines: Lines,
    binary: PathBuf,
    how: AgentBuilder,
    home: Home,
}

/// The daemon ended, or stayed silent, before it was ready.
#[derive(Debug)]
pub struct NotReady {
    /// How it ended; `None` when it was still running and was killed.
    pub status: Option<ExitStatus>,
    /// What it had said on standard error.
    pub stderr: String,
}

impl Agent {
    /// An agent for this namespace that covers `up0`.
    pub fn builder(namespace: &Namespace) -> AgentBuilder {
        AgentBuilder::new(namespace)
    }

    /// Starts the daemon, for the first time or again with the same directories.
    ///
    /// # Panics
    /// When it does not become ready; the message has its standard error.
    pub fn start(&mut self) {
        if let Err(NotReady { status, stderr }) = self.try_start() {
            panic!("the agent did not become ready ({status:?}):\n{stderr}");
        }
    }

    /// Starts the daemon again, with other arguments than before.
    ///
    /// # Panics
    /// As [`start`](Self::start).
    pub fn restart_with(&mut self, arguments: &[&str]) {
        self.how = self.how.clone().arguments(arguments);
        self.start();
    }

    /// Starts the daemon again, by another binary.
    ///
    /// # Panics
    /// As [`start`](Self::start).
    pub fn restart_by(&mut self, binary: &Path) {
        binary.clone_into(&mut self.binary);
        self.start();
    }

    /// Starts the daemon and ends it without a word after this time, ready or not.
    pub fn start_and_kill(&mut self, after: Duration) {
        assert!(self.running.is_none(), "the agent runs already");
        let mut process = self.how.namespace.spawn(&mut self.run_command());
        self.lines = Lines::of(process.stderr().expect("standard error is a pipe"));
        std::thread::sleep(after);
        process.kill();
    }

    /// The same for a start that may be refused.
    pub fn try_start(&mut self) -> Result<(), NotReady> {
        assert!(self.running.is_none(), "the agent runs already");
        let mut process = self.how.namespace.spawn(&mut self.run_command());
        self.lines = Lines::of(process.stderr().expect("standard error is a pipe"));
        let running = Deadline::after(self.how.ready_within).poll(|| {
            let ended = process.status();
            if self.lines.any(|line| line == READY) { Some(Ok(())) } else { ended.map(Err) }
        });
        let status = match running {
            Some(Ok(())) => {
                self.running = Some(process);
                return Ok(());
            }
            Some(Err(status)) => Some(status),
            None => None,
        };
        drop(process);
        Err(NotReady { status, stderr: self.lines.finished() })
    }

    /// Runs a verb in the agent's namespace, with its directories in the environment.
    ///
    /// # Panics
    /// When it does not end within ten seconds.
    pub fn nsp(&self, arguments: &[&str]) -> Output {
        self.how.namespace.output(&mut self.verb(arguments))
    }

    /// The same, with more in its environment.
    ///
    /// # Panics
    /// As [`nsp`](Self::nsp).
    pub fn nsp_with(&self, environment: &[(&str, &str)], arguments: &[&str]) -> Output {
        self.how.namespace.output(self.verb(arguments).envs(environment.iter().copied()))
    }

    /// A verb that goes on by itself (`logs -f`), killed when its handle is dropped.
    pub fn spawn_nsp(&self, arguments: &[&str]) -> Process {
        let mut command = self.verb(arguments);
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
        self.how.namespace.spawn(&mut command)
    }

    /// The standard output of a verb that succeeds.
    ///
    /// # Panics
    /// When it does not; the message has both outputs.
    pub fn nsp_ok(&self, arguments: &[&str]) -> String {
        let Output { status, stdout, stderr } = self.nsp(arguments);
        let (stdout, stderr) = (String::from_utf8_lossy(&stdout), String::from_utf8_lossy(&stderr));
        assert!(
            status.success(),
            "nsp {}: {status}\n{stdout}{stderr}--- the daemon said ---\n{}",
            arguments.join(" "),
            self.stderr(),
        );
        stdout.into_owned()
    }

    /// Replaces the policy file in one step; the daemon is told by `nsp apply`, SIGHUP or not.
    pub fn write_policy(&self, text: &str) {
        let draft = self.home.policy().with_extension("draft");
        fs::write(&draft, text).expect("a directory of ours is writable");
        fs::rename(&draft, self.home.policy()).expect("both are in the same directory");
    }

    /// The daemon, while it runs: for signals and its pid.
    ///
    /// # Panics
    /// When it does not run.
    pub fn process(&mut self) -> &mut Process {
        self.running.as_mut().expect("the agent runs")
    }

    /// Whether the daemon runs.
    pub fn is_running(&mut self) -> bool {
        self.running.as_mut().is_some_and(Process::is_running)
    }

    /// Ends the daemon as systemd would: SIGTERM, then SIGKILL after five seconds. What it pinned
    /// stays.
    pub fn stop(&mut self) -> ExitStatus {
        let status = self.process().stop(GRACE);
        self.running = None;
        status
    }

    /// Ends the daemon without a word. What it pinned stays.
    pub fn kill(&mut self) -> ExitStatus {
        let status = self.process().kill();
        self.running = None;
        status
    }

    /// What the daemon has said on standard error since its last start.
    pub fn stderr(&self) -> String {
        self.lines.text()
    }

    /// Whether the daemon says (or has said) a line with `text` in it before the time is over.
    pub fn says(&self, text: &str, within: Duration) -> bool {
        let said = || self.lines.any(|line| line.contains(text)).then_some(());
        Deadline::after(within).poll(said).is_some()
    }

    /// The access log so far; empty when there is none.
    pub fn access_log(&self) -> String {
        fs::read_to_string(self.home.log()).unwrap_or_default()
    }

    /// Its directories and files.
    pub fn home(&self) -> &Home {
        &self.home
    }

    fn at(home: Home, binary: PathBuf, how: AgentBuilder) -> Self {
        Self { running: None, lines: Lines::default(), binary, how, home }
    }

    fn run_command(&self) -> Command {
        let how = &self.how;
        let mut words = how.through.iter().cloned().chain([OsString::from(&self.binary)]);
        let mut command = Command::new(words.next().expect("at least the binary"));
        command.args(words).arg("run");
        for (flag, path) in self.home.flags() {
            let is_none = flag == "--pin-dir" && !how.is_pinned;
            command.arg(flag).arg(if is_none { PathBuf::from("none") } else { path });
        }
        for interface in &how.interfaces {
            command.args(["--interface", interface]);
        }
        command.args(&how.arguments);
        let stdout = File::create(self.home.stdout()).expect("a directory of ours is writable");
        command.stdin(Stdio::null()).stdout(stdout).stderr(Stdio::piped());
        home::clear_environment(&mut command);
        command
    }

    fn verb(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(&self.binary);
        home::clear_environment(&mut command);
        command.args(arguments).envs(self.home.environment());
        command
    }
}

impl Drop for Agent {
    fn drop(&mut self) {
        if let Some(mut process) = self.running.take() {
            process.signal(Signal::TERM);
            // Whether it ended or not: dropping the process kills it.
            let _ = process.wait(GRACE);
        }
    }
}

#[cfg(test)]
mod tests;
