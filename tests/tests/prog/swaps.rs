//! Policies swapped under a flood: each packet is judged by one of them, whole, and none is lost that
//! both allow.
//!
//! Two policies say unlike things of the same packets (`policies`, `probes`), and every record tells its
//! generation: what is in it must be what that generation's policy says when it is alone (`ledger`). That
//! no mixture of their tables would pass unseen is a test of its own (`mixture`).

mod ledger;
mod mixture;
mod policies;
mod probes;
mod sayings;

use std::{
    net::IpAddr,
    sync::atomic::AtomicBool,
    thread,
    time::{Duration, Instant},
};

use nsp_agent::datapath::Engine;
use nsp_common::{
    address::Address,
    class::PortEntry,
    learned::{QUOTA_EXACT, Unit},
    link::endpoint,
    selector::Selector,
    verdict::Verdict,
};
use nsp_tests::prog::{Flood, Frame, Lab, Runner, side_by_side};
use rstest::rstest;

use self::{
    ledger::Ledger,
    mixture::{PARTS, Part, mixed},
    policies::{LEARNED, NAMES, Policy, RESOLVER},
    sayings::{Saying, asked, summed, told},
};

/// Swaps of the short form. Each waits for the kernel before it writes, and in the update of the trie of
/// names: 7 to 20 ms on two busy processors.
const SWAPS: usize = 2_000;
/// The same by the reference engine, which has three maps that are waited for.
const SWAPS_BY_TRIE: usize = 250;
/// Swaps of the long form.
const SWAPS_FULL: usize = 10_000;

/// Which of the two is published, over and over: in turn, and once the same again. There are three slots,
/// so that a slot gets now what it held before, now the other.
const TURNS: [usize; 5] = [0, 1, 0, 1, 1];

/// Threads of the flood: two packets may be judged at once, by two generations.
const THREADS: usize = 2;

/// Swaps between two drains: the records of as many generations find room together.
const DRAIN_EVERY: usize = 64;

/// Both policies, and a host that they are about.
struct Story {
    lab: Lab,
    policies: [Policy; 2],
    ledger: Ledger,
}

impl Story {
    /// Asks each policy alone what it says; the conversations are open then.
    fn begin(mut lab: Lab) -> Self {
        let policies = policies::both(&mut lab.identities);
        let resolvers = [RESOLVER.0, RESOLVER.1].map(address);
        let endpoints = resolvers.map(|it| (Address::from(it), endpoint::RESOLVER));
        lab.datapath.set_endpoints(&endpoints).expect("they fit");
        for (ends, name) in LEARNED {
            let unit = Unit { name: lab.identities.name(NAMES[name]), quota: QUOTA_EXACT };
            for text in [ends.0, ends.1] {
                lab.datapath.teach(address(text), unit, u32::MAX).expect("it runs");
            }
        }
        let mut story = Self { lab, policies, ledger: Ledger::new(probes::all()) };
        let runner = Runner::of(&story.lab.datapath);
        for policy in 0..2 {
            story.publish(policy);
            for frame in probes::handshakes() {
                let _verdict = runner.judge(&frame);
            }
        }
        for policy in 0..2 {
            story.publish(policy);
            let says = asked(&mut story.lab, &runner, &story.ledger.probes);
            story.ledger.learn(policy, says, &story.lab);
        }
        story.lab.clear();
        story
    }

    fn publish(&mut self, policy: usize) {
        let Policy { compiled, selectors, listeners } = &self.policies[policy];
        let number = self.lab.datapath.publish(compiled, selectors, listeners).expect("it fits");
        self.ledger.published(number, policy);
    }

    /// Something comes and goes on the host that no packet is about.
    fn pass_by(&mut self, policy: usize) {
        let datapath = &mut self.lab.datapath;
        let selectors = &self.policies[policy].selectors;
        let passer_by = (Selector::address(0, &Address::v4([192, 0, 2, 99])), selectors[0].1);
        let more = [&selectors[..], &[passer_by]].concat();
        datapath.select(&more).expect("they fit");
        for association in [passer_by.1, 0] {
            datapath.set_port(6, 7001, PortEntry { class: 0, association });
        }
        datapath.select(selectors).expect("they fit");
    }
}

fn address(text: &str) -> IpAddr {
    text.parse().expect("a constant")
}

/// Every single table of an engine and every pair of them.
fn part_lists(engine: Engine) -> Vec<Vec<Part>> {
    let parts: Vec<Part> = PARTS.into_iter().filter(|part| part.is_of(engine)).collect();
    let pairs = parts
        .iter()
        .enumerate()
        .flat_map(|(at, one)| parts[at + 1..].iter().map(move |other| vec![*one, *other]));
    parts.iter().map(|part| vec![*part]).chain(pairs).collect()
}

#[rstest]
#[case::range_table(Engine::RangeTable)]
#[case::lpm_trie(Engine::LpmTrie)]
fn no_mixture_of_the_two_policies_would_pass_unseen(#[case] engine: Engine) {
    let mut story = Story::begin(Lab::by(engine));
    let Ledger { probes, .. } = &story.ledger;
    let fresh: Vec<usize> = (0..probes.len()).filter(|at| probes[*at].is_fresh).collect();
    let frames: Vec<Frame> = fresh.iter().map(|at| probes[*at].frame.clone()).collect();
    let runner = Runner::of(&story.lab.datapath);
    for parts in part_lists(engine) {
        for of in 0..2 {
            let mixture = mixed(&story.policies[of], &story.policies[1 - of], &parts);
            let Policy { compiled, selectors, listeners } = &mixture;
            story.lab.datapath.publish(compiled, selectors, listeners).expect("it fits");
            story.lab.clear();
            let judged: Vec<Verdict> = frames.iter().map(|frame| runner.judge(frame)).collect();
            let (records, _) = story.lab.records();
            // The header has the number, by which the records are one policy's.
            let owner = if parts.contains(&Part::Header) { 1 - of } else { of };
            let says: Vec<Saying> = fresh.iter().map(|at| story.ledger.says(owner, *at)).collect();
            let is_unseen = judged.iter().eq(says.iter().map(|saying| &saying.verdict))
                && summed(&records) == told(&says);
            assert!(!is_unseen, "{parts:?} of the other in {of} would pass for {owner}");
        }
    }
}

#[rstest]
#[case::range_table(Engine::RangeTable, SWAPS)]
#[case::lpm_trie(Engine::LpmTrie, SWAPS_BY_TRIE)]
fn swapped_policies_judge_each_packet_whole_and_lose_none(
    #[case] engine: Engine,
    #[case] swaps: usize,
) {
    let full = std::env::var_os("NSP_TEST_FULL").is_some();
    swap(Story::begin(Lab::by(engine)), if full { SWAPS_FULL } else { swaps });
}

#[test]
fn two_processors_that_judge_a_conversation_anew_do_not_mix_policies() {
    const ROUNDS: usize = 20;
    const CONVERSATIONS: u16 = 500;
    let mut story = Story::begin(Lab::load());
    let runner = Runner::of(&story.lab.datapath);
    let frames: Vec<Frame> = (10_000..10_000 + CONVERSATIONS).flat_map(probes::datagrams).collect();
    story.publish(0);
    let open = |frame| assert_eq!(runner.judge(frame), Verdict::Pass);
    frames.iter().for_each(open);
    for round in 0..ROUNDS {
        story.publish(1 - round % 2);
        side_by_side(&runner, &frames);
        story.ledger.drain(&mut story.lab);
        // What they left behind is of one policy too.
        for frame in &frames {
            let _verdict = runner.judge(frame);
        }
        story.ledger.drain(&mut story.lab);
    }
}

fn swap(mut story: Story, swaps: usize) {
    let frames: Vec<Frame> = story.ledger.probes.iter().map(|it| it.frame.clone()).collect();
    let fates: Vec<[Verdict; 2]> =
        story.ledger.probes.iter().map(|it| it.fates.map(probes::Fate::verdict)).collect();
    let may = |at: usize, verdict| fates[at].contains(&verdict);
    let runner = Runner::of(&story.lab.datapath);
    let stop = AtomicBool::new(false);
    let begun = Instant::now();
    let mut publishing = Duration::ZERO;
    let tally = thread::scope(|scope| {
        let flood = Flood::begin(scope, &stop, THREADS, &runner, &frames, may);
        for swap in (0..swaps).take_while(|_| !flood.is_over()) {
            let policy = TURNS[swap % TURNS.len()];
            let begun = Instant::now();
            story.publish(policy);
            publishing += begun.elapsed();
            story.pass_by(policy);
            if swap % DRAIN_EVERY == DRAIN_EVERY - 1 {
                story.ledger.drain(&mut story.lab);
            }
        }
        flood.end()
    });
    let seconds = begun.elapsed().as_secs_f64();
    story.ledger.balance(&tally, &mut story.lab);
    let is_allowed = |at: &usize| fates[*at] == [Verdict::Pass; 2];
    let allowed: u64 = (0..fates.len()).filter(is_allowed).map(|at| tally.judged(at)).sum();
    println!(
        "{swaps} swaps in {seconds:.1} s ({:.0} a second; a publication takes {:.1} ms), {} packets \
         judged; {allowed} of them both policies allow, and none of these was dropped",
        swaps as f64 / seconds,
        publishing.as_secs_f64() * 1000.0 / swaps as f64,
        tally.all(),
    );
}
