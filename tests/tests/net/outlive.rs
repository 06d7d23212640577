//! The perimeter without its agent: killed while traffic runs, and started again.

use std::{fs, time::Duration};

use nsp_tests::{
    agent::Agent,
    netns::World,
    packet::{BOTH, Party},
    pinned,
    sockets::Outcome,
    survival::{self, Figures, Pace},
};

use crate::seen;

/// What became of it, and the generations before and after.
struct Survived {
    figures: Figures,
    generations: [u64; 2],
    said: String,
    agent: Agent,
    _world: World,
}

/// How often it is killed.
fn kills() -> u32 {
    if std::env::var_os("NSP_TEST_FULL").is_some() { 100 } else { 6 }
}

/// The same of what takes longer.
fn few_kills() -> u32 {
    kills() / 2
}

fn survive(xdp_mode: &str, kills: u32, restart: impl FnMut(&mut Agent, u32)) -> Survived {
    let world = World::builder().clients(&[Party::Office, Party::Stranger]).build();
    let mut agent = Agent::builder(world.server())
        .policy(survival::POLICY)
        .arguments(&["--xdp-mode", xdp_mode])
        .start();
    let generation = |agent: &Agent| seen::number(&seen::status(agent)["generation"]);
    let before = generation(&agent);
    let figures = survival::survive(&world, &mut agent, kills, Pace::REAL, restart);
    println!("--xdp-mode {xdp_mode}: {figures}");
    let Figures { denied, leaked, calls, lives, opened, .. } = figures;
    assert_eq!((leaked, calls[1], lives[1]), (0, 0, 0), "{figures}\n{}", agent.stderr());
    let kills = u64::from(kills);
    assert!(denied > 100 * kills && opened[0] > 4 * kills, "{figures}");
    for family in BOTH {
        assert_eq!(world.connect(Party::Stranger, family, 5432), Outcome::TimedOut);
    }
    let generations = [before, generation(&agent)];
    Survived { figures, generations, said: agent.stderr(), agent, _world: world }
}

/// No packet that a rule allows was dropped: none had to be sent again. And none that was counted is missing in
/// the log, but what is counted as lost.
fn nothing_was_lost(survived: &Survived) {
    let Survived { figures, said, agent, .. } = survived;
    seen::settle(agent);
    assert_eq!((figures.again, figures.opened[1]), (0, 0), "{figures}\n{said}");
}

fn is_killed_when_ready(xdp_mode: &str) {
    let survived = survive(xdp_mode, kills(), |agent, _| agent.start());
    nothing_was_lost(&survived);
    let [before, after] = survived.generations;
    assert_eq!(after, before + u64::from(kills()), "each start publishes once, and counts on");
}

#[test]
fn nothing_leaks_and_nothing_is_cut_when_it_is_killed_under_native_xdp() {
    is_killed_when_ready("native");
}

#[test]
fn nothing_leaks_and_nothing_is_cut_when_it_is_killed_under_tc() {
    is_killed_when_ready("off");
}

#[test]
fn nothing_leaks_and_nothing_is_cut_when_it_is_killed_while_it_starts() {
    // A start takes a second or two; the instants are spread over it.
    let survived = survive("native", few_kills(), |agent, kill| {
        agent.start_and_kill(Duration::from_millis(u64::from(kill) * 337 % 2500));
        agent.start();
    });
    nothing_was_lost(&survived);
}

/// The hooks still hold the maps, and are all that is in force.
#[test]
fn nothing_leaks_and_nothing_is_cut_when_the_files_of_its_maps_are_gone() {
    let survived = survive("native", few_kills(), |agent, _| {
        let directory = agent.home().pin_dir();
        for set in pinned::names(&directory).into_iter().filter(|name| name != "links") {
            fs::remove_dir_all(directory.join(set)).expect("a bpffs");
        }
        agent.start();
    });
    let Survived { figures, said, .. } = &survived;
    assert!(figures.opened[1] <= u64::from(few_kills()), "{figures}\n{said}");
}

/// Its maps are of another size each time: others take their place.
#[test]
fn nothing_leaks_and_nothing_is_cut_when_the_next_agent_brings_its_own_maps() {
    let survived = survive("native", few_kills(), |agent, kill| {
        let flows = if kill % 2 == 0 { "4096" } else { "2048" };
        agent.restart_with(&["--xdp-mode", "native", "--flows", flows]);
    });
    // Who is asked at the instant when programs change places may have to be asked again.
    let Survived { figures, said, generations, agent, .. } = &survived;
    seen::settle(agent);
    assert!(figures.opened[1] <= u64::from(few_kills()), "{figures}\n{said}");
    assert!(generations[1] >= generations[0] + u64::from(few_kills()), "{generations:?}");
}
