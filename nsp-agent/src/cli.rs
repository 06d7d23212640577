//! The verbs of the `nsp` command, one file each.
//!
//! Exit codes are a contract: 0 done, 1 failed or refused, 2 usage, 3 needs privileges. Errors go to
//! stderr as `nsp: <what>: <why>`, with a line `try: ...` where there is a cure.

mod apply;
mod caller;
mod check;
mod confirm;
mod detach;
mod duration;
mod exec;
mod explain;
mod flows;
mod history;
mod init;
mod logs;
mod off;
mod overlay;
mod plan;
mod run;
mod status;
mod without_agent;

use std::{path::PathBuf, process::ExitCode};

use clap::{Args, Parser, Subcommand};
use serde::de::DeserializeOwned;

use crate::control::{self, ControlError, Request};

/// A network security perimeter for this host: members talk freely, public traffic across the
/// boundary is denied unless an access rule allows it, and every decision is logged with its rule.
#[derive(Debug, Parser)]
#[command(name = "nsp", version, max_term_width = 100)]
pub struct Cli {
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Debug, Subcommand)]
enum Verb {
    /// Look at this host and write a first policy, all in transition
    Init(init::Init),
    /// Run the agent in the foreground
    Run(run::Run),
    /// Read and compile a policy, and say what it admits; touches nothing
    Check(check::Check),
    /// Show what applying a policy would change, and which live flows it would cut
    Plan(plan::Plan),
    /// Make a policy the one in force
    Apply(apply::Apply),
    /// Keep a change that waits to be confirmed
    Confirm(confirm::Confirm),
    /// Take back a change that waits to be confirmed
    Rollback(confirm::Rollback),
    /// Set a resource's access mode, until the next apply
    Mode(apply::Mode),
    /// Show modes, interfaces, flows, counters, names and what is wrong
    Status(status::Status),
    /// Say what would happen to a packet, by which rule, and why
    Explain(explain::Explain),
    /// Run a command inside a perimeter of its own
    Exec(exec::Exec),
    /// Show the access log
    Logs(logs::Logs),
    /// Show what was changed, by whom, and what came of it
    History(history::History),
    /// Show live public conversations, or cut them
    Flows(flows::Flows),
    /// Allow a prefix or a name for a time
    Allow(overlay::Allow),
    /// Block a prefix or a name for a time, live conversations included
    Block(overlay::Block),
    /// Break-glass: nothing is judged until `nsp on`, over restarts and boots
    Off(off::Off),
    /// Judge again after `nsp off`
    On(off::On),
    /// Take the hooks and all that is pinned away, whether an agent runs or not
    Detach(detach::Detach),
}

/// Where the kernel's side is pinned when nobody says otherwise.
const PIN_DIR: &str = "/sys/fs/bpf/nsp";

/// Where state is kept when nobody says otherwise.
const STATE_DIR: &str = "/var/lib/nsp";

/// The pin directory that a flag names; "none" is none.
fn pin_dir(flag: PathBuf) -> Option<PathBuf> {
    (flag.as_os_str() != "none").then_some(flag)
}

/// Where the agent listens.
#[derive(Args, Clone, Debug)]
pub(crate) struct Socket {
    /// The agent's control socket
    #[arg(long, value_name = "SOCK", env = "NSP_CONTROL", default_value = "/run/nsp/control")]
    control: PathBuf,
}

/// Which policy, where the agent's own is meant when none is named.
#[derive(Args, Clone, Debug)]
pub(crate) struct PolicyFile {
    /// The policy file, or a directory of *.toml files; without: the running agent's own
    #[arg(value_name = "FILE", env = "NSP_POLICY")]
    file: Option<PathBuf>,
}

impl PolicyFile {
    /// The file with an absolute path, as the daemon needs it.
    fn absolute(&self) -> Result<Option<PathBuf>, Failure> {
        let absolute = |file: &PathBuf| {
            std::path::absolute(file).map_err(|error| Failure::failed(format!("{error}")))
        };
        self.file.as_ref().map(absolute).transpose()
    }
}

/// Why a verb did not do what was asked.
#[derive(Debug)]
pub struct Failure {
    code: u8,
    message: String,
    cure: Option<String>,
}

impl Failure {
    fn failed(message: impl Into<String>) -> Self {
        Self { code: 1, message: message.into(), cure: None }
    }

    fn needs_privileges(message: impl Into<String>) -> Self {
        Self { code: 3, message: message.into(), cure: None }
    }

    fn with_cure(mut self, cure: impl Into<String>) -> Self {
        self.cure = Some(cure.into());
        self
    }
}

impl From<ControlError> for Failure {
    fn from(error: ControlError) -> Self {
        let text = crate::daemon::with_sources(&error);
        match &error {
            ControlError::NoAgent { source, .. }
                if source.kind() == std::io::ErrorKind::PermissionDenied =>
            {
                Self::needs_privileges(text)
                    .with_cure("sudo nsp …, or join the group of the socket")
            }
            ControlError::NotRoot => Self::needs_privileges(text).with_cure("sudo nsp …"),
            ControlError::NoAgent { .. } => {
                Self::failed(text).with_cure("systemctl start nsp, or nsp run --policy FILE")
            }
            ControlError::Broken(source) if source.kind() == std::io::ErrorKind::TimedOut => {
                Self::failed(text).with_cure(
                    "systemctl restart nsp, which leaves no gap; nsp off opens the host without it",
                )
            }
            _ => Self::failed(text),
        }
    }
}

impl Socket {
    fn call(&self, request: &Request) -> Result<serde_json::Value, Failure> {
        self.ask(request)
    }

    fn ask<T: DeserializeOwned>(&self, request: &Request) -> Result<T, Failure> {
        Ok(control::call(&self.control, request)?)
    }
}

/// Runs the command line; the process exits with what comes back.
pub fn main() -> ExitCode {
    let cli = match Cli::try_parse() {
        Ok(cli) => cli,
        Err(error) => {
            // A help text that cannot be printed helps nobody.
            let _printed = error.print();
            return if error.use_stderr() { ExitCode::from(2) } else { ExitCode::SUCCESS };
        }
    };
    if !matches!(cli.verb, Verb::Run(_) | Verb::Exec(_)) {
        // A reader that has seen enough ends the verb without a word. The daemon must outlive its log's,
        // and a command its verb's.
        sigpipe::reset();
    }
    let done = match cli.verb {
        Verb::Init(verb) => verb.run(),
        Verb::Run(verb) => verb.run(),
        Verb::Check(verb) => verb.run(),
        Verb::Plan(verb) => verb.run(),
        Verb::Apply(verb) => verb.run(),
        Verb::Confirm(verb) => verb.run(),
        Verb::Rollback(verb) => verb.run(),
        Verb::Mode(verb) => verb.run(),
        Verb::Status(verb) => verb.run(),
        Verb::Explain(verb) => verb.run(),
        Verb::Exec(verb) => match verb.run() {
            Ok(code) => return code,
            Err(failure) => Err(failure),
        },
        Verb::Logs(verb) => verb.run(),
        Verb::History(verb) => verb.run(),
        Verb::Flows(verb) => verb.run(),
        Verb::Allow(verb) => verb.run(),
        Verb::Block(verb) => verb.run(),
        Verb::Off(verb) => verb.run(),
        Verb::On(verb) => verb.run(),
        Verb::Detach(verb) => verb.run(),
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => {
            // Diagnostics of a policy are complete in themselves.
            if failure.message.starts_with("nsp: ") {
                eprintln!("{}", failure.message.trim_end());
            } else {
                eprintln!("nsp: {}", failure.message.trim_end());
            }
            if let Some(cure) = failure.cure {
                eprintln!("try: {cure}");
            }
            ExitCode::from(failure.code)
        }
    }
}

/// Prints a value as JSON, for `--json`.
fn print_json(value: &serde_json::Value) {
    println!("{value:#}");
}

/// The text of a JSON string, or a dash.
fn text(value: &serde_json::Value) -> &str {
    value.as_str().unwrap_or("-")
}
