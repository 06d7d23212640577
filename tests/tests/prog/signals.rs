//! Signals that come while the kernel verifies the programs.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    thread,
    time::Duration,
};

use nsp_tests::prog::Lab;
use rustix::{
    process::{Signal, kill_process},
    thread::gettid,
};
use tokio::signal::unix::{SignalKind, signal};

#[test]
fn privileged_signals_end_no_load() {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let _context = runtime.enter();
    let mut handled = signal(SignalKind::user_defined2()).unwrap();
    // The thread by whose number a process is addressed is the one that gets the signal.
    let (loading, loaded) = (gettid(), Arc::new(AtomicBool::new(false)));
    let sender = thread::spawn({
        let loaded = Arc::clone(&loaded);
        move || {
            while !loaded.load(Ordering::Relaxed) {
                kill_process(loading, Signal::USR2).unwrap();
                thread::sleep(Duration::from_millis(10));
            }
        }
    });
    Lab::load();
    loaded.store(true, Ordering::Relaxed);
    sender.join().unwrap();
    let got = runtime.block_on(tokio::time::timeout(Duration::from_secs(1), handled.recv()));
    assert_eq!(got, Ok(Some(())), "what came meanwhile is not lost");
}
