//! Both sides of the comparison: the programs with their maps, and the decision over plain containers.

use std::{collections::HashMap, fmt::Debug, mem, thread, time::Duration};

use nsp_agent::{
    compile::overlay::OverlayTables,
    datapath::{Capacities, FlowRoom},
};
use nsp_common::{
    decision::Decision,
    explain::{Answer, Question},
    flow::{Flow, FlowKey},
    link::resolving,
    packet::Packet,
    verdict::{Category, Direction, Reason, Verdict},
};
use nsp_tests::prog::{
    DEVICE, Delta, Entries, Generation, Lab, Network, compiled,
    model::{Bucket, Model, coarse_ns},
    random::Random,
};
use rustix::thread::{CpuSet, sched_getcpu, sched_setaffinity};

use super::{
    frames::{Frames, Sample, errors},
    tally::Tally,
};
use crate::host::{Host, SERVICE, SLICE, overlay};

/// The cgroup of a recursive resolver.
const RECURSOR: u64 = 1003;
/// Packets between two looks at all counters.
const BATCH: u64 = 2_000;
/// Packets by the same network.
const SPELL: u64 = 40;
/// Packets between two conversations that the operator ends.
const CUT_EVERY: u64 = 40;
/// More ICMP errors than pass in a second, by so many.
const ERRORS_BEYOND: u64 = 70;
const SECOND: u64 = 1_000_000_000;

/// Packets and bytes.
type Sum = (u64, u64);

pub(super) struct Sides {
    seed: u64,
    number: u64,
    lab: Lab,
    entries: Entries,
    frames: Frames,
    /// What the model carries from one policy to the next.
    flows: HashMap<FlowKey, Flow>,
    budgets: [Bucket; 2],
    /// Keys of packets before, some of which have conversations.
    recent: Vec<FlowKey>,
    /// What is to have been counted since the programs were loaded, and since the last look.
    counted: HashMap<(Reason, Direction, Verdict), Sum>,
    since: Delta,
}

impl Sides {
    /// A set of programs of its own, by one processor: budgets are each processor's.
    pub(super) fn seeded(seed: u64) -> Self {
        let mut here = CpuSet::new();
        here.set(sched_getcpu());
        sched_setaffinity(None, &here).expect("a thread may stay where it is");
        let least = Capacities::for_sizes(&Default::default());
        let lab = Lab::with(Capacities { flows: FlowRoom::of(1 << 17), ..least });
        let entries = Entries::of(&lab.datapath);
        Self {
            seed,
            number: 0,
            lab,
            entries,
            frames: Frames::seeded(seed),
            flows: HashMap::new(),
            budgets: [Bucket::default(); 2],
            recent: Vec::new(),
            counted: HashMap::new(),
            since: Delta::new(),
        }
    }

    /// Packets before any policy is published.
    pub(super) fn without_policy(&mut self, policy: &str, packets: u64, tally: &mut Tally) {
        let generation = compiled(policy, &mut Default::default());
        let mut model = Model::new(&generation.compiled, 0);
        for _ in 0..packets {
            let sample = self.frames.next();
            self.compare(&mut model, &sample, tally);
        }
        self.look();
    }

    /// Packets under a policy.
    pub(super) fn under(&mut self, policy: &str, round: u64, packets: u64, tally: &mut Tally) {
        self.lab.apply(policy);
        let host = Host::of(&mut self.lab);
        host.tell_kernel(&mut self.lab);
        let resolving = [(RECURSOR, resolving::RECURSIVE)];
        self.lab.datapath.set_resolving(&resolving).expect("a cgroup fits");
        let generation = self.lab.generation.take().expect("a policy is in force");
        let mut model = self.model(&generation, &host);
        for packet in 0..packets {
            if packet % (packets / 4) == 0 {
                // One round in three nothing; in the others, half of the time a part of it is over.
                let is_later = packet / (packets / 4) % 2 == 1;
                let until_s = if is_later { 1 } else { u32::MAX };
                model.overlay = match round % 3 {
                    1 => OverlayTables::default(),
                    _ => overlay(&mut self.lab, until_s),
                };
                self.lab.datapath.set_overlay(&model.overlay).expect("it fits");
            }
            if packet % SPELL == 0 {
                let networks = [Network::Public, Network::Public, Network::Private];
                let network = self.frames.random.of(&networks);
                self.lead_to(&mut model, network);
            }
            if packet % CUT_EVERY == 0 {
                self.cut(&mut model);
            }
            if packet % BATCH == BATCH - 1 {
                self.look();
            }
            let sample = self.frames.next();
            self.compare(&mut model, &sample, tally);
        }
        if round == 0 {
            self.too_many_errors(&mut model, tally);
        }
        self.look();
        self.compare_flows(&mut model);
        (self.flows, self.budgets) = (model.flows, model.budgets);
    }

    fn model<'a>(&mut self, generation: &'a Generation, host: &Host) -> Model<'a> {
        let number = self.lab.datapath.generation().expect("a policy is in force");
        let mut model = Model::new(&generation.compiled, number);
        (model.flows, model.budgets) = (mem::take(&mut self.flows), self.budgets);
        host.tell_model(&mut model);
        model
    }

    fn lead_to(&mut self, model: &mut Model<'_>, network: Network) {
        self.lab.by_network(network);
        model.groups = [(DEVICE, network as u8)].into();
    }

    /// Ends the conversation of a packet that was there before, if it has one.
    fn cut(&mut self, model: &mut Model<'_>) {
        if self.recent.is_empty() {
            return;
        }
        let key = self.frames.random.of(&self.recent);
        model.cut(&key);
        self.lab.datapath.cut_flow(&key, &Flow::EMPTY).expect("it runs");
    }

    /// More errors in a moment than pass in a second.
    fn too_many_errors(&mut self, model: &mut Model<'_>, tally: &mut Tally) {
        self.lead_to(model, Network::Private);
        wait_for_a_new_second();
        let mut random = Random::seeded(self.seed ^ 0x6963_6d70);
        let mut samples = errors(&mut random, 1000 + ERRORS_BEYOND);
        let beyond = samples.split_off(1000);
        for sample in samples {
            self.hurry(model, &sample, tally);
        }
        for sample in beyond {
            self.compare(model, &sample, tally);
        }
        wait_for_a_new_second();
    }

    /// One packet whose verdict alone is compared: so many in a second that a busy machine has no time for more.
    /// What it was counted as shows at the next look.
    fn hurry(&mut self, model: &mut Model<'_>, sample: &Sample, tally: &mut Tally) {
        let Sample { entry, bytes } = sample;
        let packet = entry.parsed(bytes);
        model.now_ns = Some(coarse_ns());
        let Some(verdict) = self.entries.judge(*entry, bytes) else { return };
        let decision = model.judge(&packet);
        if decision.verdict != verdict {
            self.differ(sample, &verdict, &decision);
        }
        self.number += 1;
        self.count(&decision, &packet);
        tally.add(*entry, &decision);
    }

    /// One packet: described to the dry run, then judged for real by the program and by the model.
    fn compare(&mut self, model: &mut Model<'_>, sample: &Sample, tally: &mut Tally) {
        self.number += 1;
        let Sample { entry, bytes } = sample;
        let packet = entry.parsed(bytes);
        self.compare_description(model, sample, &packet, tally);

        let before = coarse_ns();
        let Some(verdict) = self.entries.judge(*entry, bytes) else {
            tally.too_short += 1;
            return;
        };
        let after = coarse_ns();
        model.now_ns = Some(before);
        if before != after {
            // The clock went on in between: which of the two the program read shows by what it did.
            let foretold = model.foretell(&packet);
            if foretold.verdict != verdict || !self.is_counted(&foretold, &packet) {
                model.now_ns = Some(after);
            }
        }
        let decision = model.judge(&packet);
        if decision.verdict != verdict || !self.is_counted(&decision, &packet) {
            let counted = self.last_counted();
            self.differ(sample, &(verdict, counted), &decision);
        }
        self.count(&decision, &packet);
        tally.add(*entry, &decision);
        let is_edge = |bucket: &Bucket| {
            let ends = bucket.filled_ns + SECOND;
            bucket.filled_ns == before
                || bucket.filled_ns == after
                || before < ends && ends <= after
        };
        if before != after && model.budgets.iter().any(is_edge) {
            // Either could have been the instant at which a second began.
            wait_for_a_new_second();
        }
        if self.recent.len() == 16 {
            self.recent.remove(0);
        }
        self.recent.push(packet.key);
    }

    fn compare_description(
        &mut self,
        model: &mut Model<'_>,
        sample: &Sample,
        packet: &Packet,
        tally: &mut Tally,
    ) {
        let cgroups = self.frames.random.of(&[
            [0; 8],
            [0, SLICE, 0, 0, 0, 0, 0, 0],
            [0, SLICE, SERVICE, 7, 0, 0, 0, 0],
            [0, RECURSOR, 0, 0, 0, 0, 0, 0],
            [0, RECURSOR, SERVICE, 0, 0, 0, 0, 0],
        ]);
        (model.cgroups, model.is_recursive) = (cgroups, cgroups.contains(&RECURSOR));
        model.now_ns = None;
        let decision = model.explain(packet);
        let expected = Answer::of(&decision, model.number);
        let question = Question { cgroups, packet: *packet };
        let answer = self.lab.datapath.explain(&question).expect("an answer");
        if answer != expected {
            self.differ(sample, &answer, &(expected, cgroups));
        }
        tally.add_described(&decision);
        // A test run has no sender.
        (model.cgroups, model.is_recursive) = ([0; 8], false);
    }

    /// Whether the one counter that is to have gone up did.
    fn is_counted(&self, decision: &Decision, packet: &Packet) -> bool {
        let Decision { reason, verdict, .. } = *decision;
        let counter = self.lab.datapath.reason(reason, packet.way(), verdict);
        let counter = counter.expect("a counter can be read");
        let before = self.counted.get(&(reason, packet.way(), verdict)).copied();
        let (packets, bytes) = before.unwrap_or_default();
        (counter.packets, counter.bytes) == (packets + 1, bytes + u64::from(packet.length))
    }

    fn count(&mut self, decision: &Decision, packet: &Packet) {
        let Decision { reason, verdict, .. } = *decision;
        let mut add = |name: String| {
            let sum = self.since.entry(name).or_default();
            *sum = (sum.0 + 1, sum.1 + u64::from(packet.length));
        };
        add(format!("{:?} {verdict:?} {reason:?}", packet.way()));
        let category = decision.category();
        if category != Category::None {
            add(format!("{category:?}"));
        }
        let sum = self.counted.entry((reason, packet.way(), verdict)).or_default();
        *sum = (sum.0 + 1, sum.1 + u64::from(packet.length));
    }

    /// Compares all counters, of reasons, categories and losses, and takes the records, so that their
    /// tables have room.
    fn look(&mut self) {
        let _records = self.lab.records();
        let expected = mem::take(&mut self.since);
        assert_eq!(self.lab.delta(), expected, "{}: counters (left), the model", self.place());
    }

    /// The conversations of both, but for the clock.
    fn compare_flows(&mut self, model: &mut Model<'_>) {
        model.now_ns = None;
        model.age();
        let untimed = |flow: Flow| Flow { opened_ns: 0, seen_ns: 0, ..flow };
        let tracked = self.lab.datapath.flows().expect("conversations can be read");
        let now_ns = coarse_ns();
        let live = tracked.iter().filter(|it| !it.flow.is_expired(it.key.protocol, now_ns));
        let live: HashMap<_, _> = live.map(|entry| (entry.key, entry.flow)).collect();
        for (key, flow) in &live {
            let expected = model.flows.get(key).copied().map(untimed);
            assert_eq!(Some(untimed(*flow)), expected, "{}: {key:?}", self.place());
        }
        assert_eq!(live.len(), model.flows.len(), "{}: conversations", self.place());
    }

    fn place(&self) -> String {
        format!("seed {:#x}, packet {}", self.seed, self.number)
    }

    /// The counters that went up and were not to, as far as one packet can do so.
    fn last_counted(&mut self) -> Delta {
        let mut delta = self.lab.delta();
        for (name, sum) in &self.since {
            if delta.get(name) == Some(sum) {
                delta.remove(name);
            }
        }
        delta
    }

    /// Says all that is needed to see it again.
    fn differ(&self, sample: &Sample, kernel: &impl Debug, model: &impl Debug) -> ! {
        let Sample { entry, bytes } = sample;
        let hex: String = bytes.iter().map(|byte| format!("{byte:02x}")).collect();
        panic!(
            "{}: a difference\n  {} ({entry:?}) of {hex}\n  {:?}\n  kernel: {kernel:?}\n  model:  \
             {model:?}\n  to see it again: NSP_DIFFERENTIAL_SEED={:#x} cargo xtask test prog -- \
             differential --nocapture",
            self.place(),
            entry.program(),
            entry.parsed(bytes),
            self.seed,
        );
    }
}

/// After it both sides begin a new second with the next ICMP error.
fn wait_for_a_new_second() {
    thread::sleep(Duration::from_millis(1100));
}
