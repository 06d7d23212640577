//! Detaching removes every hook: only that does, for the perimeter outlives an agent that is killed.

use std::time::Duration;

use super::{Play, Service};
use crate::{
    demo::{Told, scene::play},
    packet::Party,
};

pub(super) fn run(it: &mut Play) -> Told {
    let screen = it.screen;
    it.show(&["detach"], |_| true)?;
    let ended = it.agent.process().wait(Duration::from_secs(5)).is_some();
    screen.claim(ended, "the agent has ended")?;
    let back = "no hook is left";
    play(screen, None, &[it.comes(Party::Stranger, Service::Website).succeeds().because(back)])?;
    screen.line("");
    screen.say(
        "Only this opens it: an agent that is killed or ended leaves its last policy in force.",
    );
    it.sessions_go_on()
}
