//! A connection that somebody uses all the time, and whether it ever noticed anything.

use std::{
    net::TcpStream,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
    thread::{self, JoinHandle},
    time::{Duration, Instant},
};

use crate::sockets::{still_echoes, tcp_counters};

/// Time between two beats.
const BEAT: Duration = Duration::from_millis(50);

/// What a session went through.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Beats {
    /// Messages that came back.
    pub(super) answered: u32,
    /// The longest that one took.
    pub(super) slowest: Duration,
    /// Segments that were sent again.
    pub(super) retransmitted: u32,
    /// One did not come back: it is over.
    pub(super) over: bool,
}

/// A session that beats on a thread of its own, ended on drop.
pub(super) struct Session {
    /// Which one, for people.
    pub(super) name: &'static str,
    shared: Arc<(AtomicBool, Mutex<Beats>)>,
    thread: Option<JoinHandle<()>>,
}

impl Session {
    /// Begins to use a connection to an echo server.
    pub(super) fn start(name: &'static str, stream: TcpStream) -> Self {
        let shared = Arc::<(AtomicBool, Mutex<Beats>)>::default();
        let for_thread = Arc::clone(&shared);
        let thread = thread::spawn(move || {
            let (stop, beats) = &*for_thread;
            while !stop.load(Ordering::Acquire) {
                if !beat(&stream, beats) {
                    return;
                }
                thread::sleep(BEAT);
            }
        });
        Self { name, shared, thread: Some(thread) }
    }

    /// So far.
    pub(super) fn beats(&self) -> Beats {
        *self.shared.1.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Session {
    fn drop(&mut self) {
        self.shared.0.store(true, Ordering::Release);
        // A session that panicked says so itself.
        let _ended = self.thread.take().map(JoinHandle::join);
    }
}

fn beat(stream: &TcpStream, beats: &Mutex<Beats>) -> bool {
    let sent = Instant::now();
    let came_back = still_echoes(stream);
    let mut beats = beats.lock().unwrap_or_else(PoisonError::into_inner);
    if came_back {
        beats.answered += 1;
        beats.slowest = beats.slowest.max(sent.elapsed());
        beats.retransmitted = tcp_counters(stream).retransmitted_total;
    } else {
        beats.over = true;
    }
    came_back
}
