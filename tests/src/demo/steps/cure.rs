//! Somebody legitimate is denied: what to write, and what taking it back does.

use std::time::Duration;

use super::{Play, Service};
use crate::{
    deadline::Deadline,
    demo::{Told, policy::CURE, scene::play, stage::DATABASE},
    packet::{Family, Party},
};

pub(super) fn run(it: &mut Play) -> Told {
    let screen = it.screen;
    let said = it.show(&["explain", "198.51.100.7", "5432"], |_| true)?;
    let names = ["[profile.database.inbound.NAME]", "address_prefixes = [\"198.51.100.7\"]"]
        .iter()
        .all(|line| said.lines().any(|it| it.trim() == *line));
    screen.claim(names, "it says what to write")?;

    screen.line("");
    screen.say("Written so, for both families:");
    screen.output(CURE.lines());
    it.agent.write_policy(&it.texts.cured());
    it.show(&["apply"], |_| true)?;
    play(
        screen,
        Some(&it.agent),
        &[
            it.comes(Party::Stranger, Service::Database).succeeds().logged(
                "ALLOW",
                "postgres",
                "rule new-branch",
            ),
            it.comes(Party::Stranger, Service::Website)
                .meets_silence()
                .logged("DENY", "website", "no rule"),
        ],
    )?;

    screen.line("");
    screen.say("Taken back, it takes the session along that it had let in, and no other.");
    it.open("the session by the rule", Family::V4, DATABASE)?;
    let opened = it.sessions.pop();
    it.agent.write_policy(&it.texts.enforced());
    it.show(&["apply"], |_| true)?;
    let over = opened.is_some_and(|session| {
        let over = || session.beats().over.then_some(());
        Deadline::after(Duration::from_secs(5)).poll(over).is_some()
    });
    screen.claim(over, "the session that the rule had let in is over")?;
    it.sessions_go_on()
}
