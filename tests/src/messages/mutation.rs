//! Messages that were right once.

use std::net::IpAddr;

use crate::packet::{
    Packet,
    dns::{A, AAAA, query},
};

/// Numbers that look random and are the same in every run.
#[derive(Clone, Debug)]
pub struct Dice(u64);

impl Dice {
    /// Dice that fall as those of the same seed.
    ///
    /// # Panics
    /// Without a seed other than zero they never move.
    pub const fn new(seed: u64) -> Self {
        assert!(seed != 0);
        Self(seed)
    }

    /// A number below `sides`.
    pub const fn throw(&mut self, sides: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0 % sides as u64) as usize
    }
}

/// Genuine answers: many addresses, a chain of aliases, hints; without and with compression.
pub fn answers() -> Vec<Vec<u8>> {
    let many = (1..30).fold(query(7, "a.example.com", A).response(), |answer, host| {
        answer.address("a.example.com", [192, 0, 2, host].into(), 300)
    });
    let v6 = |host| IpAddr::from([0x2001, 0xdb8, 0, 0, 0, 0, 0, host]);
    let aliased = query(8, "www.example.org", AAAA)
        .response()
        .alias("www.example.org", "edge.cdn.test", 60)
        .alias("edge.cdn.test", "pop7.cdn.test", 20)
        .address("pop7.cdn.test", v6(7), 20)
        .address("pop7.cdn.test", v6(8), 20);
    vec![Packet::from(many).bytes(), Packet::from(aliased).bytes(), hints(), compressed()]
}

/// Two addresses of one family and one of the other in an HTTPS record.
fn hints() -> Vec<u8> {
    let question = b"\x03www\x07example\x03com\x00\x00\x41\x00\x01";
    let record = [
        &[0xc0, 12, 0, 65, 0, 1, 0, 0, 0, 60, 0, 47, 0, 1, 0, 0, 1, 0, 3, 2, b'h', b'2'][..],
        &[0, 4, 0, 8, 192, 0, 2, 1, 192, 0, 2, 2, 0, 6, 0, 16],
        &[0x20; 16],
    ];
    let record = record.concat();
    let mut message = [&[0, 9, 0x81, 0x80, 0, 1, 0, 1, 0, 0, 0, 0][..], question, &record].concat();
    // The length of the data, whatever it is.
    let data = record.len() - 12;
    message[12 + question.len() + 11] = u8::try_from(data).expect("short");
    message
}

/// Names as servers write them: each points to what was written before.
fn compressed() -> Vec<u8> {
    let question = b"\x03www\x07example\x03com\x00\x00\x01\x00\x01";
    // The target's name begins at 45: `edge`, and `.example.com` of the question.
    let alias = [&[0xc0, 12, 0, 5, 0, 1, 0, 0, 0, 60, 0, 7, 4][..], b"edge", &[0xc0, 16]].concat();
    let address = |host| [0xc0, 45, 0, 1, 0, 1, 0, 0, 0, 60, 0, 4, 192, 0, 2, host];
    let records = [&alias[..], &address(1), &address(2), &address(1)].concat();
    [&[0, 10, 0x81, 0x80, 0, 1, 0, 4, 0, 0, 0, 0][..], question, &records].concat()
}

/// Changes a message in a few places: bits, bytes that mean something, its end, its counts, and bytes
/// and stretches that are somewhere else in it.
pub fn mutate(message: &mut Vec<u8>, dice: &mut Dice) {
    const COUNTS: usize = 6;
    for _ in 0..=dice.throw(4) {
        let at = dice.throw(message.len());
        match dice.throw(7) {
            0 | 1 => message[at] ^= 1 << dice.throw(8),
            2 => message[at] = [0, 1, 0xc0, 0xff, 12, 63, 64][dice.throw(7)],
            3 => message.truncate(at.max(12)),
            4 => {
                let from = dice.throw(message.len());
                message[at] = message[from];
            }
            5 if message.len() > COUNTS + 1 => message[COUNTS + 1] = dice.throw(70) as u8,
            _ => {
                // A record, or a part of one, twice.
                let end = (at + 1 + dice.throw(64)).min(message.len());
                let twice = message[at..end].to_vec();
                message.splice(at..at, twice);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::messages::compare::{Reading, answer};

    #[test]
    fn genuine_answers_are_read_by_both() {
        let addresses = answers().into_iter().map(|message| match answer(&message) {
            Reading::Alike(lesson) => lesson.addresses.len(),
            other => panic!("{other:?}"),
        });
        assert_eq!(addresses.collect::<Vec<_>>(), [29, 2, 3, 3]);
    }
}
