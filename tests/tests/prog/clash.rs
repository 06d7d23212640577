//! Several at once: processors that open one conversation, and who reads while others write.

use std::{
    sync::{
        Barrier,
        atomic::{AtomicBool, Ordering},
    },
    thread,
};

use nsp_common::{
    flow::FlowKey,
    verdict::{Direction, Verdict},
};
use nsp_tests::{
    packet::{
        BOTH, Family,
        Party::{Office, Server},
        Tcp, eth, tcp,
    },
    prog::{ENFORCED, Frame, Lab, Runner},
};

const CONVERSATIONS: u16 = 500;
const FIRST_PORT: u16 = 1;

#[test]
fn two_processors_that_open_a_conversation_at_once_make_one_and_drop_nothing() {
    let mut lab = Lab::shared();
    lab.put_in_force(ENFORCED);
    let runner = Runner::of(&lab.datapath);
    for family in BOTH {
        let answers: Vec<Frame> = (FIRST_PORT..FIRST_PORT + CONVERSATIONS)
            .map(|port| {
                let syn_ack = tcp(5432, port).syn_ack();
                let packet = eth() / family.ip(Server, Office) / syn_ack;
                Frame::new(&packet, Direction::Outbound)
            })
            .collect();
        let together = Barrier::new(2);
        thread::scope(|scope| {
            for _ in 0..2 {
                scope.spawn(|| {
                    for answer in &answers {
                        together.wait();
                        assert_eq!(runner.judge(answer), Verdict::Pass);
                    }
                });
            }
        });
        let flows = lab.datapath.flows().expect("conversations can be read");
        let ours: Vec<_> = flows
            .iter()
            .filter(|it| it.key.local_port == 5432 && it.key.is_v4() == (family == Family::V4))
            .filter(|it| it.key.remote_port < FIRST_PORT + CONVERSATIONS)
            .collect();
        assert_eq!(ours.len(), usize::from(CONVERSATIONS), "{family:?}");
    }
    lab.clear();
}

/// A hash table's next key is looked for from the one before, and where that is gone the kernel begins anew;
/// whole buckets are read instead.
#[test]
fn conversations_that_stay_are_all_read_while_others_come_and_go() {
    const STAY: u16 = 400;
    const FIRST: u16 = 3000;
    const READINGS: usize = 20;
    let mut lab = Lab::shared();
    lab.put_in_force(ENFORCED);
    let runner = Runner::of(&lab.datapath);
    let out = |family: Family, port, segment: fn(u16) -> Tcp| {
        Frame::new(&(eth() / family.ip(Server, Office) / segment(port)), Direction::Outbound)
    };
    for family in BOTH {
        for port in FIRST..FIRST + STAY {
            let answer = eth() / family.ip(Office, Server) / tcp(443, port).syn_ack();
            let opened = [
                out(family, port, |port| tcp(port, 443).syn()),
                Frame::new(&answer, Direction::Inbound),
                out(family, port, |port| tcp(port, 443).ack()),
            ];
            assert!(opened.iter().all(|frame| runner.judge(frame) == Verdict::Pass));
        }
    }
    let stays =
        |key: &FlowKey| key.remote_port == 443 && (FIRST..FIRST + STAY).contains(&key.local_port);
    let reads = AtomicBool::new(true);
    thread::scope(|scope| {
        scope.spawn(|| {
            for port in (10_000..19_000).cycle() {
                if !reads.load(Ordering::Acquire) {
                    return;
                }
                runner.judge(&out(Family::V4, port, |port| tcp(port, 443).syn()));
            }
        });
        for _ in 0..READINGS {
            let flows = lab.datapath.flows().expect("conversations can be read");
            let read = flows.iter().filter(|entry| stays(&entry.key)).count();
            if read != 2 * usize::from(STAY) {
                reads.store(false, Ordering::Release);
            }
            assert_eq!(read, 2 * usize::from(STAY), "of {} conversations", flows.len());
        }
        reads.store(false, Ordering::Release);
    });
    lab.clear();
}
