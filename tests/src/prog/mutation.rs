//! Frames that were right once.

use super::random::Random;

/// Bytes that mean something somewhere: lengths, protocols, versions, kinds of options and of ICMP.
const TELLING: [u8; 24] = [
    0, 1, 2, 3, 4, 5, 6, 8, 11, 17, 40, 43, 44, 51, 58, 59, 60, 0x45, 0x46, 0x60, 0x7f, 0x80, 0xe0,
    0xff,
];
/// Where headers begin and end, and most of what is read lies.
const HEADERS: u64 = 80;

impl Random {
    /// Changes a frame in a few places: bits and bytes, most often of its headers, its end, and stretches
    /// that are somewhere else in it.
    pub fn mutate(&mut self, frame: &mut Vec<u8>) {
        for _ in 0..=self.below(3) {
            let length = frame.len() as u64;
            if length == 0 {
                return;
            }
            let end = if self.once_in(4) { length } else { length.min(HEADERS) };
            let at = self.below(end) as usize;
            match self.below(8) {
                0..=2 => frame[at] ^= 1 << self.below(8),
                3 | 4 => frame[at] = self.of(&TELLING),
                5 => frame[at] = self.number() as u8,
                6 => {
                    let from = self.below(length) as usize;
                    let stretch = self.below(8) as usize + 1;
                    for step in 0..stretch.min(frame.len() - at.max(from)) {
                        frame[at + step] = frame[from + step];
                    }
                }
                _ => {
                    let stays = if self.once_in(2) { at } else { frame.len() };
                    frame.truncate(stays.max(14));
                    frame.extend((0..self.below(12)).map(|_| 0));
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn same_seed_changes_a_frame_in_the_same_way_and_seldom_not_at_all() {
        let changed = |seed| {
            let mut frame: Vec<u8> = (0..90).collect();
            Random::seeded(seed).mutate(&mut frame);
            frame
        };
        assert!((0..200).all(|seed| changed(seed) == changed(seed)));
        let alike = (0..200).filter(|seed| changed(*seed) == (0..90).collect::<Vec<u8>>()).count();
        assert!(alike < 20, "{alike} of 200 stayed as they were");
    }
}
