//! What goes out: of the server itself, and of the container behind its address.

use super::Play;
use crate::{
    demo::{
        Told,
        attempt::{Attempt, Kind},
        scene::play,
        stage::{HTTPS, HTTPS_ALT, SYSLOG},
    },
    packet::Party,
};

pub(super) fn run(it: &mut Play) -> Told {
    let to = |party, name, kind| Attempt::outbound(&it.stage, party, name, kind);
    let web = Kind::Tcp(HTTPS);
    let contained =
        |party, name, port| Attempt::from_container(&it.stage, party, name, Kind::Tcp(port));
    play(
        it.screen,
        Some(&it.agent),
        &[
            to(Party::Office, "os-updates", web).succeeds().logged(
                "ALLOW",
                "server",
                "rule os-updates",
            ),
            to(Party::Stranger, "stranger", web)
                .fails_at_once()
                .logged("DENY", "server", "no rule"),
            to(Party::Stranger, "stranger", Kind::Udp(SYSLOG))
                .fails_at_once()
                .logged("DENY", "server", "no rule"),
            to(Party::Member, "member", web).succeeds().logged(
                "ALLOW",
                "server",
                "member of the perimeter",
            ),
            to(Party::Private, "private peer", web)
                .succeeds()
                .because("private peer (counted, not logged)"),
            contained(Party::Stranger, "stranger", HTTPS_ALT)
                .meets_silence()
                .logged("DENY", "server", "no rule"),
        ],
    )?;
    it.screen.line("");
    it.screen.say("What is denied fails at once, a datagram too, and the log names the program.");
    it.screen.say("The container is no way around it: its packets leave as the server's own.");
    Ok(())
}
