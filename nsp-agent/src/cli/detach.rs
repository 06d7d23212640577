//! `nsp detach`: the host as it was.

use std::path::PathBuf;

use clap::Args;
use serde_json::{Value, json};

use super::{
    Failure, PIN_DIR, STATE_DIR, Socket,
    without_agent::{interfaces, is_gone, record},
};
use crate::{
    control::{ControlError, Request, call},
    daemon::with_sources,
    datapath::{self, DetachError},
};

/// Unhook everything and take away what is pinned. An agent that runs is ended; without one the hooks that it
/// left are taken away all the same. The service manager may start the agent again: stop the unit first.
#[derive(Args, Debug)]
pub(crate) struct Detach {
    #[command(flatten)]
    socket: Socket,
    /// Where the agent pins links and maps
    #[arg(long, value_name = "DIR", env = "NSP_PIN_DIR", default_value = PIN_DIR)]
    pin_dir: PathBuf,
    /// The agent's state, where the history is kept
    #[arg(long, value_name = "DIR", env = "NSP_STATE_DIR", default_value = STATE_DIR)]
    state_dir: PathBuf,
}

impl Detach {
    pub(super) fn run(self) -> Result<(), Failure> {
        match call::<Value>(&self.socket.control, &Request::Detach) {
            Ok(_) => {
                println!("detached");
                Ok(())
            }
            Err(error) if is_gone(&error) => self.without_agent(error),
            Err(error) => Err(error.into()),
        }
    }

    fn without_agent(self, no_agent: ControlError) -> Result<(), Failure> {
        let interfaces = interfaces().map_err(|why| Failure::failed(format!("detach: {why}")))?;
        let directory = super::pin_dir(self.pin_dir);
        let failure = match datapath::detach(directory.as_deref(), &interfaces) {
            Ok(0) => {
                // To start an agent is no cure for this.
                let mut failure = Failure::from(no_agent)
                    .with_cure("--control SOCK and --pin-dir DIR, when the agent has its own");
                if let Some(directory) = directory {
                    failure.message +=
                        &format!("; and nothing is pinned at {}", directory.display());
                }
                return Err(failure);
            }
            Ok(hooks) => {
                let detail = json!({"hooks": hooks, "agent": "none"});
                record(&self.state_dir, "detach", detail, None);
                println!("detached: {hooks} hooks that an agent had left");
                return Ok(());
            }
            Err(error) => error,
        };
        let why = with_sources(&failure);
        Err(match failure {
            DetachError::Taken(_) => {
                let socket = self.socket.control.display();
                Failure::failed(format!("detach: {why}, and does not answer at {socket}"))
                    .with_cure("nsp detach --control SOCK, with the agent's own; or end it first")
            }
            error if error.is_denied() => {
                Failure::needs_privileges(format!("detach: {why}")).with_cure("sudo nsp detach")
            }
            _ => Failure::failed(format!("detach: {why}")),
        })
    }
}
