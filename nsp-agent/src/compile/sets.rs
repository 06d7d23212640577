//! Sets of rules, each kept once and known by a number.

use std::hash::BuildHasher as _;

use hashbrown::{DefaultHashBuilder, HashTable};

/// Sets in the order in which they came up. Set zero is empty.
pub(super) struct Sets {
    /// The members of all sets, one behind the other.
    members: Vec<u32>,
    /// Where the members of each set end.
    ends: Vec<usize>,
    /// Numbers by what the sets hold.
    numbers: HashTable<u32>,
    hasher: DefaultHashBuilder,
    scratch: Vec<u32>,
}

impl Default for Sets {
    fn default() -> Self {
        let mut sets = Self {
            members: Vec::new(),
            ends: Vec::new(),
            numbers: HashTable::new(),
            hasher: DefaultHashBuilder::default(),
            scratch: Vec::new(),
        };
        sets.number_scratch();
        sets
    }
}

impl Sets {
    /// The members of a set, in order.
    pub(super) fn members(&self, number: u32) -> &[u32] {
        members(&self.members, &self.ends, number)
    }

    /// The sets by number.
    pub(super) fn iter(&self) -> impl Iterator<Item = &[u32]> {
        (0..self.ends.len()).map(|number| self.members(number as u32))
    }

    /// The number of a set with more members.
    pub(super) fn extend(&mut self, set: u32, more: &[u32]) -> u32 {
        self.scratch.clear();
        self.scratch.extend_from_slice(members(&self.members, &self.ends, set));
        for member in more {
            if let Err(at) = self.scratch.binary_search(member) {
                self.scratch.insert(at, *member);
            }
        }
        self.number_scratch()
    }

    fn number_scratch(&mut self) -> u32 {
        let Self { members: all, ends, numbers, hasher, scratch } = self;
        let hash = hasher.hash_one(&*scratch);
        let same = |number: &u32| members(all, ends, *number) == scratch;
        if let Some(number) = numbers.find(hash, same) {
            return *number;
        }
        let number = ends.len() as u32;
        all.extend_from_slice(scratch);
        ends.push(all.len());
        numbers.insert_unique(hash, number, |number| hasher.hash_one(members(all, ends, *number)));
        number
    }
}

fn members<'a>(all: &'a [u32], ends: &[usize], number: u32) -> &'a [u32] {
    let number = number as usize;
    let start = if number == 0 { 0 } else { ends[number - 1] };
    &all[start..ends[number]]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_set_has_one_number_whatever_came_first() {
        let mut sets = Sets::default();
        let one = sets.extend(0, &[7]);
        let other = sets.extend(0, &[3]);
        assert_ne!(one, other);
        let both = sets.extend(one, &[3]);
        assert_eq!(sets.members(both), [3, 7]);
        assert_eq!(sets.extend(other, &[7]), both);
        assert_eq!(sets.extend(0, &[3, 7]), both);
        assert_eq!(sets.extend(both, &[3, 7]), both);
        assert_eq!(sets.extend(0, &[]), 0);
        let all: Vec<&[u32]> = sets.iter().collect();
        assert_eq!(all, [&[][..], &[7], &[3], &[3, 7]]);
    }

    #[test]
    fn thousands_of_sets_are_told_apart() {
        let mut sets = Sets::default();
        let numbers: Vec<u32> = (0..5_000).map(|it| sets.extend(0, &[it, it + 1])).collect();
        for (it, number) in (0..5_000).zip(numbers) {
            assert_eq!(sets.members(number), [it, it + 1]);
            assert_eq!(sets.extend(0, &[it + 1, it]), number);
        }
    }
}
