//! Loaded programs, lent to one story at a time.
//!
//! Loading takes seconds of the verifier's work, and a story mostly waits: for the kernel to be done
//! with records before they are drained. A few sets of programs at once cost little more than one.

use std::{
    ops::{Deref, DerefMut},
    sync::{Condvar, Mutex, MutexGuard, PoisonError},
};

use super::lab::Lab;

/// Sets of programs loaded at most.
const LOADED_MAX: usize = 4;

struct Pool {
    free: Vec<Lab>,
    loaded: usize,
}

static POOL: Mutex<Pool> = Mutex::new(Pool { free: Vec::new(), loaded: 0 });
static RETURNED: Condvar = Condvar::new();

/// A set of programs for one story; returned when it ends, panics included.
pub struct Loan(Option<Lab>);

impl Loan {
    /// Waits for a set that is free, or loads one more.
    pub(super) fn take() -> Self {
        let mut pool = pool();
        loop {
            if let Some(mut lab) = pool.free.pop() {
                drop(pool);
                lab.tidy();
                return Self(Some(lab));
            }
            if pool.loaded < LOADED_MAX {
                pool.loaded += 1;
                drop(pool);
                // Should the load panic, the loan is dropped empty and its place is free again.
                let mut loan = Self(None);
                loan.0 = Some(Lab::load());
                return loan;
            }
            pool = RETURNED.wait(pool).unwrap_or_else(PoisonError::into_inner);
        }
    }
}

impl Drop for Loan {
    fn drop(&mut self) {
        let mut pool = pool();
        match self.0.take() {
            Some(lab) => pool.free.push(lab),
            None => pool.loaded -= 1,
        }
        RETURNED.notify_one();
    }
}

impl Deref for Loan {
    type Target = Lab;

    fn deref(&self) -> &Lab {
        self.0.as_ref().expect("a loan holds its set until it is dropped")
    }
}

impl DerefMut for Loan {
    fn deref_mut(&mut self) -> &mut Lab {
        self.0.as_mut().expect("a loan holds its set until it is dropped")
    }
}

fn pool() -> MutexGuard<'static, Pool> {
    POOL.lock().unwrap_or_else(PoisonError::into_inner)
}
