//! First one resource by `nsp mode`, then all of them by `nsp apply`.

use super::{Play, Service};
use crate::{
    demo::{Told, scene::play},
    packet::Party::{Member, Office, Private, Stranger},
};

pub(super) fn run(it: &mut Play) -> Told {
    use Service::{Database, Ping, Syslog, Website};
    let screen = it.screen;
    it.show(&["mode", "website", "enforced"], |_| true)?;
    play(
        screen,
        Some(&it.agent),
        &[
            it.comes(Stranger, Website).meets_silence().logged("DENY", "website", "no rule"),
            it.comes(Stranger, Database).succeeds().logged("WOULD-DENY", "postgres", "no rule"),
        ],
    )?;

    screen.line("");
    screen.say("Now the file: access_mode = \"enforced\" for all.");
    it.agent.write_policy(&it.texts.enforced());
    it.show(&["plan"], |_| true)?;
    it.show(&["apply"], |_| true)?;
    let denied = |what, resource| {
        it.comes(Stranger, what).meets_silence().logged("DENY", resource, "no rule")
    };
    let office = |what, resource| {
        it.comes(Office, what).succeeds().logged("ALLOW", resource, "rule head-office")
    };
    play(
        screen,
        Some(&it.agent),
        &[
            denied(Website, "website"),
            denied(Database, "postgres"),
            denied(Syslog, "server"),
            denied(Ping, "server"),
            office(Website, "website"),
            office(Database, "postgres"),
            office(Syslog, "server"),
            office(Ping, "server"),
            it.comes(Private, Database).succeeds().logged("ALLOW", "postgres", "private peer"),
            it.comes(Member, Database).succeeds().logged(
                "ALLOW",
                "postgres",
                "member of the perimeter",
            ),
        ],
    )?;
    screen.line("");
    it.sessions_go_on()?;
    // What else was tolerated before and has not ended is kept too, but says nothing any more.
    let is_kept_session = |line: &str| line.starts_with("kept") && line.contains(" idle 0s ");
    let flows = it.show(&["flows"], is_kept_session)?;
    let kept = flows.lines().filter(|line| is_kept_session(line)).count();
    screen.claim(kept == it.sessions.len(), "nsp flows marks both as kept")
}
