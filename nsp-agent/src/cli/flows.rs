//! `nsp flows`: live public conversations.

use std::{
    io::{self, Write},
    net::IpAddr,
};

use clap::{Args, Subcommand};
use nsp_common::verdict::Direction;

use super::{Failure, Socket};
use crate::control::{
    Request,
    flows::{FlowLine, FlowsPart},
};

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
    /// Print no more than so many
    #[arg(long, value_name = "N")]
    limit: Option<usize>,
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
        self.list().map_err(|error| match error {
            Interrupted::Agent(failure) => failure,
            Interrupted::Output(error) => Failure::failed(format!("cannot print: {error}")),
        })
    }

    /// Prints part by part: neither this nor the agent ever holds all conversations.
    fn list(&self) -> Result<(), Interrupted> {
        let mut out = io::BufWriter::new(io::stdout().lock());
        let mut left = self.limit.unwrap_or(usize::MAX);
        let mut from = None;
        let mut separator = "\n";
        if self.json {
            write!(out, "[")?;
        }
        loop {
            let FlowsPart { flows, next } = self.socket.ask(&Request::Flows { from })?;
            for flow in flows.iter().take(left) {
                if self.json {
                    write!(out, "{separator}")?;
                    serde_json::to_writer(&mut out, flow).map_err(io::Error::from)?;
                    separator = ",\n";
                } else {
                    print(&mut out, flow)?;
                }
            }
            left = left.saturating_sub(flows.len());
            from = next;
            if from.is_none() || left == 0 {
                break;
            }
        }
        if self.json {
            writeln!(out, "\n]")?;
        }
        Ok(out.flush()?)
    }
}

/// What stops a list half way.
enum Interrupted {
    Agent(Failure),
    Output(io::Error),
}

impl From<Failure> for Interrupted {
    fn from(failure: Failure) -> Self {
        Self::Agent(failure)
    }
}

impl From<io::Error> for Interrupted {
    fn from(error: io::Error) -> Self {
        Self::Output(error)
    }
}

fn print(out: &mut impl Write, flow: &FlowLine) -> io::Result<()> {
    let FlowLine { remote, remote_port, local, local_port, state, bytes, .. } = flow;
    let arrow = if flow.opener == Direction::Inbound.name() { "→" } else { "←" };
    let resource = flow.resource.as_deref().unwrap_or("-");
    write!(out, "{state:<10} {remote}:{remote_port} {arrow} {local}:{local_port} {resource} ")?;
    match &flow.rule {
        Some(rule) => write!(out, "rule {rule}")?,
        None => write!(out, "{}", flow.reason.as_deref().unwrap_or("-"))?,
    }
    writeln!(out, " age {}s idle {}s {bytes} bytes", flow.age_seconds, flow.idle_seconds)
}
