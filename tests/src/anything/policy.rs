//! Bytes as a policy file.

use std::{fs, path::Path};

use nsp_agent::{
    compile::{compile, identities::Identities},
    policy::load,
};
use tempfile::TempDir;

/// Takes the bytes for a policy: it is refused, or it is the same policy each time and compiles, or is
/// refused for its size.
///
/// # Panics
/// When it is none of these.
pub fn policy(bytes: &[u8]) {
    // A file that a policy names is looked for beside it; nothing is there.
    let directory = directory();
    let path = directory.path().join("policy.toml");
    fs::write(&path, bytes).expect("a temporary file can be written");
    match load(&path) {
        Ok(loaded) => {
            assert!(str::from_utf8(bytes).is_ok());
            let again = load(&path).expect("what was right once");
            assert_eq!(again.policy, loaded.policy);
            assert_eq!(again.digest, loaded.digest);
            let compile = || compile(&loaded.policy, &mut Identities::default());
            if let (Ok(one), Ok(other)) = (compile(), compile()) {
                assert_eq!(one.header, other.header);
                assert_eq!(one.prefixes, other.prefixes);
            }
        }
        Err(errors) => {
            let said = errors.to_string();
            assert!(!said.is_empty());
            let is_plain = |it: char| it == '\n' || !it.is_control();
            assert!(said.chars().all(is_plain), "what is refused steers the terminal: {said:?}");
        }
    }
}

fn directory() -> TempDir {
    let memory = Path::new("/dev/shm");
    let made = if memory.is_dir() { TempDir::new_in(memory) } else { TempDir::new() };
    made.expect("a temporary directory")
}
