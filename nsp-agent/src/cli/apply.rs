//! `nsp apply` and `nsp mode`: changing what is in force.

use std::io::IsTerminal as _;

use clap::{Args, ValueEnum};

use super::{Failure, PolicyFile, Socket, caller, duration};
use crate::{
    control::{self, Applied, Confirmation, ControlError, Request},
    policy,
    progress::Progress,
};

/// Make a policy the one in force. On any error the one in force stays. Another file than the
/// agent's own is a trial that ends with the agent.
#[derive(Args, Debug)]
pub(crate) struct Apply {
    #[command(flatten)]
    policy: PolicyFile,
    #[command(flatten)]
    socket: Socket,
    /// Also end the live conversations of resources that become enforced
    #[arg(long)]
    strict: bool,
    /// Take it back after this time unless `nsp confirm` comes: the kernel does, whatever becomes of the agent.
    /// At a terminal this is so for what is stricter than before, with 120s
    #[arg(long, value_name = "TIME", value_parser = duration::seconds, conflicts_with = "now")]
    confirm: Option<u64>,
    /// For good at once, also at a terminal
    #[arg(long)]
    now: bool,
    /// Also when this session could not be opened again
    #[arg(long)]
    force: bool,
}

/// How long a change at a terminal waits.
const PATIENCE_S: u64 = 120;

impl Apply {
    pub(super) fn run(self) -> Result<(), Failure> {
        let path = self.policy.absolute()?;
        let progress = Progress::at_terminal();
        progress.begin("the agent reads the policy and puts it in force");
        let confirmation = match self.confirm {
            Some(seconds) => Confirmation::Within { seconds },
            None if !self.now && std::io::stdin().is_terminal() => {
                Confirmation::IfStricter { seconds: PATIENCE_S }
            }
            None => Confirmation::Now,
        };
        let request = Request::Apply {
            applied: Applied {
                path: path.clone(),
                strict: self.strict,
                confirmation,
                caller: caller::find(),
                force: self.force,
            },
        };
        let done: serde_json::Value = match (control::call(&self.socket.control, &request), path) {
            (Err(error @ ControlError::NoAgent { .. }), Some(path)) => {
                // Its mistakes are the same, and need no agent.
                policy::load_shown(&path, &progress)
                    .map_err(|errors| Failure::failed(errors.to_string()))?;
                return Err(error.into());
            }
            (done, _) => done?,
        };
        drop(progress);
        match done["confirmWithin"].as_u64() {
            Some(seconds) => {
                println!(
                    "generation {} is in force for {seconds} s, unless it is confirmed",
                    done["generation"]
                );
                println!("open a new session, and there: nsp confirm (or nsp rollback)");
            }
            None => println!("generation {} is in force", done["generation"]),
        }
        if !done["trial"].is_null() {
            println!("a trial: the agent's own policy file is unchanged");
        }
        Ok(())
    }
}

/// Set a resource's access mode, until the next apply.
#[derive(Args, Debug)]
pub(crate) struct Mode {
    /// The resource, as the policy names it
    resource: String,
    /// The mode
    #[arg(value_enum)]
    mode: AccessMode,
    /// Only what comes in
    #[arg(long, conflicts_with = "outbound")]
    inbound: bool,
    /// Only what goes out
    #[arg(long)]
    outbound: bool,
    #[command(flatten)]
    socket: Socket,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
enum AccessMode {
    /// Judge and log; the host's own firewall decides alone
    Transition,
    /// What the perimeter denies is dropped
    Enforced,
}

impl Mode {
    pub(super) fn run(self) -> Result<(), Failure> {
        let direction = match (self.inbound, self.outbound) {
            (true, _) => Some("inbound".to_owned()),
            (_, true) => Some("outbound".to_owned()),
            _ => None,
        };
        let enforced = matches!(self.mode, AccessMode::Enforced);
        let request = Request::Mode { resource: self.resource.clone(), enforced, direction };
        let done = self.socket.call(&request)?;
        let word = if enforced { "enforced" } else { "transition" };
        println!("{} is {word} (generation {})", self.resource, done["generation"]);
        Ok(())
    }
}
