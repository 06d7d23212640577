//! `nsp off` and `nsp on`: break-glass.

use std::{
    io,
    path::{Path, PathBuf},
    time::Duration,
};

use clap::Args;
use serde_json::{Value, json};

use super::{Failure, PIN_DIR, STATE_DIR, Socket, duration, text, without_agent};
use crate::{
    control::{Client, ControlError, Request, call, call_within},
    daemon::with_sources,
    datapath,
    switch::{Switch, Touch},
};

/// How long an agent may take to do it. Who asks for this has no time for one that hangs.
const PATIENCE: Duration = Duration::from_secs(5);

/// Where the switch and the hooks are.
#[derive(Args, Debug)]
struct Places {
    #[command(flatten)]
    socket: Socket,
    /// State that outlives the agent; the switch is there
    #[arg(long, value_name = "DIR", env = "NSP_STATE_DIR", default_value = STATE_DIR)]
    state_dir: PathBuf,
    /// Where the agent pins links and maps
    #[arg(long, value_name = "DIR", env = "NSP_PIN_DIR", default_value = PIN_DIR)]
    pin_dir: PathBuf,
}

/// Take all hooks away and keep them away, whether an agent runs, hangs or is gone: nothing is judged until
/// `nsp on`, over restarts and boots. The policy, open conversations and names stay known.
#[derive(Args, Debug)]
pub(crate) struct Off {
    #[command(flatten)]
    places: Places,
    /// On again by itself after so long, if an agent runs then
    #[arg(long = "for", value_name = "TIME", value_parser = duration::seconds)]
    seconds: Option<u64>,
}

/// Put the hooks back after `nsp off`. Conversations that began meanwhile are kept, as at a first start.
#[derive(Args, Debug)]
pub(crate) struct On {
    #[command(flatten)]
    places: Places,
}

impl Off {
    pub(super) fn run(self) -> Result<(), Failure> {
        let to = Touch::Off { seconds: self.seconds };
        let asked =
            call_within::<Value>(&self.places.socket.control, &Request::Switch { to }, PATIENCE);
        match asked {
            Ok(done) => {
                if let Some(error) = done["error"].as_str() {
                    return Err(Failure::failed(format!("off: {error}"))
                        .with_cure("the bare commands in docs/operations.md"));
                }
                match self.seconds {
                    None => println!("off: nothing is judged until nsp on"),
                    Some(seconds) => println!("off: nothing is judged for {seconds} s"),
                }
                Ok(())
            }
            Err(error @ ControlError::NotRoot) => Err(error.into()),
            Err(error) => self.by_force(to, &error),
        }
    }

    /// Without an agent that does it: marks the switch where agents look, and takes away what is hooked.
    fn by_force(self, to: Touch, error: &ControlError) -> Result<(), Failure> {
        let Places { socket, state_dir, pin_dir } = self.places;
        let marked = Switch::touched(to).write(&state_dir);
        if let Err(error) = &marked {
            let why = format!("off: cannot write in {}: {error}", state_dir.display());
            if error.kind() == io::ErrorKind::PermissionDenied {
                return Err(Failure::needs_privileges(why).with_cure("sudo nsp off"));
            }
            eprintln!("nsp: {why}");
        }
        if let ControlError::Refused(why) = error {
            // It lives, and would put back what is taken away: it has to end.
            eprintln!("nsp: off: the agent refuses, and is to end: {why}");
            let ended = call_within::<Value>(&socket.control, &Request::Detach, PATIENCE);
            if let Err(error) = ended {
                eprintln!("nsp: off: the agent: {}", with_sources(&error));
            }
        }
        let directory = super::pin_dir(pin_dir);
        let interfaces = without_agent::interfaces();
        let names = interfaces.as_deref().unwrap_or_default();
        let unhooked = datapath::unhook(directory.as_deref(), names);
        let hooks = unhooked
            .map_err(|why| with_sources(&why))
            .and_then(|hooks| interfaces.as_ref().map(|_| hooks).map_err(Clone::clone));
        let is_hung = !matches!(error, ControlError::Refused(_)) && is_there(&socket, error);
        let detail = json!({"agent": with_sources(error), "seconds": self.seconds, "hooks": hooks});
        without_agent::record(&state_dir, "off", detail, hooks.as_ref().err());
        match hooks {
            Ok(0) => {}
            Ok(hooks) => println!("{hooks} hooks that an agent left are taken away"),
            Err(why) => {
                return Err(Failure::failed(format!("off: {why}"))
                    .with_cure("the bare commands in docs/operations.md"));
            }
        }
        if is_hung && matches!(hooks, Ok(0)) {
            return Err(Failure::failed(format!(
                "off: the agent does not answer ({}), and no hook of it is found: what it does not pin goes with its \
                 process",
                with_sources(error)
            ))
            .with_cure("kill it; or nsp off --pin-dir DIR, with the agent's own"));
        }
        if marked.is_err() {
            return Err(Failure::failed(
                "off: nothing is hooked, but the next agent that starts hooks everything",
            )
            .with_cure("systemctl mask --now nsp"));
        }
        if is_hung {
            eprintln!("nsp: off: the agent does not answer ({})", with_sources(error));
        }
        match self.seconds {
            None => println!("off: nothing is judged until nsp on"),
            Some(seconds) => {
                println!(
                    "off: nothing is judged until an agent starts, {seconds} s from now or later"
                );
            }
        }
        Ok(())
    }
}

impl On {
    pub(super) fn run(self) -> Result<(), Failure> {
        let Places { socket, state_dir, .. } = self.places;
        let to = Touch::On;
        let done: Value = match call(&socket.control, &Request::Switch { to }) {
            Ok(done) => done,
            Err(error @ (ControlError::Refused(_) | ControlError::NotRoot)) => {
                return Err(error.into());
            }
            Err(error) => return Err(on_without_agent(&state_dir, error)),
        };
        if let Some(error) = done["error"].as_str() {
            return Err(Failure::failed(format!("on: {error}")).with_cure("nsp status"));
        }
        if done["dropsNothingYet"] == true {
            return Err(Failure::failed(
                "on: all is hooked, and nothing is dropped yet: the policy is tried again every second",
            )
            .with_cure("nsp status says why"));
        }
        for hook in done["hooks"].as_array().into_iter().flatten() {
            println!("{}: ingress {}, egress tc", text(&hook["interface"]), text(&hook["ingress"]));
        }
        let uncovered: Vec<String> = done["uncovered"]
            .as_object()
            .into_iter()
            .flatten()
            .map(|(name, why)| format!("{name}: NOT COVERED: {}", text(why)))
            .collect();
        if uncovered.is_empty() { Ok(()) } else { Err(Failure::failed(uncovered.join("\n"))) }
    }
}

/// Whether an agent that did not do it is there still: it may have died over it.
fn is_there(socket: &Socket, error: &ControlError) -> bool {
    !without_agent::is_gone(error)
        && !Client::connect_within(&socket.control, PATIENCE)
            .is_err_and(|again| without_agent::is_gone(&again))
}

/// The switch is on; to hook anything takes an agent.
fn on_without_agent(state_dir: &Path, error: ControlError) -> Failure {
    if let Err(error) = Switch::touched(Touch::On).write(state_dir) {
        let why = format!("on: cannot write in {}: {error}", state_dir.display());
        return match error.kind() {
            io::ErrorKind::PermissionDenied => {
                Failure::needs_privileges(why).with_cure("sudo nsp on")
            }
            _ => Failure::failed(why),
        };
    }
    without_agent::record(state_dir, "on", json!({"agent": with_sources(&error)}), None);
    eprintln!("nsp: on: the switch is on, and nothing is hooked before an agent runs");
    error.into()
}
