//! What a daemon says, kept while it runs.

use std::{
    collections::VecDeque,
    io::{BufRead as _, BufReader, Read},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    thread,
    time::Duration,
};

use crate::deadline::Deadline;

/// Lines kept; the oldest go first.
const KEPT_MAX: usize = 5000;

/// The lines read so far from a pipe, by a thread that ends with the pipe.
#[derive(Clone, Debug, Default)]
pub(super) struct Lines {
    shared: Arc<Mutex<Shared>>,
}

#[derive(Debug, Default)]
struct Shared {
    lines: VecDeque<String>,
    ended: bool,
}

impl Lines {
    pub(super) fn of(pipe: impl Read + Send + 'static) -> Self {
        let lines = Self::default();
        let for_thread = lines.clone();
        thread::spawn(move || for_thread.read(pipe));
        lines
    }

    pub(super) fn any(&self, wanted: impl Fn(&str) -> bool) -> bool {
        self.lock().lines.iter().any(|line| wanted(line))
    }

    pub(super) fn text(&self) -> String {
        self.lock().lines.iter().flat_map(|line| [line, "\n"]).collect()
    }

    /// The whole text once the other end is closed; a second is enough for a process that ended.
    pub(super) fn finished(&self) -> String {
        let ended = || self.lock().ended.then_some(());
        let _ = Deadline::after(Duration::from_secs(1)).poll(ended);
        self.text()
    }

    fn read(&self, pipe: impl Read) {
        let mut pipe = BufReader::new(pipe);
        let mut line = Vec::new();
        while pipe.read_until(b'\n', &mut line).is_ok_and(|length| length > 0) {
            let text = String::from_utf8_lossy(&line).trim_end().to_owned();
            let mut shared = self.lock();
            if shared.lines.len() == KEPT_MAX {
                shared.lines.pop_front();
            }
            shared.lines.push_back(text);
            line.clear();
        }
        self.lock().ended = true;
    }

    fn lock(&self) -> MutexGuard<'_, Shared> {
        // A line is pushed whole or not at all: a panic elsewhere leaves nothing half done.
        self.shared.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_are_kept_without_their_ends() {
        let lines = Lines::of(&b"one\r\ntwo\nthr\xffe"[..]);
        assert_eq!(lines.finished(), "one\ntwo\nthr\u{fffd}e\n");
        assert!(lines.any(|line| line == "two"));
    }

    #[test]
    fn only_the_newest_are_kept() {
        let text: String = (0..KEPT_MAX + 3).map(|number| format!("{number}\n")).collect();
        let lines = Lines::of(std::io::Cursor::new(text));
        assert!(lines.finished().starts_with("3\n4\n"));
    }
}
