//! An agent for one command, where none runs: the same binary as a child, with a policy that says
//! nothing, in a directory that goes with it.

use std::{
    env,
    fs::{self, File},
    os::unix::process::CommandExt as _,
    path::PathBuf,
    process::{Child, Command, Stdio},
    thread,
    time::{Duration, Instant},
};

use clap::Args;
use rustix::process::{Pid, Signal, kill_process};
use tempfile::TempDir;

use super::Failure;

/// Nothing but the session is a resource, and everybody else is left alone.
const POLICY: &str = "[perimeter]\nname = \"exec\"\npublic_network_access = \"enabled\"\n";

/// How long it may take to be ready, and to end.
const READY_WITHIN: Duration = Duration::from_secs(60);
const END_WITHIN: Duration = Duration::from_secs(5);
const STEP: Duration = Duration::from_millis(5);

/// The host's files, for an agent of its own.
#[derive(Args, Clone, Debug)]
pub(super) struct Files {
    /// The host's resolver configuration, for an agent of its own
    #[arg(long, value_name = "FILE", env = "NSP_RESOLV_CONF", default_value = "/etc/resolv.conf")]
    resolv_conf: PathBuf,
    /// The host's own names, for an agent of its own
    #[arg(long, value_name = "FILE", env = "NSP_HOSTS", default_value = "/etc/hosts")]
    hosts: PathBuf,
    /// The host's configuration of names, for an agent of its own
    #[arg(long, value_name = "DIR", env = "NSP_ETC", default_value = "/etc")]
    etc: PathBuf,
}

/// It; dropping it ends it.
pub(super) struct PrivateAgent {
    process: Child,
    directory: TempDir,
}

impl PrivateAgent {
    /// Starts it and waits until it judges.
    pub(super) fn start(files: &Files) -> Result<Self, Failure> {
        let failed = |what: &str| {
            let what = what.to_owned();
            move |error: std::io::Error| Failure::failed(format!("exec: cannot {what}: {error}"))
        };
        let make = || tempfile::Builder::new().prefix("nsp-exec-").tempdir();
        let directory = make().map_err(failed("make a directory for an agent"))?;
        let policy = directory.path().join("policy.toml");
        fs::write(&policy, POLICY).map_err(failed("write a policy"))?;
        let said = File::create(directory.path().join("stderr")).map_err(failed("write"))?;
        let mut command = Command::new(env::current_exe().map_err(failed("find this program"))?);
        for (name, _) in env::vars_os() {
            // What they say is meant for the host's agent.
            if name.to_string_lossy().starts_with("NSP_") {
                command.env_remove(name);
            }
        }
        command.arg("run").arg("--for-parent").arg(std::process::id().to_string());
        command.arg("--policy").arg(policy);
        command.arg("--resolv-conf").arg(&files.resolv_conf).arg("--hosts").arg(&files.hosts);
        command.arg("--etc").arg(&files.etc);
        for (flag, file) in [("--state-dir", "state"), ("--control", "control"), ("--log", "log")] {
            command.arg(flag).arg(directory.path().join(file));
        }
        // Private networks are beyond interfaces that an agent would not choose by itself.
        command.args(["--xdp-mode", "off", "--interface", "*"]);
        // It guards one command, and nothing of it may outlive that.
        command.args(["--pin-dir", "none"]);
        // Whoever boots without the host's perimeter has not asked for a command without its own.
        command.args(["--command-line", "/dev/null"]);
        // Not in the terminal's foreground: it ends when it is told, and not by Ctrl-C.
        command.process_group(0).stdin(Stdio::null()).stdout(Stdio::null()).stderr(said);
        let process = command.spawn().map_err(failed("start an agent"))?;
        let mut agent = Self { process, directory };
        agent.wait_until_ready()?;
        Ok(agent)
    }

    /// Where it listens.
    pub(super) fn control(&self) -> PathBuf {
        self.directory.path().join("control")
    }

    fn wait_until_ready(&mut self) -> Result<(), Failure> {
        let begun = Instant::now();
        while begun.elapsed() < READY_WITHIN {
            let said = self.said();
            if said.lines().any(|line| line == "nsp: ready") {
                return Ok(());
            }
            if self.process.try_wait().is_ok_and(|status| status.is_some()) {
                return Err(why_not(&self.said()));
            }
            thread::sleep(STEP);
        }
        Err(Failure::failed("exec: an agent of its own was not ready in time"))
    }

    fn said(&self) -> String {
        fs::read_to_string(self.directory.path().join("stderr")).unwrap_or_default()
    }
}

/// What an agent that did not start said last, as an error of this verb.
fn why_not(said: &str) -> Failure {
    let after = |prefix: &str| said.lines().rev().find_map(|line| line.strip_prefix(prefix));
    let why = after("nsp: ").unwrap_or("it said nothing");
    let failure = Failure::failed(format!("exec: an agent of its own does not start: {why}"));
    match after("try: ") {
        Some(cure) => failure.with_cure(cure),
        None => failure,
    }
}

impl Drop for PrivateAgent {
    fn drop(&mut self) {
        // It unhooks itself; one that does not is killed, and the kernel unhooks it.
        let _told = kill_process(Pid::from_child(&self.process), Signal::TERM);
        let begun = Instant::now();
        while begun.elapsed() < END_WITHIN {
            match self.process.try_wait() {
                Ok(None) => thread::sleep(STEP),
                _ => return,
            }
        }
        let _killed = self.process.kill();
        let _waited = self.process.wait();
    }
}
