//! Bytes as what an agent finds of the one before it.

use std::{fs, path::Path};

use nsp_agent::daemon::saved;
use tempfile::TempDir;

/// The files of the state directory.
const FILES: [&str; 2] = ["state.json", "learned.json"];
/// Stands for this boot.
const BOOT: &[u8] = b"@boot@";

/// Takes the bytes for each of the files: an agent makes sense of it and goes on, or sets it aside and
/// begins anew; and what it saves then it can read.
///
/// # Panics
/// When it does neither.
pub fn state(bytes: &[u8]) {
    let bytes = &of_this_boot(bytes);
    for name in FILES {
        let directory = directory();
        fs::write(directory.path().join(name), bytes).expect("a temporary file can be written");
        let started = saved::take_over(directory.path());
        started.unwrap_or_else(|error| panic!("{name} stops the agent: {error}"));
        let aside = directory.path().join(name).with_extension("unreadable");
        if aside.exists() {
            assert_eq!(
                fs::read(&aside).ok().as_deref(),
                Some(&bytes[..]),
                "{name} is kept as it was"
            );
            fs::remove_file(&aside).expect("a file of ours");
        }
        saved::take_over(directory.path()).expect("what was saved can be read");
        assert!(!aside.exists(), "{name}: what was saved is not understood");
    }
}

/// What a file says of its boot cannot be guessed, and is most of what makes it worth reading.
fn of_this_boot(bytes: &[u8]) -> Vec<u8> {
    let Some(at) = bytes.windows(BOOT.len()).position(|it| it == BOOT) else {
        return bytes.to_vec();
    };
    let boot = fs::read("/proc/sys/kernel/random/boot_id").unwrap_or_default();
    [&bytes[..at], boot.trim_ascii(), &bytes[at + BOOT.len()..]].concat()
}

fn directory() -> TempDir {
    let memory = Path::new("/dev/shm");
    let made = if memory.is_dir() { TempDir::new_in(memory) } else { TempDir::new() };
    made.expect("a temporary directory")
}
