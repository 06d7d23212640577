//! What is being done, for who waits at a terminal.
//!
//! Nothing is shown in the first second, nor where standard error is no terminal or somebody else's at the
//! moment; and when it is done, the terminal looks as if nothing had been shown.

use std::{
    convert::Infallible,
    io::{self, IsTerminal as _, Write},
    sync::{
        Arc,
        mpsc::{self, RecvTimeoutError, Sender},
    },
    thread::{self, JoinHandle},
    time::Duration,
};

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use rustix::{process::getpgrp, termios::tcgetpgrp};

/// What takes less is not worth a look.
const PATIENCE: Duration = Duration::from_secs(1);
const REDRAW_INTERVAL: Duration = Duration::from_millis(100);

/// Nothing here has a colour, so `NO_COLOR` changes nothing.
const OF_BYTES: &str = "nsp: {wide_msg} [{bar:24}] {binary_bytes} of {binary_total_bytes}";
const OF_TIME: &str = "nsp: {wide_msg} {elapsed}";

/// What is being done; nobody is told by the default one. Once the last copy is dropped nothing is shown
/// any more.
#[derive(Clone, Debug, Default)]
pub struct Progress(Option<Arc<Shown>>);

#[derive(Debug)]
struct Shown {
    bar: ProgressBar,
    /// Dropped when it is done, which ends the thread.
    working: Option<Sender<Infallible>>,
    patience: Option<JoinHandle<()>>,
}

impl Progress {
    /// Shown at the terminal that standard error is, if it is one.
    pub fn at_terminal() -> Self {
        let stderr = io::stderr();
        // A job in the background would write into the line that somebody types.
        let is_ours = stderr.is_terminal() && tcgetpgrp(&stderr).is_ok_and(|it| it == getpgrp());
        Self(is_ours.then(|| Arc::new(Shown::later(ProgressBar::hidden()))))
    }

    /// Says what is done from now on. How long it takes nobody knows.
    pub fn begin(&self, what: &str) {
        self.say(what, None);
    }

    /// The same for what is done byte by byte.
    pub(crate) fn begin_bytes(&self, what: &str, total: u64) {
        self.say(what, Some(total));
    }

    /// So many bytes more are done.
    pub(crate) fn advance(&self, bytes: u64) {
        if let Self(Some(shown)) = self {
            shown.bar.inc(bytes);
        }
    }

    /// Standard error for everybody else: their lines stand above what is shown.
    pub fn stderr(&self) -> impl Fn() -> Above + use<> {
        let bar = self.0.as_ref().map(|shown| shown.bar.clone());
        move || Above(bar.clone())
    }

    fn say(&self, what: &str, bytes: Option<u64>) {
        let Self(Some(shown)) = self else { return };
        let template = if bytes.is_some() { OF_BYTES } else { OF_TIME };
        let style = ProgressStyle::with_template(template).expect("a constant template");
        shown.bar.set_style(style.progress_chars("=> "));
        shown.bar.set_message(what.to_owned());
        shown.bar.set_length(bytes.unwrap_or_default());
        shown.bar.set_position(0);
    }
}

impl Shown {
    fn later(bar: ProgressBar) -> Self {
        let (working, done) = mpsc::channel();
        let it = bar.clone();
        let wait = move || {
            if done.recv_timeout(PATIENCE) == Err(RecvTimeoutError::Timeout) {
                // On a terminal that cannot move its cursor (`TERM=dumb`) this shows nothing.
                it.set_draw_target(ProgressDrawTarget::stderr());
                it.enable_steady_tick(REDRAW_INTERVAL);
            }
        };
        // Where there is no thread nothing is shown, and the work goes on.
        let patience = thread::Builder::new().name("progress".to_owned()).spawn(wait).ok();
        Self { bar, working: Some(working), patience }
    }
}

impl Drop for Shown {
    fn drop(&mut self) {
        drop(self.working.take());
        // Else it may show what is over.
        let _ended = self.patience.take().map(JoinHandle::join);
        self.bar.finish_and_clear();
    }
}

/// Standard error above what is shown.
#[derive(Debug)]
pub struct Above(Option<ProgressBar>);

impl Write for Above {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        match &self.0 {
            Some(bar) => bar.suspend(|| io::stderr().write(bytes)),
            None => io::stderr().write(bytes),
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        io::stderr().flush()
    }
}
