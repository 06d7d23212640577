//! Attempts with what is claimed about them: outcome, rule, line of the log.

use std::time::Duration;

use super::{
    Told,
    attempt::{Attempt, Kind, run_all},
    failure::Failure,
    screen::{Colour, Screen},
    stop,
    table::{self, Cell},
};
use crate::{agent::Agent, deadline::Deadline, sockets::Outcome};

/// How long a line may take into the log.
const LOGGED_WITHIN: Duration = Duration::from_secs(5);

/// An attempt and the claims about it.
pub(super) struct Claim {
    attempt: Attempt,
    fate: Fate,
    /// Who is asked, by the log's name for it, the first word of the line, and why.
    logged: Option<(&'static str, &'static str, &'static str)>,
    /// What decided, where the log does not say.
    instead: &'static str,
}

/// What is claimed of the outcome.
#[derive(Clone, Copy)]
enum Fate {
    GetsThrough,
    MeetsSilence,
    /// The system call fails.
    IsDenied,
}

impl Attempt {
    /// It works.
    pub(super) fn succeeds(self) -> Claim {
        self.is(Fate::GetsThrough)
    }

    /// Nobody answers.
    pub(super) fn meets_silence(self) -> Claim {
        self.is(Fate::MeetsSilence)
    }

    /// The program learns at once that it may not.
    pub(super) fn fails_at_once(self) -> Claim {
        self.is(Fate::IsDenied)
    }

    fn is(self, fate: Fate) -> Claim {
        Claim { attempt: self, fate, logged: None, instead: "" }
    }
}

impl Claim {
    /// The log has a line for it: `word`, about `resource`, because of `why`.
    pub(super) fn logged(
        self,
        word: &'static str,
        resource: &'static str,
        why: &'static str,
    ) -> Self {
        Self { logged: Some((resource, word, why)), ..self }
    }

    /// The log has none, and this decided.
    pub(super) fn because(self, instead: &'static str) -> Self {
        Self { instead, ..self }
    }

    fn holds(&self, outcomes: &[Outcome; 2]) -> bool {
        outcomes.iter().all(|outcome| match self.fate {
            Fate::GetsThrough => outcome.is_success(),
            Fate::MeetsSilence => *outcome == Outcome::TimedOut,
            Fate::IsDenied => *outcome == Outcome::PermissionDenied,
        })
    }

    /// What its line has in it, for IPv4 and for IPv6.
    fn line(&self) -> Option<[String; 2]> {
        let (resource, word, why) = self.logged?;
        let outbound = matches!(&*self.attempt.who, "server" | "container");
        let [v4, v6] = self.attempt.ends;
        let line = |(from, to), icmp| {
            let asked = match self.attempt.kind {
                Kind::Tcp(port) => format!("{port}/tcp"),
                Kind::Udp(port) => format!("{port}/udp"),
                Kind::Ping => String::from(icmp),
            };
            if outbound {
                format!("{word} out {resource} → {to} {asked} {why}")
            } else {
                format!("{word} in {from} → {resource} {asked} {why}")
            }
        };
        Some([line(v4, "icmp"), line(v6, "icmpv6")])
    }
}

/// Plays it: all attempts at once, a table of what happened, and an error for the first claim that
/// is not so. Lines are looked for in what the log gained meanwhile.
pub(super) fn play(screen: Screen, agent: Option<&Agent>, claims: &[Claim]) -> Told {
    stop::check()?;
    let before = agent.map_or(0, |agent| log_of(agent).lines().count());
    let outcomes = run_all(claims.iter().map(|claim| &claim.attempt));
    stop::check()?;
    let mut found = vec![None; claims.len()];
    if let Some(agent) = agent {
        let _ = Deadline::after(LOGGED_WITHIN).poll(|| {
            let log = log_of(agent);
            let lines: Vec<&str> = log.lines().skip(before).collect();
            found = claims.iter().map(|claim| in_log(claim, &lines)).collect();
            let complete =
                claims.iter().zip(&found).all(|(it, line)| it.logged.is_none() || line.is_some());
            (complete || stop::asked()).then_some(())
        });
    }
    stop::check()?;
    let mut rows = vec![head()];
    for ((claim, outcomes), line) in claims.iter().zip(&outcomes).zip(&found) {
        rows.extend(rows_of(claim, outcomes, line.as_deref()));
    }
    table::print(screen, &rows);
    for ((claim, outcomes), line) in claims.iter().zip(&outcomes).zip(&found) {
        let Attempt { who, what, .. } = &claim.attempt;
        if !claim.holds(outcomes) {
            let wanted = match claim.fate {
                Fate::GetsThrough => "gets through",
                Fate::MeetsSilence => "meets silence",
                Fate::IsDenied => "is denied at once",
            };
            return Err(Failure::Untrue(format!(
                "{who} → {what} {wanted}; it was {:?} over IPv4 and {:?} over IPv6",
                outcomes[0], outcomes[1]
            )));
        }
        if let (Some([v4, v6]), None) = (claim.line(), line) {
            return Err(Failure::Untrue(format!("the log has “{v4}” and “{v6}”")));
        }
    }
    Ok(())
}

/// The log so far. Before its first record there is none, which `nsp logs` calls a failure.
fn log_of(agent: &Agent) -> String {
    String::from_utf8_lossy(&agent.nsp(&["logs"]).stdout).into_owned()
}

/// The line of IPv4, when both are there.
fn in_log(claim: &Claim, lines: &[&str]) -> Option<String> {
    let wanted = claim.line()?;
    let [v4, v6] = wanted.map(|wanted| lines.iter().find(|line| line.contains(&wanted)).copied());
    v6.and(v4).map(str::to_owned)
}

fn head() -> table::Row {
    let cell = |text: &str| Cell::new(text, Colour::Dim);
    table::Row::Cells(vec![
        cell(""),
        cell("who"),
        cell("tries"),
        cell("IPv4"),
        cell("IPv6"),
        cell("decided by"),
    ])
}

fn rows_of(claim: &Claim, outcomes: &[Outcome; 2], line: Option<&str>) -> Vec<table::Row> {
    let holds = claim.holds(outcomes) && (claim.logged.is_none() || line.is_some());
    let (sign, colour) = if holds { ("✓", Colour::Green) } else { ("✗", Colour::Red) };
    let outcome = |outcome: &Outcome| {
        let colour = if outcome.is_success() { Colour::Green } else { Colour::Yellow };
        Cell::new(word(*outcome), colour)
    };
    let why = match claim.logged {
        Some((_, "WOULD-DENY", why)) => format!("{why} (would deny)"),
        Some((_, _, why)) => why.to_owned(),
        None => claim.instead.to_owned(),
    };
    let cells = table::Row::Cells(vec![
        Cell::new(sign, colour),
        Cell::plain(&claim.attempt.who),
        Cell::plain(&claim.attempt.what),
        outcome(&outcomes[0]),
        outcome(&outcomes[1]),
        Cell::plain(&why),
    ]);
    let log = line.map(|line| table::Row::Note(format!("log: {line}")));
    std::iter::once(cells).chain(log).collect()
}

/// What the one who tried would say.
const fn word(outcome: Outcome) -> &'static str {
    match outcome {
        Outcome::Connected => "connected",
        Outcome::Answered => "answered",
        Outcome::Refused => "refused",
        Outcome::TimedOut => "silence",
        Outcome::PermissionDenied => "denied",
        Outcome::Unreachable => "no way",
    }
}
