//! Messages that were right once.

use std::env;

use nsp_common::dns::Progress;
use nsp_tests::packet::{
    Packet,
    dns::{A, AAAA, query},
};

use crate::{reference, subject};

/// Numbers that look random and are the same in every run.
struct Dice(u64);

impl Dice {
    fn throw(&mut self, sides: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0 % sides as u64) as usize
    }
}

fn seeds() -> Vec<Vec<u8>> {
    let many = (1..30).fold(query(7, "a.example.com", A).response(), |answer, host| {
        answer.address("a.example.com", [192, 0, 2, host].into(), 300)
    });
    let aliased = query(8, "www.example.org", AAAA)
        .response()
        .alias("www.example.org", "edge.cdn.test", 60)
        .alias("edge.cdn.test", "pop7.cdn.test", 20)
        .address("pop7.cdn.test", "2001:db8::7".parse().expect("an address"), 20);
    let question = b"\x03www\x07example\x03com\x00\x00\x41\x00\x01";
    let record = [
        &[0xc0, 12, 0, 65, 0, 1, 0, 0, 0, 60, 0, 35, 0, 1, 0, 0, 4, 0, 8][..],
        &[192, 0, 2, 1, 192, 0, 2, 2, 0, 6, 0, 16],
        &[0x20; 16],
    ];
    let hints = [&[0, 9, 0x81, 0x80, 0, 1, 0, 1, 0, 0, 0, 0][..], question, &record.concat()];
    vec![Packet::from(many).bytes(), Packet::from(aliased).bytes(), hints.concat()]
}

#[test]
fn mutated_messages_teach_what_another_reader_says() {
    let rounds = if env::var_os("NSP_TEST_FULL").is_some() { 1_000_000 } else { 100_000 };
    let seeds = seeds();
    let mut dice = Dice(0x6e73_7021);
    let (mut agreed, mut taught, mut stricter) = (0, 0, 0);
    for round in 0..rounds {
        let mut message = seeds[dice.throw(seeds.len())].clone();
        for _ in 0..=dice.throw(4) {
            let at = dice.throw(message.len());
            match dice.throw(4) {
                0 => message[at] ^= 1 << dice.throw(8),
                1 => message[at] = [0, 1, 0xc0, 0xff, 12, 63, 64][dice.throw(7)],
                2 => message.truncate(at.max(12)),
                _ => {
                    let from = dice.throw(message.len());
                    message[at] = message[from];
                }
            }
        }
        let ours = subject::read(&message);
        match (reference::read(&message), ours) {
            (Some(lesson), Ok(ours)) => {
                assert_eq!(ours, lesson, "round {round}: {message:02x?}");
                agreed += 1;
                taught += lesson.addresses.len();
            }
            // It looks into records that teach nothing; what it finds wrong there is nothing to us.
            (None, Ok(_)) => stricter += 1,
            (None, Err(_)) => {}
            // A pointer into the header: what lies there is no name, whatever it looks like.
            (Some(_), Err(Progress::BadName))
                if message.windows(2).any(|it| it[0] == 0xc0 && it[1] < 12) => {}
            (Some(lesson), Err(why)) => {
                panic!("round {round}: {why:?}, the other reader has {lesson:?}: {message:02x?}")
            }
        }
    }
    println!(
        "{agreed} of {rounds} read alike, {taught} addresses; the other refused {stricter} more"
    );
    assert!(agreed > rounds / 10 && taught > rounds / 10);
}
