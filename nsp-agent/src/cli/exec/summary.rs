//! What is said when the command has ended.

use std::{collections::BTreeSet, fmt::Write as _, io};

use serde_json::json;

use crate::control::exec::{Blocked, Summary};

/// How it went.
pub(super) struct Report<'a> {
    pub(super) code: u8,
    pub(super) session: &'a str,
    pub(super) learn: bool,
    pub(super) summary: &'a Summary,
}

impl Report<'_> {
    /// For people, on standard error: the command's own output is left alone.
    pub(super) fn print(&self, verbose: bool) {
        for line in self.lines(verbose) {
            eprintln!("nsp: exec: {line}");
        }
    }

    /// For programs.
    pub(super) fn write(&self, file: &mut impl io::Write) -> io::Result<()> {
        let Summary { blocked, ended } = self.summary;
        let mut whole = json!({
            "exit": self.code,
            "session": self.session,
            "blocked": blocked,
            "ended": ended,
        });
        if self.learn {
            whole["blocked"] = json!([]);
            whole["wouldBlock"] = json!(blocked);
            whole["needed"] = json!(needed(blocked));
        }
        writeln!(file, "{whole:#}")
    }

    fn lines(&self, verbose: bool) -> Vec<String> {
        let Summary { blocked, ended } = self.summary;
        let mut lines = Vec::new();
        if self.learn {
            let flags = needed(blocked);
            if flags.is_empty() {
                lines.push("it needs no --allow".to_owned());
            } else {
                lines.push(format!("it needs --allow {}", flags.join(" --allow ")));
            }
        } else {
            lines.extend(blocked.iter().map(line));
            if blocked.is_empty() && verbose {
                lines.push("nothing was blocked".to_owned());
            }
        }
        if *ended != 0 {
            let processes = if *ended == 1 { "process that was" } else { "processes that were" };
            lines.push(format!("ended {ended} {processes} left behind"));
        }
        lines
    }
}

/// `blocked curl[4242] → telemetry.example.com (198.51.100.7:443/tcp): no rule ×3`
fn line(blocked: &Blocked) -> String {
    let Blocked { pid, process, name, address, port, protocol, reason, count } = blocked;
    let mut line = String::from("blocked ");
    match (process, pid) {
        (Some(process), Some(pid)) => {
            let _written = write!(line, "{}[{pid}]", plain(process));
        }
        _ => line.push_str("an unknown process"),
    }
    line.push_str(" → ");
    let place = address.as_ref().map(|address| place(address, *port, protocol));
    match (name, place) {
        (Some(name), Some(place)) => {
            let _written = write!(line, "{} ({place})", plain(name));
        }
        (Some(name), None) => line.push_str(&plain(name)),
        (None, Some(place)) => line.push_str(&place),
        (None, None) => line.push_str("many"),
    }
    let _written = write!(line, ": {reason}");
    if *count > 1 {
        let _written = write!(line, " ×{count}");
    }
    line
}

/// The flags that a command would have needed, by name where there is one.
fn needed(blocked: &[Blocked]) -> Vec<String> {
    let flag = |blocked: &Blocked| {
        let peer = blocked.name.as_ref().or(blocked.address.as_ref())?;
        Some(place(peer, blocked.port, &blocked.protocol))
    };
    let flags: BTreeSet<String> = blocked.iter().filter_map(flag).collect();
    flags
        .into_iter()
        .map(|flag| if flag.contains('*') { format!("'{flag}'") } else { flag })
        .collect()
}

/// As `--allow` takes it.
fn place(peer: &str, port: Option<u16>, protocol: &str) -> String {
    let peer = if peer.contains(':') { format!("[{peer}]") } else { plain(peer) };
    match port {
        Some(port) => format!("{peer}:{port}/{protocol}"),
        None => format!("{peer}:{protocol}"),
    }
}

/// Nothing that drives a terminal: names and processes are the command's own.
fn plain(text: &str) -> String {
    text.chars().map(|c| if c.is_control() { '?' } else { c }).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::policy::allow::Allowed;

    fn blocked(name: Option<&str>, address: Option<&str>, port: Option<u16>) -> Blocked {
        Blocked {
            pid: Some(4242),
            process: Some("curl".to_owned()),
            name: name.map(str::to_owned),
            address: address.map(str::to_owned),
            port,
            protocol: if port.is_some() { "tcp" } else { "icmp" }.to_owned(),
            reason: "no rule".to_owned(),
            count: 3,
        }
    }

    fn report(summary: &Summary, learn: bool) -> Vec<String> {
        Report { code: 0, session: "exec-1", learn, summary }.lines(false)
    }

    #[test]
    fn what_was_blocked_is_said_by_process() {
        let summary = Summary {
            blocked: vec![
                blocked(Some("t.example.com"), Some("198.51.100.7"), Some(443)),
                blocked(None, Some("2001:db8::7"), Some(443)),
                blocked(Some("u.example.com"), None, None),
                Blocked { process: Some("\x1b[2J".to_owned()), ..blocked(None, None, None) },
                Blocked { pid: None, count: 1, ..blocked(None, Some("10.0.0.9"), None) },
            ],
            ended: 1,
        };
        assert_eq!(
            report(&summary, false),
            [
                "blocked curl[4242] → t.example.com (198.51.100.7:443/tcp): no rule ×3",
                "blocked curl[4242] → [2001:db8::7]:443/tcp: no rule ×3",
                "blocked curl[4242] → u.example.com: no rule ×3",
                "blocked ?[2J[4242] → many: no rule ×3",
                "blocked an unknown process → 10.0.0.9:icmp: no rule",
                "ended 1 process that was left behind",
            ]
        );
    }

    #[test]
    fn silence_is_a_good_summary_unless_asked() {
        let summary = Summary::default();
        assert!(report(&summary, false).is_empty());
        let verbose = Report { code: 0, session: "exec-1", learn: false, summary: &summary };
        assert_eq!(verbose.lines(true), ["nothing was blocked"]);
    }

    #[test]
    fn needed_flags_can_be_given() {
        let all = [
            blocked(Some("t.example.com"), Some("198.51.100.7"), Some(443)),
            blocked(Some("t.example.com"), Some("198.51.100.8"), Some(443)),
            blocked(None, Some("2001:db8::7"), Some(443)),
            blocked(None, Some("198.51.100.9"), None),
            blocked(None, None, None),
        ];
        let flags = needed(&all);
        assert_eq!(flags, ["198.51.100.9:icmp", "[2001:db8::7]:443/tcp", "t.example.com:443/tcp"]);
        for flag in &flags {
            Allowed::parse(flag).unwrap();
        }
        let summary = Summary { blocked: all.to_vec(), ended: 0 };
        assert!(
            report(&summary, true)[0].starts_with("it needs --allow 198.51.100.9:icmp --allow ")
        );
    }
}
