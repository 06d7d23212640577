//! A million conversations: what they take, what a packet of one costs, and what ageing them does. The
//! table of docs/performance.md; the short form has fewer.

use std::{
    thread,
    time::{Duration, Instant},
};

use nsp_agent::{
    compile::Sizes,
    datapath::{Capacities, FlowEntry, FlowRoom, FlowTable},
};
use nsp_common::{
    ageing::{Aged, Pace},
    flow::progress,
};
use nsp_tests::{
    deadline::Deadline,
    packet::{Family, eth, flag, raw},
    prog::{
        DEVICE, Lab,
        crowd::{CROWD, Crowd, Frames, Member, Service},
    },
};

pub(crate) fn is_full() -> bool {
    std::env::var_os("NSP_TEST_FULL").is_some()
}

/// Programs with this much room, and the crowd's policy.
pub(crate) fn lab_with(flows: FlowRoom) -> Lab {
    let mut lab = Lab::with(Capacities { flows, ..Capacities::for_sizes(&Sizes::default()) });
    lab.put_in_force(CROWD);
    lab.clear();
    lab
}

/// Numbers that look random, the same in each run.
struct Random(u64);

impl Random {
    fn below(&mut self, most: u32) -> u32 {
        // xorshift64 (Marsaglia 2003).
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0 % u64::from(most)) as u32
    }
}

fn median(times: &mut [Duration]) -> u64 {
    times.sort_unstable();
    times[times.len() / 2].as_nanos() as u64
}

/// Who is at the other ends: one conversation each, or many.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Peers {
    Many,
    Few,
}

impl Peers {
    fn member(self, family: Family, number: u32) -> Member {
        let member = Member::new(family, Service::Inbound, number);
        if self == Self::Few { member.of_few() } else { member }
    }

    /// What a packet of a random conversation among the first `count` costs: nothing at all (a frame that
    /// is no IP), coming in, going out. Nanoseconds, the first taken off the others.
    fn cost(self, lab: &Lab, family: Family, count: u32, runs: u32) -> [u64; 3] {
        let mut frames = Frames::default();
        let mut random = Random(0x9e37_79b9_7f4a_7c15);
        let nothing = (eth() / raw(0, [0_u8; 60])).bytes();
        let mut times: [Vec<Duration>; 3] = Default::default();
        for _ in 0..runs {
            let comes = frames.from_peer(self.member(family, random.below(count)), flag::ACK);
            // Another one: this one's entry is in the cache now.
            let goes = frames.to_peer(self.member(family, random.below(count)), flag::ACK);
            let rows = [("nsp_xdp", &nothing), ("nsp_xdp", &comes), ("nsp_egress", &goes)];
            for ((program, frame), times) in rows.into_iter().zip(&mut times) {
                let run = lab.datapath.run_repeatedly(program, frame, DEVICE, 1);
                times.push(run.expect("it runs"));
            }
        }
        let [nothing, comes, goes] = times.each_mut().map(|times| median(times));
        [nothing, comes.saturating_sub(nothing), goes.saturating_sub(nothing)]
    }
}

fn aged(lab: &Lab) -> Aged {
    lab.datapath.aged().expect("the clock's count can be read")
}

/// What the clock did since: ticks, mean and longest time of one, in microseconds.
fn told(what: &str, lab: &Lab, before: Aged) -> u64 {
    let now = aged(lab);
    let ticks = (now.ticks - before.ticks).max(1);
    let mean = (now.spent_ns - before.spent_ns) / ticks;
    println!("  {what}: {ticks} ticks, mean {mean} ns, longest so far {} ns", now.longest_ns);
    mean
}

/// How much, and how often.
struct Scale {
    room: FlowRoom,
    counts: [u32; 4],
    runs: u32,
    /// Conversations that end at once.
    over: usize,
}

fn scale() -> Scale {
    if is_full() {
        Scale {
            room: FlowRoom { v4: 1 << 20, v6: 1 << 20 },
            counts: [1, 1_000, 100_000, 1_000_000],
            runs: 20_000,
            over: 200_000,
        }
    } else {
        Scale {
            room: FlowRoom { v4: 1 << 12, v6: 1 << 12 },
            counts: [1, 100, 1_000, 4_000],
            runs: 500,
            over: 1_000,
        }
    }
}

#[test]
fn cost_of_conversations() {
    let Scale { room, counts, runs, .. } = scale();
    for peers in [Peers::Many, Peers::Few] {
        let lab = lab_with(room);
        let mut crowd = Crowd::new(&lab);
        for family in [Family::V4, Family::V6] {
            println!(
                "{peers:?} peers, {family:?}: ns above a frame that is no IP, median of {runs}:"
            );
            let mut opened = 0;
            for count in counts {
                (opened..count).for_each(|number| crowd.open(peers.member(family, number)));
                opened = count;
                let [nothing, comes, goes] = peers.cost(&lab, family, count, runs);
                println!("  {count:>9} conversations: in {comes}, out {goes} (no IP {nothing})");
                assert!(comes < 20_000 && goes < 20_000, "a packet takes {comes} or {goes} ns");
            }
        }
    }
}

#[test]
fn many_conversations_take_what_is_said_and_age_in_small_steps() {
    let Scale { room, counts: [.., many], over, .. } = scale();
    let begun = Instant::now();
    let lab = lab_with(room);
    println!("loaded with room for {room:?} in {:?}", begun.elapsed());
    for table in lab.datapath.flow_tables() {
        let bytes = table.bytes.expect("the kernel tells");
        let each = bytes as f64 / f64::from(table.capacity);
        println!("  {}: {} of {bytes} bytes, {each:.1} each", table.table.name(), table.capacity);
    }
    let before = lab.datapath.flow_tables();
    let mut crowd = Crowd::new(&lab);
    let begun = Instant::now();
    for family in [Family::V4, Family::V6] {
        for number in 0..many {
            crowd.open(Member::new(family, Service::Inbound, number));
        }
    }
    println!("{many} opened in each family in {:?}", begun.elapsed());
    assert_eq!(lab.datapath.flow_tables(), before, "it takes no more than before");
    let count = || {
        let mut proven = 0_usize;
        let counted = lab.datapath.each_flow(|entry| proven += usize::from(entry.is_proven));
        counted.expect("they can be read");
        proven
    };
    let begun = Instant::now();
    assert_eq!(count(), 2 * many as usize, "nobody gave way");
    println!("all read in {:?}", begun.elapsed());
    let pace = Pace::of(room.v4, room.v6);
    println!("ageing, {pace:?}, a round takes {} ms:", pace.round_ms(room.v4, room.v6));
    let before = aged(&lab);
    let round = Duration::from_millis(pace.round_ms(room.v4, room.v6));
    thread::sleep(if is_full() { round } else { Duration::from_secs(2) });
    let mean = told("all alive", &lab, before);
    assert!(mean < 2_000_000, "a tick takes {mean} ns");
    end(&lab, over);
    let before = aged(&lab);
    let left = 2 * many as usize - over;
    let gone = Deadline::after(round * 3).poll(|| (count() == left).then_some(()));
    told("some dead", &lab, before);
    assert!(gone.is_some(), "{} are left, not {left}", count());
}

/// Makes so many conversations be over: reset at the beginning of time.
fn end(lab: &Lab, count: usize) {
    let mut over = Vec::new();
    let read = lab.datapath.each_flow(|entry| {
        if over.len() < count && entry.table() == FlowTable::ProvenV4 {
            over.push(entry);
        }
    });
    read.expect("they can be read");
    assert_eq!(over.len(), count);
    for FlowEntry { key, mut flow, .. } in over {
        flow.progress |= progress::LOCAL_RST;
        flow.seen_ns = 0;
        lab.datapath.keep_flow(&key, &flow).expect("there is room");
    }
}
