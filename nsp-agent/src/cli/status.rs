//! `nsp status`: how things are.

mod dns;
mod others;

use std::path::{Path, PathBuf};

use clap::Args;
use serde_json::Value;

use super::{Failure, PIN_DIR, STATE_DIR, Socket, print_json, text};
use crate::{
    control::Request,
    datapath,
    host::boot::COMMAND_LINE,
    switch::{self, Position},
};

/// Show modes, interfaces, flows, counters, names and what is wrong.
#[derive(Args, Debug)]
pub(crate) struct Status {
    #[command(flatten)]
    socket: Socket,
    /// Names: their addresses, from whom and until when, and what cannot be seen
    #[arg(long)]
    dns: bool,
    /// Where the agent pins links and maps: what is in force when none answers
    #[arg(long, value_name = "DIR", env = "NSP_PIN_DIR", default_value = PIN_DIR)]
    pin_dir: PathBuf,
    /// State that outlives the agent: whether it is off when none answers
    #[arg(long, value_name = "DIR", env = "NSP_STATE_DIR", default_value = STATE_DIR)]
    state_dir: PathBuf,
    /// Print JSON
    #[arg(long)]
    json: bool,
}

impl Status {
    pub(super) fn run(self) -> Result<(), Failure> {
        let request = if self.dns { Request::Dns } else { Request::Status };
        let mut status = self.socket.call(&request).map_err(|mut failure| {
            let directory = super::pin_dir(self.pin_dir);
            let left = directory.map_or(0, |directory| datapath::count_left(&directory));
            if left != 0 {
                failure.message +=
                    &format!("; {left} hooks that are pinned are in force all the same");
            }
            let (position, _unread) = switch::position(&self.state_dir, Path::new(COMMAND_LINE));
            if position != Position::On {
                failure.message += "; OFF: nothing is judged until nsp on";
            }
            failure
        })?;
        others::name(&mut status["otherPrograms"]);
        if self.json {
            print_json(&status);
        } else if self.dns {
            dns::print(&status);
        } else {
            print(&status);
        }
        Ok(())
    }
}

fn each(value: &Value) -> impl Iterator<Item = &Value> {
    value.as_array().into_iter().flatten()
}

fn print(status: &Value) {
    if let Some(off) = status["off"].as_object() {
        let until = match (off["leftSeconds"].as_u64(), off["byCommandLine"] == true) {
            (_, true) => "by the kernel's command line (nsp.off), until nsp on".to_owned(),
            (Some(seconds), _) => format!("for {seconds} s, or until nsp on"),
            (None, _) => "until nsp on".to_owned(),
        };
        println!("OFF: nothing is judged {until}");
    }
    if status["dropsNothingYet"] == true {
        println!("OPEN: nothing is dropped yet; the policy is tried again every second");
    }
    println!(
        "perimeter {} ({}), generation {}",
        text(&status["perimeter"]),
        text(&status["guid"]),
        status["generation"]
    );
    println!("policy {}", text(&status["policy"]));
    if let Some(seconds) = status["confirmWithin"].as_u64() {
        println!(
            "  WAITS to be confirmed, for {seconds} s: nsp confirm, from a new session; or nsp rollback"
        );
    }
    if status["trial"] == true {
        println!("  a trial: it ends with the agent");
    }
    if status["fileDiffers"] == true {
        println!("  the file is not what is running: nsp plan, nsp apply");
    }
    match status["pinned"].as_str() {
        _ if status["off"].is_object() => {}
        Some(directory) => println!("pinned at {directory}: in force without the agent, too"),
        None => println!("not pinned: in force as long as the agent runs"),
    }
    println!("resources");
    for resource in each(&status["resources"]) {
        println!(
            "  {}: {}, profile {}, inbound {}, outbound {}",
            text(&resource["name"]),
            text(&resource["selector"]),
            text(&resource["profile"]),
            text(&resource["inbound"]),
            text(&resource["outbound"])
        );
        if resource["matched"] == false {
            println!("    matches nothing on this host now");
        }
        if resource["outboundCovered"] == false {
            println!("    outbound: NOT COVERED");
        }
    }
    if let Some(unit) = status["recursiveUnit"]["unit"].as_str()
        && status["recursiveUnit"]["matched"] == false
    {
        println!("  [dns] recursive_unit {unit}: matches nothing on this host now");
    }
    for session in each(&status["sessions"]) {
        let allow: Vec<&str> = each(&session["allow"]).map(text).collect();
        let how = if session["learn"] == true { "learns" } else { "may go to" };
        println!("  {}: exec, {how} {}", text(&session["name"]), allow.join(", "));
    }
    for entry in each(&status["overlay"]) {
        println!("for a time: {}", super::overlay::line(entry));
    }
    if status["calls"]["hooked"] == false && status["off"].is_null() {
        println!("denied calls wait for their own timeout: {}", text(&status["calls"]["why"]));
    }
    println!("interfaces");
    for interface in each(&status["interfaces"]) {
        let name = text(&interface["name"]);
        let why = text(&interface["why"]);
        match (interface["ingress"].as_str(), interface["error"].as_str()) {
            (_, Some(error)) => println!("  {name}: NOT COVERED: {error}"),
            (Some(hook), None) => println!("  {name}: ingress {hook}, egress tc ({why})"),
            (None, None) if interface["judged"] == true => println!("  {name}: not hooked ({why})"),
            (None, None) => println!("  {name}: not judged ({why})"),
        }
    }
    others::print(status);
    println!("flows");
    for (what, count) in status["flows"].as_object().into_iter().flatten() {
        println!("  {:>12}  {what}", count.to_string());
    }
    flow_tables(status);
    println!("packets");
    for it in each(&status["counters"]["reasons"]) {
        println!(
            "  {:>12}  {} {}: {}",
            it["packets"].to_string(),
            text(&it["direction"]),
            text(&it["verdict"]),
            text(&it["reason"])
        );
    }
    for (key, what) in [
        ("lostRecords", "packets without an access record"),
        ("lostEvents", "events lost (their packets are in records)"),
        ("flowsNotTracked", "conversations not tracked: the table is full"),
        ("fragmentsNotTracked", "fragment heads not remembered"),
    ] {
        if status["counters"][key].as_u64().unwrap_or(0) != 0 {
            println!("  LOST {}: {what}", status["counters"][key]);
        }
    }
    for name in each(&status["names"]) {
        let addresses: Vec<&str> =
            each(&name["addresses"]).map(|it| text(&it["address"])).collect();
        println!("name {}: {}", text(&name["name"]), addresses.join(" "));
        if let Some(error) = name["lastError"].as_str() {
            println!("  last lookup failed: {error}");
        }
    }
    for source in each(&status["sources"]) {
        println!(
            "source {}: {} prefixes, {} days old",
            text(&source["name"]),
            source["prefixes"],
            source["ageSeconds"].as_u64().unwrap_or(0) / 86400
        );
    }
    let log = &status["accessLog"];
    if log["linesLost"].as_u64().unwrap_or(0) != 0 {
        println!("access log: LOST {} lines ({} packets)", log["linesLost"], log["packetsLost"]);
    } else if log["packetsLost"].as_u64().unwrap_or(0) != 0 {
        println!("access log: LOST the records of {} packets with an agent", log["packetsLost"]);
    }
    if let Some(error) = log["error"].as_str() {
        println!("access log: {error}");
    }
    let history = &status["history"];
    if history["recordsLost"].as_u64().unwrap_or(0) != 0 {
        let why = history["error"].as_str().unwrap_or("it is written again");
        println!("history: LOST {} records: {why}", history["recordsLost"]);
    }
    if let Some(error) = status["lastError"].as_str() {
        println!("last error: {error}");
    }
}

/// The tables of conversations: what is in them, what fits, what they take.
fn flow_tables(status: &Value) {
    println!("tables of conversations, {} of kernel memory", megabytes(&status["flowTablesBytes"]));
    for it in each(&status["flowTables"]) {
        let what = match text(&it["table"]) {
            "provenV4" => "proven, IPv4",
            "provenV6" => "proven, IPv6",
            "askedV4" => "opened here and not answered, IPv4",
            "askedV6" => "opened here and not answered, IPv6",
            "knockedV4" => "opened by others and not proven, IPv4",
            "knockedV6" => "opened by others and not proven, IPv6",
            other => other,
        };
        let (entries, capacity) = (it["entries"].to_string(), it["capacity"].to_string());
        println!("  {entries:>12}  of {capacity:>7}, {}: {what}", megabytes(&it["bytes"]));
    }
}

fn megabytes(bytes: &Value) -> String {
    bytes
        .as_u64()
        .map_or_else(|| "? MB".to_owned(), |bytes| format!("{:.1} MB", bytes as f64 / 1e6))
}
