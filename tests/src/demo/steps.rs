//! The steps of the story, in their order.

mod cure;
mod ending;
mod enforced;
mod hole;
mod job;
mod look;
mod outbound;
mod transition;

use std::time::Duration;

use super::{
    Told,
    attempt::{Attempt, Kind},
    failure::Failure,
    policy::PolicyTexts,
    screen::Screen,
    session::Session,
    stage::{DATABASE, SYSLOG, Stage, WEBSITE},
    stop,
};
use crate::{agent::Agent, deadline::Deadline, packet::Party};

/// Everything that is on the stage.
pub(super) struct Play {
    pub(super) screen: Screen,
    // Dropped in this order: who uses the namespaces before the namespaces.
    sessions: Vec<Session>,
    agent: Agent,
    texts: PolicyTexts,
    stage: Stage,
}

impl Play {
    /// Builds the stage; nothing of the product runs yet.
    pub(super) fn set(screen: Screen) -> Result<Self, Failure> {
        let stage = Stage::set()?;
        let builder = Agent::builder(stage.world.server()).interfaces(&["up0", "priv0"]);
        // The machine's own resolvers have no part in this.
        let agent = builder.argument("--resolv-conf").argument(stage.office.resolv_conf()).build();
        let texts = PolicyTexts::with_tags_in(agent.home().path())?;
        Ok(Self { screen, sessions: Vec::new(), agent, texts, stage })
    }

    /// From the hole to the end.
    pub(super) fn run(&mut self) -> Told {
        let steps: [(&str, Step); 8] = [
            ("The hole: a firewall that says closed, and a port that is open", hole::run),
            ("A first look: nsp init, nsp check", look::run),
            (
                "Transition: everybody still gets in, and the log says who would not",
                transition::run,
            ),
            ("Enforced: the stranger is out, on the published port too", enforced::run),
            ("Outbound: what the server may reach", outbound::run),
            ("The cure: nsp explain names it", cure::run),
            ("One job, one place: nsp exec; and for a moment: nsp block", job::run),
            ("The end: detach", ending::run),
        ];
        for (index, (title, step)) in steps.into_iter().enumerate() {
            self.screen.step(index + 1, title)?;
            step(self)?;
        }
        Ok(())
    }

    /// Somebody tries a service of the server.
    fn comes(&self, party: Party, what: Service) -> Attempt {
        let (name, kind) = match what {
            Service::Database => ("database", Kind::Tcp(DATABASE)),
            Service::Website => ("website", Kind::Tcp(WEBSITE)),
            Service::Syslog => ("syslog", Kind::Udp(SYSLOG)),
            Service::Ping => ("ping", Kind::Ping),
        };
        Attempt::inbound(&self.stage, party, name, kind)
    }

    /// Runs a verb and shows the command and the lines of its output that `keep` lets through.
    fn show(&self, arguments: &[&str], keep: impl Fn(&str) -> bool) -> Result<String, Failure> {
        stop::check()?;
        self.screen.command(&format!("nsp {}", arguments.join(" ")));
        let output = self.agent.nsp(arguments);
        let text = String::from_utf8_lossy(&output.stdout).into_owned();
        let text = text.replace(&format!("{}/", self.agent.home().path().display()), "");
        if !output.status.success() {
            let said = String::from_utf8_lossy(&output.stderr);
            let what = arguments.join(" ");
            return Err(Failure::Broken(format!("nsp {what}: {}", said.trim_end())));
        }
        self.screen.output(text.lines().filter(|line| keep(line)));
        Ok(text)
    }

    /// Every session goes on: three more messages came back, and none was ever sent twice.
    fn sessions_go_on(&self) -> Told {
        for session in &self.sessions {
            let before = session.beats().answered;
            let on = || {
                let beats = session.beats();
                (beats.over || beats.answered >= before + 3).then_some(())
            };
            let _ = Deadline::after(Duration::from_secs(3)).poll(on);
            let beats = session.beats();
            let alive = !beats.over && beats.answered >= before + 3;
            self.screen.claim(
                alive && beats.retransmitted == 0,
                &format!(
                    "{} never missed a beat: {} messages, slowest {} ms, {} sent again",
                    session.name,
                    beats.answered,
                    beats.slowest.as_millis(),
                    beats.retransmitted,
                ),
            )?;
        }
        Ok(())
    }
}

/// One step of the story.
type Step = fn(&mut Play) -> Told;

/// What the server offers.
#[derive(Clone, Copy, Debug)]
enum Service {
    Database,
    Website,
    Syslog,
    Ping,
}
