//! Ctrl-C: the story ends at its next breath, and everything it made goes by the usual way.

use std::{
    io,
    sync::atomic::{AtomicBool, Ordering},
    thread,
};

use tokio::signal::unix::{SignalKind, signal};

use super::{Told, failure::Failure};

static ASKED: AtomicBool = AtomicBool::new(false);

/// From now on signals ask, and do not kill: killed, the demo would leave its namespaces behind.
pub(super) fn watch() -> io::Result<()> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let (mut interrupt, mut terminate, mut hangup) = {
        let _inside = runtime.enter();
        (
            signal(SignalKind::interrupt())?,
            signal(SignalKind::terminate())?,
            signal(SignalKind::hangup())?,
        )
    };
    thread::spawn(move || {
        runtime.block_on(async {
            loop {
                tokio::select! {
                    Some(()) = interrupt.recv() => {}
                    Some(()) = terminate.recv() => {}
                    Some(()) = hangup.recv() => {}
                    else => return,
                }
                ask();
            }
        });
    });
    Ok(())
}

/// Ends the story soon.
pub(super) fn ask() {
    ASKED.store(true, Ordering::Release);
}

/// Whether somebody asked.
pub(super) fn asked() -> bool {
    ASKED.load(Ordering::Acquire)
}

/// An error when somebody asked: called between any two steps.
pub(super) fn check() -> Told {
    if asked() { Err(Failure::Stopped) } else { Ok(()) }
}
