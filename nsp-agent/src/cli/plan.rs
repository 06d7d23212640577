//! `nsp plan`: what an apply would change.

use clap::Args;

use super::{Failure, PolicyFile, Socket, print_json, text};
use crate::{control::Request, progress::Progress};

/// Show what applying a policy would change: rules, modes, and the live flows it would cut.
#[derive(Args, Debug)]
pub(crate) struct Plan {
    #[command(flatten)]
    policy: PolicyFile,
    #[command(flatten)]
    socket: Socket,
    /// Print JSON
    #[arg(long)]
    json: bool,
}

impl Plan {
    pub(super) fn run(self) -> Result<(), Failure> {
        // Who wants JSON is a program.
        let progress = if self.json { Progress::default() } else { Progress::at_terminal() };
        progress.begin("the agent compares the policy with the one in force");
        let plan = self.socket.call(&Request::Plan { path: self.policy.absolute()? })?;
        drop(progress);
        if self.json {
            print_json(&plan);
            return Ok(());
        }
        let mut nothing = true;
        for (key, sign) in [("added", '+'), ("removed", '-')] {
            for it in plan[key].as_array().into_iter().flatten() {
                println!("{sign} {}", text(it));
                nothing = false;
            }
        }
        for it in plan["changed"].as_array().into_iter().flatten() {
            println!("~ {}: {} → {}", text(&it["what"]), text(&it["from"]), text(&it["to"]));
            nothing = false;
        }
        let cut = plan["flowsCut"].as_array().map_or(0, Vec::len);
        for it in plan["flowsCut"].as_array().into_iter().flatten() {
            println!(
                "! cuts {} port {} of {} (rule {})",
                text(&it["remote"]),
                it["localPort"],
                text(&it["resource"]),
                text(&it["rule"])
            );
        }
        if nothing {
            println!("no change");
        } else {
            println!("{cut} live flows would be cut");
        }
        Ok(())
    }
}
