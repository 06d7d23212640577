//! Frames judged without pause, by threads of their own, until told to stop.

use std::{
    hint,
    sync::atomic::{AtomicBool, AtomicUsize, Ordering},
    thread::{self, Scope, ScopedJoinHandle},
};

use nsp_common::verdict::Verdict;

use super::runner::{Frame, Runner};

/// Frames that were judged otherwise than they may be are noted up to this many.
const WRONG_MAX: usize = 20;

/// What became of the frames of a flood.
#[derive(Clone, Debug, Default)]
pub struct Tally {
    /// How often each frame passed.
    pub passed: Vec<u64>,
    /// How often each frame was dropped.
    pub dropped: Vec<u64>,
    /// Frames, by their place, whose verdict was none of those that they may have.
    pub wrong: Vec<(usize, Verdict)>,
}

impl Tally {
    fn of(frames: usize) -> Self {
        Self { passed: vec![0; frames], dropped: vec![0; frames], wrong: Vec::new() }
    }

    /// How often a frame was judged.
    pub fn judged(&self, frame: usize) -> u64 {
        self.passed[frame] + self.dropped[frame]
    }

    /// How many frames were judged.
    pub fn all(&self) -> u64 {
        self.passed.iter().chain(&self.dropped).sum()
    }

    fn add(&mut self, other: &Self) {
        let Self { passed, dropped, wrong } = other;
        for (sum, one) in [(&mut self.passed, passed), (&mut self.dropped, dropped)] {
            sum.iter_mut().zip(one).for_each(|(sum, one)| *sum += one);
        }
        self.wrong.extend(wrong);
    }
}

/// Judges each frame on two threads at once, as near as they come: what one writes the other reads.
///
/// # Panics
/// When a test run fails.
pub fn side_by_side(runner: &Runner, frames: &[Frame]) {
    let arrived = AtomicUsize::new(0);
    let judge = |lag: usize| {
        for (at, frame) in frames.iter().enumerate() {
            arrived.fetch_add(1, Ordering::AcqRel);
            while arrived.load(Ordering::Acquire) < 2 * (at + 1) {
                hint::spin_loop();
            }
            // Now this much later, now that.
            for step in 0..lag * (at % LAGS) {
                hint::black_box(step);
            }
            runner.judge(frame);
        }
    };
    thread::scope(|scope| {
        scope.spawn(|| judge(0));
        judge(1);
    });
}

/// How many steps one of two threads is behind the other at most, a few nanoseconds each.
const LAGS: usize = 50;

/// A flood under way. It ends with this value, also when the test panics.
pub struct Flood<'scope> {
    stop: &'scope AtomicBool,
    threads: Vec<ScopedJoinHandle<'scope, Tally>>,
}

impl<'scope> Flood<'scope> {
    /// Judges all frames in turn on so many threads, until `stop`. `may` says whether a frame may have a
    /// verdict; the first that it may not have ends the flood.
    pub fn begin<'env>(
        scope: &'scope Scope<'scope, 'env>,
        stop: &'scope AtomicBool,
        threads: usize,
        runner: &'scope Runner,
        frames: &'scope [Frame],
        may: impl Fn(usize, Verdict) -> bool + Copy + Send + 'scope,
    ) -> Self {
        let run = move || {
            let mut tally = Tally::of(frames.len());
            while !stop.load(Ordering::Relaxed) {
                for (at, frame) in frames.iter().enumerate() {
                    let verdict = runner.judge(frame);
                    match verdict {
                        Verdict::Pass => tally.passed[at] += 1,
                        Verdict::Drop => tally.dropped[at] += 1,
                    }
                    if !may(at, verdict) && tally.wrong.len() < WRONG_MAX {
                        tally.wrong.push((at, verdict));
                        stop.store(true, Ordering::Relaxed);
                    }
                }
            }
            tally
        };
        let threads = (0..threads).map(|_| scope.spawn(run)).collect();
        Self { stop, threads }
    }

    /// Whether a frame was judged otherwise than it may be.
    pub fn is_over(&self) -> bool {
        self.stop.load(Ordering::Relaxed)
    }

    /// Ends it; what became of the frames.
    ///
    /// # Panics
    /// When a thread did.
    pub fn end(mut self) -> Tally {
        self.stop.store(true, Ordering::Relaxed);
        let tallies = std::mem::take(&mut self.threads)
            .into_iter()
            .map(|thread| thread.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic)));
        tallies
            .reduce(|mut sum, one| {
                sum.add(&one);
                sum
            })
            .unwrap_or_default()
    }
}

impl Drop for Flood<'_> {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
    }
}
