//! `nsp flows`: live public conversations.

use std::net::IpAddr;

use clap::{Args, Subcommand};

use super::{Failure, Socket, print_json, text};
use crate::control::Request;

/// Show live public conversations with rule, age and bytes; kept ones are marked.
#[derive(Args, Debug)]
pub(crate) struct Flows {
    #[command(subcommand)]
    verb: Option<Verb>,
    #[command(flatten)]
    socket: Socket,
    /// Print JSON
    #[arg(long)]
    json: bool,
}

#[derive(Debug, Subcommand)]
enum Verb {
    /// End conversations
    Cut {
        /// Those with this peer
        #[arg(value_name = "ADDRESS", required_unless_present = "kept")]
        peer: Option<IpAddr>,
        /// Those that were kept when their resource became enforced
        #[arg(long)]
        kept: bool,
    },
}

impl Flows {
    pub(super) fn run(self) -> Result<(), Failure> {
        if let Some(Verb::Cut { peer, kept }) = self.verb {
            let done = self.socket.call(&Request::Cut { peer, kept })?;
            println!("{} conversations cut", done["cut"]);
            return Ok(());
        }
        let flows = self.socket.call(&Request::Flows)?;
        if self.json {
            print_json(&flows);
            return Ok(());
        }
        for flow in flows.as_array().into_iter().flatten() {
            let arrow = if flow["opener"] == "Inbound" { "→" } else { "←" };
            println!(
                "{:<10} {}:{} {arrow} {}:{} {} {} age {}s idle {}s {} bytes",
                text(&flow["state"]),
                text(&flow["remote"]),
                flow["remotePort"],
                text(&flow["local"]),
                flow["localPort"],
                text(&flow["resource"]),
                flow["rule"].as_str().map_or_else(
                    || text(&flow["reason"]).to_owned(),
                    |rule| format!("rule {rule}")
                ),
                flow["ageSeconds"],
                flow["idleSeconds"],
                flow["bytes"],
            );
        }
        Ok(())
    }
}
