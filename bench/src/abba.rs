//! Pairs of a run with and a run without, in the order A B B A: what drifts disturbs both alike.

use anyhow::Result;

use crate::{prefixes::Random, sample::Samples};

/// What was measured with and without, in one unit.
#[derive(Clone, Debug, Default)]
pub(crate) struct Pairs {
    pub(crate) with: Samples,
    pub(crate) without: Samples,
    /// With by without, a pair each.
    ratios: Vec<f64>,
}

impl Pairs {
    fn push(&mut self, with: f64, without: f64) {
        self.with.push(with);
        self.without.push(without);
        self.ratios.push(with / without);
    }

    /// The median of the pairs' ratios.
    pub(crate) fn ratio(&self) -> f64 {
        median(&mut self.ratios.clone())
    }

    /// Where the ratio lies with 95 % confidence: percentiles of the medians of a thousand resamplings
    /// (Efron's bootstrap), which asks for no form of the noise.
    pub(crate) fn bounds(&self) -> (f64, f64) {
        const RESAMPLINGS: usize = 2_000;
        let count = self.ratios.len();
        let mut random = Random(count as u64);
        let mut medians = Samples::default();
        for _ in 0..RESAMPLINGS {
            let mut drawn: Vec<f64> =
                (0..count).map(|_| self.ratios[random.below(count as u64) as usize]).collect();
            medians.push(median(&mut drawn));
        }
        (medians.quantile(0.025), medians.quantile(0.975))
    }
}

/// The middle of some numbers, or between the two of the middle.
fn median(numbers: &mut [f64]) -> f64 {
    numbers.sort_unstable_by(f64::total_cmp);
    let half = numbers.len() / 2;
    match numbers.len() {
        0 => f64::NAN,
        count if count % 2 == 1 => numbers[half],
        _ => f64::midpoint(numbers[half - 1], numbers[half]),
    }
}

/// How many pairs there are, and how many runs of an arm follow each other: where to lay an arm takes longer
/// than to run in it, several are done at once (A A B B B B A A), and the first with is the first without's
/// pair.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Order {
    pub(crate) pairs: usize,
    pub(crate) block: usize,
}

/// Runs in this order and measures `N` things of each run. `lay` makes what a run needs, with or without,
/// and is asked only where that changes; what was there before is gone by then.
pub(crate) fn alternate<A, const N: usize>(
    into: &mut [Pairs; N],
    Order { pairs, block }: Order,
    mut lay: impl FnMut(bool) -> Result<A>,
    mut run: impl FnMut(&A) -> Result<[f64; N]>,
) -> Result<()> {
    let mut laid: Option<(bool, A)> = None;
    for turn in 0..pairs / block {
        let mut measured = [Vec::new(), Vec::new()];
        for is_with in if turn % 2 == 0 { [false, true] } else { [true, false] } {
            let arm = match laid.take() {
                Some((of, arm)) if of == is_with => arm,
                before => {
                    drop(before);
                    lay(is_with)?
                }
            };
            for _ in 0..block {
                measured[usize::from(is_with)].push(run(&arm)?);
            }
            laid = Some((is_with, arm));
        }
        let [without, with] = measured;
        for (with, without) in with.into_iter().zip(without) {
            for (pairs, (with, without)) in into.iter_mut().zip(with.into_iter().zip(without)) {
                pairs.push(with, without);
            }
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn runs_take_turns_and_pairs_hold_one_of_each() {
        let mut order = String::new();
        let mut measured = [Pairs::default()];
        let mut laid = 0;
        let lay = |is_with| {
            laid += 1;
            Ok(if is_with { 'B' } else { 'A' })
        };
        alternate(&mut measured, Order { pairs: 4, block: 1 }, lay, |arm| {
            order.push(*arm);
            Ok([if *arm == 'B' { 3.0 } else { 4.0 }])
        })
        .unwrap();
        assert_eq!((order.as_str(), laid), ("ABBAABBA", 5));
        let [pairs] = measured;
        assert_eq!((pairs.with.len(), pairs.without.median()), (4, 4.0));
        assert_eq!((pairs.ratio(), pairs.bounds()), (0.75, (0.75, 0.75)));
    }

    #[test]
    fn runs_of_a_block_are_paired_in_their_order() {
        let mut order = String::new();
        let mut measured = [Pairs::default()];
        let mut runs = 0.0;
        alternate(&mut measured, Order { pairs: 4, block: 2 }, Ok, |is_with| {
            order.push(if *is_with { 'B' } else { 'A' });
            runs += 1.0;
            Ok([runs])
        })
        .unwrap();
        assert_eq!(order, "AABBBBAA");
        let [pairs] = measured;
        assert_eq!(pairs.ratios, [3.0 / 1.0, 4.0 / 2.0, 5.0 / 7.0, 6.0 / 8.0]);
    }

    #[test]
    fn bounds_are_around_the_ratio_and_closer_the_more_pairs_there_are() {
        let pairs = |count: u64| {
            let mut random = Random(7);
            let mut pairs = Pairs::default();
            for _ in 0..count {
                pairs.push(90.0 + random.below(21) as f64, 100.0);
            }
            pairs
        };
        let (few, many) = (pairs(20), pairs(500));
        for pairs in [&few, &many] {
            let (low, high) = pairs.bounds();
            assert!(low < pairs.ratio() && pairs.ratio() < high, "{low} {high}");
            assert!(low < 1.0 && 1.0 < high, "{low} {high}");
        }
        let width = |pairs: &Pairs| pairs.bounds().1 - pairs.bounds().0;
        assert!(width(&many) < width(&few) / 2.0);
    }
}
