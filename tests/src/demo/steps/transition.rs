//! The agent runs and drops nothing.

use std::{net::SocketAddr, time::Duration};

use super::{Play, Service};
use crate::{
    demo::{
        Told,
        failure::Failure,
        scene::play,
        session::Session,
        stage::{SSH, WEBSITE},
    },
    packet::{Family, Party},
    sockets::tcp_open,
};

pub(super) fn run(it: &mut Play) -> Told {
    let screen = it.screen;
    screen.say("Before the agent starts, the stranger opens an SSH session and goes on using it.");
    it.open("the SSH session from before the agent", Family::V4, SSH)?;
    screen.command("nsp run --interface up0 --interface priv0 &");
    it.agent.start();
    let said = it.agent.stderr();
    screen.output(said.lines().filter(|line| line.contains("nsp: ready")));
    it.open("the website session from the transition", Family::V6, WEBSITE)?;
    it.show(&["status"], |line| !line.starts_with("policy"))?;

    use Party::{Member, Office, Private, Stranger};
    use Service::{Database, Ping, Syslog, Website};
    let would = |party, what, resource| {
        it.comes(party, what).succeeds().logged("WOULD-DENY", resource, "no rule")
    };
    play(
        screen,
        Some(&it.agent),
        &[
            would(Stranger, Database, "postgres"),
            would(Stranger, Website, "website"),
            would(Stranger, Syslog, "server"),
            would(Stranger, Ping, "server"),
            it.comes(Office, Database).succeeds().logged("ALLOW", "postgres", "rule head-office"),
            it.comes(Office, Website).succeeds().logged("ALLOW", "website", "rule head-office"),
            it.comes(Private, Database).succeeds().logged("ALLOW", "postgres", "private peer"),
            it.comes(Member, Database).succeeds().logged(
                "ALLOW",
                "postgres",
                "member of the perimeter",
            ),
        ],
    )?;
    screen.line("");
    screen.say("Nobody was cut, and the log names who would be.");
    it.sessions_go_on()
}

impl Play {
    /// The stranger opens a session and keeps using it.
    pub(super) fn open(&mut self, name: &'static str, family: Family, port: u16) -> Told {
        let world = &self.stage.world;
        let from = SocketAddr::new(Party::Stranger.address(family), 0);
        let to = world.server_address(Party::Stranger, family, port);
        let patience = Duration::from_secs(2);
        let opened = tcp_open(world.host(Party::Stranger), from, to, patience);
        let stream = opened.map_err(|outcome| {
            Failure::Untrue(format!("{name} can be opened; it was {outcome:?}"))
        })?;
        self.sessions.push(Session::start(name, stream));
        Ok(())
    }
}
