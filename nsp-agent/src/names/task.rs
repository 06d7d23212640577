//! The task that keeps asking: schedule and resolver tied together.
//!
//! It owns no table and touches no map. When nobody takes its batches it waits, and goes on asking
//! when somebody does; what expires meanwhile the kernel sees by itself.

use std::{collections::HashMap, sync::Arc, time::Duration};

use rustix::time::{ClockId, clock_gettime};
use tokio::{
    sync::{mpsc, oneshot, watch},
    task::{Id, JoinSet},
};

use super::{
    forbidden::Forbidden,
    resolve::{Answer, Resolve, ResolveError, Upstreams},
    schedule::{Batch, Lookup, NameStatus, Schedule},
};

/// Lookups under way at a time.
pub const LOOKUPS_MAX: usize = 64;

/// What the task is told.
#[derive(Debug)]
pub struct Inputs {
    /// The exact names of the policy with their identities.
    pub names: watch::Receiver<Vec<(u32, String)>>,
    /// Whom to ask. Sending the same again makes every name due, as after a change of network.
    pub upstreams: watch::Receiver<Upstreams>,
    /// What may not be learned.
    pub forbidden: watch::Receiver<Forbidden>,
    /// Questions for the state of the names.
    pub status: mpsc::Receiver<oneshot::Sender<Vec<NameStatus>>>,
}

/// Runs until one of the inputs is gone or nobody takes the batches any more. Must be used inside a
/// tokio runtime. `connect` makes a resolver: [`HostResolver::new`] outside of tests.
///
/// [`HostResolver::new`]: super::resolver::HostResolver::new
pub async fn run<R: Resolve>(
    inputs: Inputs,
    batches: mpsc::Sender<Batch>,
    connect: impl Fn(Upstreams) -> R,
) {
    let Inputs { mut names, mut upstreams, mut forbidden, mut status } = inputs;
    let mut schedule = Schedule::new(forbidden.borrow_and_update().clone());
    let mut batch = schedule.set_names(&names.borrow_and_update(), now_s());
    let mut resolver = Arc::new(connect(upstreams.borrow_and_update().clone()));
    let mut lookups = Lookups::default();
    loop {
        batch.append(schedule.tick(now_s()));
        for lookup in schedule.due(now_s(), lookups.room()) {
            lookups.start(lookup, resolver.clone());
        }
        if !batch.is_empty() && batches.send(std::mem::take(&mut batch)).await.is_err() {
            return;
        }
        tokio::select! {
            changed = names.changed() => match changed {
                Ok(()) => {
                    let names = names.borrow_and_update().clone();
                    batch = schedule.set_names(&names, now_s());
                }
                Err(_) => return,
            },
            changed = upstreams.changed() => match changed {
                Ok(()) => {
                    resolver = Arc::new(connect(upstreams.borrow_and_update().clone()));
                    schedule.refresh_all(now_s());
                }
                Err(_) => return,
            },
            changed = forbidden.changed() => match changed {
                Ok(()) => batch = schedule.set_forbidden(forbidden.borrow_and_update().clone()),
                Err(_) => return,
            },
            asked = status.recv() => match asked {
                // Whoever asked may have left.
                Some(asked) => drop(asked.send(schedule.status(now_s()))),
                None => return,
            },
            done = lookups.done() => match done {
                (lookup, Ok(answer)) => batch = schedule.answered(&lookup, &answer, now_s()),
                (lookup, Err(error)) => schedule.failed(&lookup, &error, now_s()),
            },
            () = until(schedule.next_s()) => {}
            () = batches.closed() => return,
        }
    }
}

/// The coarse monotonic clock, in seconds.
pub fn now_s() -> u64 {
    u64::try_from(clock_gettime(ClockId::MonotonicCoarse).tv_sec).unwrap_or(0)
}

/// Waits until a second of the clock; at least one second, since what could be done in this one was
/// done.
async fn until(second: Option<u64>) {
    match second {
        None => std::future::pending().await,
        Some(second) => {
            tokio::time::sleep(Duration::from_secs(second.saturating_sub(now_s()).max(1))).await;
        }
    }
}

/// Lookups under way.
#[derive(Default)]
struct Lookups {
    tasks: JoinSet<Result<Answer, ResolveError>>,
    started: HashMap<Id, Lookup>,
}

impl Lookups {
    fn room(&self) -> usize {
        LOOKUPS_MAX.saturating_sub(self.tasks.len())
    }

    fn start<R: Resolve>(&mut self, lookup: Lookup, resolver: Arc<R>) {
        let fqdn = lookup.fqdn.clone();
        let task = self.tasks.spawn(async move { resolver.lookup(&fqdn).await });
        self.started.insert(task.id(), lookup);
    }

    /// The next one that ends; never when there is none.
    async fn done(&mut self) -> (Lookup, Result<Answer, ResolveError>) {
        while let Some(ended) = self.tasks.join_next_with_id().await {
            let (id, result) = match ended {
                Ok(ended) => ended,
                // A bug in parsing an answer must cost one lookup, not the others.
                Err(error) => (error.id(), Err(ResolveError::Other(error.to_string()))),
            };
            if let Some(lookup) = self.started.remove(&id) {
                return (lookup, result);
            }
        }
        std::future::pending().await
    }
}

#[cfg(test)]
mod tests;
