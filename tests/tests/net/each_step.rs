//! The agent is killed at each system call of an apply. What is in force then is the old policy or the new one,
//! with the agent dead, and with the next one that starts over the same pins and the same state.
//!
//! The calls are those by which it changes anything outside itself: of the kernel's tables (`bpf`), and of
//! files. It is killed before the call is made, so after the one before it too.

use std::{
    fmt, thread,
    time::{Duration, Instant},
};

use nsp_tests::{agent::Agent, deadline::Deadline, strace::Strace};

use crate::{
    seen,
    two_policies::{InForce, POLICIES, Scene, Which, file_is_told_of, said_by},
};

/// What an apply does to the world, as strace names it; there are several calls for some of it.
const CALLS: [&str; 6] =
    ["bpf", "/^rename", "/^f(data)?sync", "write", "/^(unlink|rmdir)", "/^mkdir"];

/// How long a change waits to be confirmed.
const PATIENCE: Duration = Duration::from_secs(2);

/// How late the programs may notice that it is over.
const LATE_MAX: Duration = Duration::from_secs(1);

/// What came of it.
#[derive(Default)]
struct Tally {
    points: u32,
    /// What was in force while nobody ran.
    old: u32,
    new: u32,
    neither: Vec<String>,
    mixed: Vec<String>,
    /// With the next agent.
    old_after: u32,
    new_after: u32,
}

impl fmt::Display for Tally {
    fn fmt(&self, to: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { points, old, new, neither, mixed, old_after, new_after } = self;
        write!(
            to,
            "{points} points, {old} old, {new} new, {} neither, {} mixed; after the next start {old_after} old, \
             {new_after} new",
            neither.len(),
            mixed.len(),
        )
    }
}

impl Tally {
    /// Notes what was in force at a point, with the agent dead; which it was, if it was one of the two.
    fn note(&mut self, point: &str, old: Which, in_force: InForce) -> Option<Which> {
        match in_force {
            InForce::Wholly(which) => {
                *(if which == old { &mut self.old } else { &mut self.new }) += 1;
                return Some(which);
            }
            InForce::Neither(packets) => self.neither.push(format!("{point}: {packets:?}")),
            InForce::Mixed(packets) => self.mixed.push(format!("{point}: {packets:?}")),
        }
        None
    }
}

/// An agent with one of the two in force, and a way to the other.
struct Stage {
    scene: Scene,
    agent: Agent,
    now: Which,
    /// The verbs that change it, in order. The last one is what is looked at.
    verbs: &'static [&'static [&'static str]],
    tally: Tally,
}

const APPLY: &[&[&str]] = &[&["apply"]];
const APPLY_CONFIRM: &[&[&str]] = &[&["apply", "--confirm", "2s"]];
const CONFIRM: &[&[&str]] = &[&["apply", "--confirm", "1m"], &["confirm"]];

impl Stage {
    fn new(verbs: &'static [&'static [&'static str]], arguments: &[&str]) -> Self {
        let scene = Scene::new();
        let mut builder = scene.agent();
        for argument in arguments {
            builder = builder.argument(argument);
        }
        let agent = builder.start();
        scene.learned(&agent);
        assert_eq!(scene.in_force(), InForce::Wholly(0), "{}", agent.stderr());
        Self { scene, agent, now: 0, verbs, tally: Tally::default() }
    }

    /// Does it once with strace beside it; how often each of the calls was made.
    fn change(&mut self, calls: &str, inject: Option<&str>) -> (bool, Vec<String>) {
        self.agent.write_policy(POLICIES[1 - self.now]);
        let (last, before) = self.verbs.split_last().expect("a verb at least");
        for verb in before {
            self.agent.nsp_ok(verb);
        }
        let log = self.agent.home().path().join("strace");
        let strace = Strace::attach(self.agent.process().pid(), calls, inject, &log);
        let is_done = self.agent.nsp(last).status.success();
        if !is_done {
            let ended = Deadline::after(Duration::from_secs(10))
                .poll(|| (!self.agent.is_running()).then_some(()));
            assert!(ended.is_some(), "{last:?} failed and it lives: {}", self.agent.stderr());
        }
        (is_done, strace.calls())
    }

    /// How often each call is made by one change, which is made twice: there and back.
    fn counts(&mut self) -> Vec<(&'static str, usize)> {
        let counts = CALLS.map(|calls| {
            let (is_done, made) = self.change(calls, None);
            assert!(is_done, "{}", self.agent.stderr());
            self.settle();
            (calls, made.len())
        });
        counts.into_iter().collect()
    }

    /// It lives, and has done what it was told to.
    fn settle(&mut self) {
        if self.verbs == APPLY_CONFIRM {
            self.agent.nsp_ok(&["rollback"]);
        } else {
            self.now = 1 - self.now;
        }
        let in_force = self.scene.in_force();
        assert_eq!(in_force, InForce::Wholly(self.now), "{}", self.agent.stderr());
    }

    /// Kills it at the `number`th of these calls; false when there is none.
    fn kill_at(&mut self, calls: &str, number: usize) -> bool {
        let old = self.now;
        let (is_done, made) = self.change(calls, Some(&format!("signal=SIGKILL:when={number}")));
        // Whatever time it was given began before this.
        let given = Instant::now();
        if is_done && self.agent.is_running() {
            self.settle();
            return false;
        }
        self.agent.kill();
        let at = made.last().map_or("nothing", |line| line.split(" = ").next().unwrap_or(line));
        let point = format!("{calls} {number}: {}", at.chars().take(120).collect::<String>());
        self.tally.points += 1;
        let found = self.scene.in_force();
        let dead = self.tally.note(&point, old, found);
        if self.verbs == APPLY_CONFIRM {
            thread::sleep(PATIENCE.saturating_sub(given.elapsed()) + Duration::from_millis(20));
            // The programs go by ticks, which come late on a machine that has no time for them.
            let over = Deadline::after(LATE_MAX)
                .poll(|| (self.scene.in_force() == InForce::Wholly(old)).then_some(()));
            assert!(over.is_some(), "{point}: its time is over: {:?}", self.scene.in_force());
        }
        self.agent.start();
        let said = self.agent.stderr();
        assert!(said.contains("pinned maps are adopted"), "{point}: {said}");
        let after = self.scene.in_force();
        let InForce::Wholly(now) = after else {
            panic!("{point}: {after:?} after the start\n{said}")
        };
        assert_eq!(said_by(&seen::status(&self.agent)), now, "{point}: {said}");
        file_is_told_of(&self.agent, now);
        *(if now == old { &mut self.tally.old_after } else { &mut self.tally.new_after }) += 1;
        if self.verbs == APPLY_CONFIRM {
            assert_eq!(now, old, "{point}: nobody confirmed it\n{said}");
        }
        if std::env::var_os("NSP_TEST_FULL").is_some() {
            println!("    {point}: {dead:?}, then {now}, was {old}");
        }
        self.now = now;
        true
    }

    /// At so many points, spread over all there are; at all of them in the long form.
    fn run(mut self, what: &str, points: usize) {
        let counts = self.counts();
        println!("{what}: {counts:?}");
        if std::env::var_os("NSP_TEST_FULL").is_some() {
            for calls in CALLS {
                (1..).take_while(|number| self.kill_at(calls, *number)).for_each(drop);
            }
        } else {
            let all: Vec<_> = counts
                .iter()
                .flat_map(|(calls, count)| (1..=*count).map(move |it| (*calls, it)))
                .collect();
            for place in 0..points {
                let (calls, number) = all[(2 * place + 1) * all.len() / (2 * points)];
                // How many there are is not the same each time: an earlier one, where this was not reached.
                let mut numbers = std::iter::successors(Some(number), |it| Some(it / 2));
                numbers.by_ref().take_while(|it| *it != 0).any(|it| self.kill_at(calls, it));
            }
        }
        let Tally { neither, mixed, points: reached, .. } = &self.tally;
        println!("{what}: {}", self.tally);
        assert!(neither.is_empty() && mixed.is_empty(), "neither {neither:#?}, mixed {mixed:#?}");
        assert!(*reached as usize * 2 >= points, "{reached} of {points} points were reached");
    }
}

#[test]
fn killed_at_any_call_of_an_apply_leaves_the_old_policy_or_the_new_one() {
    Stage::new(APPLY, &[]).run("apply", 7);
}

#[test]
fn killed_at_any_call_of_an_apply_that_waits_leaves_either_until_its_time_is_over_and_then_the_old_one()
 {
    Stage::new(APPLY_CONFIRM, &[]).run("apply --confirm", 4);
}

#[test]
fn killed_at_any_call_of_a_confirmation_leaves_the_old_policy_or_the_new_one() {
    Stage::new(CONFIRM, &[]).run("confirm", 3);
}
