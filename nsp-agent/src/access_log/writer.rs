//! A thread that owns the sink, so that a slow or hung disk holds up nobody.

use std::{
    sync::{
        Arc, Mutex, PoisonError,
        mpsc::{Receiver, SyncSender, TrySendError, sync_channel},
    },
    thread,
    time::Duration,
};

use super::{
    record::AccessRecord,
    sink::{Lost, Sink},
};

/// Batches that may wait for the disk.
const BATCHES_MAX: usize = 64;

/// Hands batches to the thread that writes them.
#[derive(Debug)]
pub struct Writer {
    batches: Option<SyncSender<Vec<AccessRecord>>>,
    done: Receiver<()>,
    refused: Lost,
    state: Arc<Mutex<SinkState>>,
}

/// What the sink said after its last batch.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct SinkState {
    /// What was lost so far, here and before the sink.
    pub lost: Lost,
    /// What went wrong with the last batch.
    pub error: Option<String>,
}

impl Writer {
    /// Starts the thread.
    ///
    /// # Errors
    /// The system has no room for a thread.
    pub fn start(sink: Sink) -> std::io::Result<Self> {
        Self::start_telling(sink, |_| {})
    }

    /// The same, and says of each batch how many packets' rows are in the log.
    ///
    /// # Errors
    /// The system has no room for a thread.
    pub fn start_telling(
        mut sink: Sink,
        told: impl Fn(u64) + Send + 'static,
    ) -> std::io::Result<Self> {
        let (batches, input) = sync_channel::<Vec<AccessRecord>>(BATCHES_MAX);
        let (finished, done) = sync_channel(0);
        let state = Arc::<Mutex<SinkState>>::default();
        let shown = state.clone();
        thread::Builder::new().name("nsp-access-log".into()).spawn(move || {
            for batch in input {
                let before = sink.lost().packets;
                sink.write(&batch);
                let all = batch.iter().map(|record| record.packets).sum::<u64>();
                told(all - (sink.lost().packets - before));
                let state = SinkState { lost: sink.lost(), error: sink.error().map(Into::into) };
                *shown.lock().unwrap_or_else(PoisonError::into_inner) = state;
            }
            drop(finished);
        })?;
        Ok(Self { batches: Some(batches), done, refused: Lost::default(), state })
    }

    /// Hands over a batch. Never waits: when too many wait already, this one is lost and counted.
    pub fn write(&mut self, batch: Vec<AccessRecord>) {
        let Some(batches) = &self.batches else { return };
        match batches.try_send(batch) {
            Ok(()) => {}
            Err(TrySendError::Full(batch) | TrySendError::Disconnected(batch)) => {
                self.refused.add(&batch);
            }
        }
    }

    /// What was lost so far, and what went wrong last. Batches that still wait are not in it.
    pub fn state(&self) -> SinkState {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner).clone();
        state.lost.lines += self.refused.lines;
        state.lost.packets += self.refused.packets;
        state
    }

    /// Waits until what was handed over is written, but not longer than this, and says what was
    /// lost. False when the time was not enough.
    pub fn close(mut self, patience: Duration) -> (SinkState, bool) {
        self.batches = None;
        let waited = self.done.recv_timeout(patience);
        let in_time = waited != Err(std::sync::mpsc::RecvTimeoutError::Timeout);
        (self.state(), in_time)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::access_log::{
        sample::numbered,
        sink::{Rotation, Target},
    };

    #[test]
    fn what_was_handed_over_is_written_when_it_closes() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("access.jsonl");
        let sink = Sink::new(Target::File(path.clone()), Rotation::default());
        let mut writer = Writer::start(sink).unwrap();
        for number in 0..10 {
            writer.write(vec![numbered(number)]);
        }
        assert_eq!(writer.close(Duration::from_secs(10)), (SinkState::default(), true));
        assert_eq!(std::fs::read_to_string(path).unwrap().lines().count(), 10);
    }

    #[test]
    fn the_sinks_losses_are_shown() {
        let sink = Sink::new(Target::File("/dev/full".into()), Rotation::default());
        let mut writer = Writer::start(sink).unwrap();
        writer.write(vec![numbered(3), numbered(4)]);
        let (state, in_time) = writer.close(Duration::from_secs(10));
        assert!(in_time);
        assert_eq!(state.lost, Lost { lines: 2, packets: 7 });
        assert!(state.error.unwrap().contains("No space left"));
    }

    #[test]
    fn a_batch_that_finds_no_room_is_lost_and_counted() {
        let (batches, input) = sync_channel(1);
        let (_finished, done) = sync_channel(0);
        let state = Arc::default();
        let mut writer = Writer { batches: Some(batches), done, refused: Lost::default(), state };
        writer.write(vec![numbered(1)]);
        writer.write(vec![numbered(2), numbered(3)]);
        assert_eq!(writer.state().lost, Lost { lines: 2, packets: 5 });
        assert_eq!(input.recv().unwrap(), [numbered(1)]);
        let (_, in_time) = writer.close(Duration::from_millis(1));
        assert!(!in_time);
    }
}
