//! `nsp allow` and `nsp block`: for a time, beside the policy.

use clap::{ArgGroup, Args};

use super::{Failure, Socket, duration, print_json, text};
use crate::{
    compile::overlay::Target,
    control::{Request, Temporary},
    policy::{Refusal, model::PortSpec},
};

/// Allow a prefix or a name for a time. The kernel keeps the time, whatever becomes of the agent;
/// what this opened ends with it. A block wins over it.
#[derive(Args, Debug)]
pub(crate) struct Allow {
    #[command(flatten)]
    entry: Entry,
    /// Also every address there is
    #[arg(long)]
    allow_any: bool,
}

/// Block a prefix or a name for a time, live conversations included: in both modes, private peers and
/// members too.
#[derive(Args, Debug)]
pub(crate) struct Block {
    #[command(flatten)]
    entry: Entry,
    /// Also every address there is, your own included
    #[arg(long)]
    block_any: bool,
}

#[derive(Args, Debug)]
#[command(group = ArgGroup::new("what").args(["seconds", "remove", "list"]).required(true))]
struct Entry {
    /// A prefix, an address, or a name (`*.example.com` for all below one)
    #[arg(value_name = "PREFIX|NAME", value_parser = target, required_unless_present = "list")]
    target: Option<String>,
    /// How long: 30s, 10m, 2h, 3d
    #[arg(long = "for", value_name = "TIME", value_parser = duration::seconds)]
    seconds: Option<u64>,
    /// Only resources with this profile
    #[arg(long, value_name = "PROFILE")]
    profile: Option<String>,
    /// Only these ports of the side that is asked: 443/tcp, 8000-8090/tcp, icmp
    #[arg(long, value_name = "PORT,…", value_delimiter = ',', value_parser = port)]
    ports: Vec<String>,
    /// Only conversations that the other end opens
    #[arg(long, conflicts_with = "outbound")]
    inbound: bool,
    /// Only conversations that this host opens
    #[arg(long)]
    outbound: bool,
    /// Take back what was said about it
    #[arg(long, conflicts_with_all = ["ports", "inbound", "outbound"])]
    remove: bool,
    /// Show everything that is allowed or blocked for a time
    #[arg(long, conflicts_with_all = ["target", "profile", "ports", "inbound", "outbound"])]
    list: bool,
    /// Print JSON
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    socket: Socket,
}

impl Allow {
    pub(super) fn run(self) -> Result<(), Failure> {
        self.entry.run(false, self.allow_any)
    }
}

impl Block {
    pub(super) fn run(self) -> Result<(), Failure> {
        self.entry.run(true, self.block_any)
    }
}

impl Entry {
    fn run(self, block: bool, any: bool) -> Result<(), Failure> {
        let Self { target, seconds, profile, ports, inbound, outbound, remove, list, json, socket } =
            self;
        if list {
            return show(&socket.call(&Request::Overlay)?, json);
        }
        let target = target.unwrap_or_default();
        if remove {
            let done = socket.call(&Request::Withdraw { block, target, profile })?;
            println!("{} removed", done["removed"]);
            return Ok(());
        }
        if let Some(what) = Target::parse(&target).ok().and_then(|it| it.widest())
            && !any
        {
            let (verb, flag) =
                if block { ("block", "--block-any") } else { ("allow", "--allow-any") };
            return Err(Failure::failed(format!("{verb} {target}: it is {what}"))
                .with_cure(format!("a longer prefix, or {flag} if you mean it")));
        }
        let seconds = seconds.unwrap_or_default();
        let asked = Temporary { block, target, inbound, outbound, ports, profile, seconds, any };
        let done = socket.call(&Request::Temporary { entry: asked })?;
        if json {
            print_json(&done);
        } else {
            println!("{}", line(&done));
        }
        Ok(())
    }
}

fn show(entries: &serde_json::Value, json: bool) -> Result<(), Failure> {
    if json {
        print_json(entries);
        return Ok(());
    }
    for entry in entries.as_array().into_iter().flatten() {
        println!("{}", line(entry));
    }
    Ok(())
}

/// One entry for people.
pub(super) fn line(entry: &serde_json::Value) -> String {
    let profile =
        entry["profile"].as_str().map(|it| format!(" (profile {it})")).unwrap_or_default();
    let left = entry["remainingSeconds"].as_u64().unwrap_or(0);
    let (days, hours, minutes) = (left / 86400, left / 3600 % 24, left / 60 % 60);
    let left = match (days, hours, minutes) {
        (0, 0, 0) => format!("{left}s"),
        (0, 0, _) => format!("{minutes}m{}s", left % 60),
        (0, ..) => format!("{hours}h{minutes}m"),
        _ => format!("{days}d{hours}h"),
    };
    format!("{}{profile}, {left} left", text(&entry["rule"]))
}

fn said(Refusal { what, why, cure }: Refusal) -> String {
    match cure {
        Some(cure) => format!("{what}: {why} (try: {})", cure.trim_matches('"')),
        None => format!("{what}: {why}"),
    }
}

fn target(text: &str) -> Result<String, String> {
    Target::parse(text).map(|it| it.to_string()).map_err(said)
}

fn port(text: &str) -> Result<String, String> {
    PortSpec::parse(text).map(|it| it.to_string()).map_err(said)
}
