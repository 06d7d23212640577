//! `nsp off` and `nsp on`: break-glass.

use std::{io, path::PathBuf, time::Duration};

use clap::Args;
use serde_json::Value;

use super::{Failure, PIN_DIR, Socket, detach, duration, text};
use crate::{
    control::{ControlError, Request, call_within},
    daemon::with_sources,
    datapath,
    switch::{Clock, Switch},
};

/// How long an agent may take to do it. Who asks for this has no time for one that hangs.
const PATIENCE: Duration = Duration::from_secs(5);

/// Where the switch and the hooks are.
#[derive(Args, Debug)]
struct Places {
    #[command(flatten)]
    socket: Socket,
    /// State that outlives the agent; the switch is there
    #[arg(long, value_name = "DIR", env = "NSP_STATE_DIR", default_value = "/var/lib/nsp")]
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
        let Places { socket, state_dir, pin_dir } = self.places;
        let marked = Switch::off(self.seconds, &Clock::now()).write(&state_dir);
        if let Err(error) = &marked {
            if error.kind() == io::ErrorKind::PermissionDenied {
                let why = format!("off: cannot write in {}: {error}", state_dir.display());
                return Err(Failure::needs_privileges(why).with_cure("sudo nsp off"));
            }
            eprintln!("nsp: off: cannot write in {}: {error}", state_dir.display());
        }
        // Without the mark an agent would put back what is taken away: it has to end.
        let request = if marked.is_ok() { Request::Switch } else { Request::Detach };
        let asked = call_within::<Value>(&socket.control, &request, PATIENCE);
        match &asked {
            Ok(done) if marked.is_ok() && done["off"].is_null() => {
                return Err(Failure::failed(format!(
                    "off: the agent at {} has its state somewhere else",
                    socket.control.display()
                ))
                .with_cure("nsp off --state-dir DIR, with the agent's own"));
            }
            Ok(_) => {}
            Err(error @ (ControlError::Refused(_) | ControlError::NotRoot)) => {
                return Err(Failure::failed(format!("off: {error}")));
            }
            Err(error) => {
                let directory = super::pin_dir(pin_dir);
                let interfaces = detach::interfaces().unwrap_or_default();
                let hooks = datapath::unhook(directory.as_deref(), &interfaces).map_err(|why| {
                    let why = format!("off: {}", with_sources(&why));
                    Failure::failed(why).with_cure("the bare commands in docs/operations.md")
                })?;
                if hooks != 0 {
                    println!("{hooks} hooks that an agent left are taken away");
                }
                if !detach::is_gone(error) {
                    eprintln!(
                        "nsp: off: the agent does not answer ({}); hooks that it did not pin go with its process",
                        with_sources(error)
                    );
                }
            }
        }
        if marked.is_err() {
            return Err(Failure::failed(
                "off: nothing is hooked, but the next agent that starts hooks everything",
            )
            .with_cure("systemctl mask --now nsp"));
        }
        match (self.seconds, asked) {
            (None, _) => println!("off: nothing is judged until nsp on"),
            (Some(seconds), Ok(_)) => println!("off: nothing is judged for {seconds} s"),
            (Some(seconds), Err(_)) => {
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
        if let Err(error) = Switch::on(&Clock::now()).write(&state_dir) {
            let why = format!("on: cannot write in {}: {error}", state_dir.display());
            return Err(match error.kind() {
                io::ErrorKind::PermissionDenied => {
                    Failure::needs_privileges(why).with_cure("sudo nsp on")
                }
                _ => Failure::failed(why),
            });
        }
        let done: Value = match socket.ask(&Request::Switch) {
            Ok(done) => done,
            Err(failure) => {
                eprintln!("nsp: on: the switch is on, and nothing is hooked before an agent runs");
                return Err(failure);
            }
        };
        if !done["off"].is_null() {
            let agent = socket.control.display();
            return Err(Failure::failed(format!(
                "on: the agent at {agent} has its state somewhere else"
            ))
            .with_cure("nsp on --state-dir DIR, with the agent's own"));
        }
        for hook in done["hooks"].as_array().into_iter().flatten() {
            println!("{}: ingress {}, egress tc", text(&hook["interface"]), text(&hook["ingress"]));
        }
        if done["dropsNothingYet"] == true {
            return Err(Failure::failed(
                "on: all is hooked, and nothing is dropped yet: the policy is tried again every second",
            )
            .with_cure("nsp status says why"));
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
