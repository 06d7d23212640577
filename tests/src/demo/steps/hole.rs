//! Before NSP: the host's firewall is strict, and does not see what is published by DNAT.

use super::{Play, Service};
use crate::{
    demo::{
        Told,
        attempt::{Attempt, Kind},
        scene::play,
        stage::ADMIN,
    },
    packet::Party,
};

pub(super) fn run(it: &mut Play) -> Told {
    let screen = it.screen;
    screen.say(
        "The server drops what its input chain does not accept, port 8080 even by name. Its web site\n\
         runs in a container and is published on port 8080, the way Docker does it: by DNAT.",
    );
    let chain = it.stage.input_chain()?;
    screen.command("nft list chain inet firewall input");
    screen.output(chain.lines().skip(2).take_while(|line| line.trim() != "}").map(str::trim_start));
    let strict = chain.contains("policy drop") && chain.contains("tcp dport 8080 counter");
    screen.claim(strict, "the firewall says: port 8080 is closed")?;
    let stranger = |name, kind| Attempt::inbound(&it.stage, Party::Stranger, name, kind);
    play(
        screen,
        None,
        &[
            stranger("admin page", Kind::Tcp(ADMIN))
                .meets_silence()
                .because("firewall: policy drop"),
            it.comes(Party::Stranger, Service::Website)
                .succeeds()
                .because("DNAT, past the input chain"),
            it.comes(Party::Stranger, Service::Database)
                .succeeds()
                .because("firewall: 5432 is accepted"),
        ],
    )?;
    screen.line("");
    let unseen = it.stage.input_chain()?.contains("counter packets 0 bytes 0 drop");
    screen.claim(unseen, "and yet it is open: the rule against port 8080 has counted 0 packets")?;
    let aside = it.stage.proxy_served().arrivals == 0;
    screen.claim(aside, "what answered was the container, not a process of the host")
}
