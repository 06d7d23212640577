//! Detaching removes every hook: in this version the perimeter ends with its agent.

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
    screen.say("So keep it running: in this version the perimeter ends with its agent.");
    it.sessions_go_on()
}
