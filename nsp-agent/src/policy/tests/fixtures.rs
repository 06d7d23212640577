//! Policies as files: what is accepted, with its warnings, and what is refused, with its errors.
//!
//! Expected text lies beside each file, in `.notes` and `.stderr`. After a wanted change run the
//! tests with `NSP_BLESS=1`, and read the difference.

use std::{
    env, fs,
    path::{Path, PathBuf},
};

use super::load;

fn policies(kind: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../tests/fixtures/policies").join(kind)
}

/// An accepted policy.
pub(super) fn accepted(name: &str) -> PathBuf {
    policies("accepted").join(name)
}

/// The policies of a folder: every `.toml`, and every directory.
fn all(kind: &str) -> Vec<PathBuf> {
    let entries = fs::read_dir(policies(kind)).expect("the fixtures are there");
    let mut paths: Vec<PathBuf> = entries.map(|entry| entry.expect("an entry").path()).collect();
    paths.retain(|path| path.is_dir() || path.extension().is_some_and(|e| e == "toml"));
    paths.sort();
    paths
}

/// Compares with the text beside the policy; `None` when it is as expected.
fn difference(path: &Path, extension: &str, shown: &str) -> Option<String> {
    let folder = path.parent().expect("a fixture is in a folder");
    let mut shown = shown.replace(&format!("{}/", folder.display()), "");
    if !shown.is_empty() {
        shown.push('\n');
    }
    let expected_path = path.with_extension(extension);
    if env::var_os("NSP_BLESS").is_some() && !shown.is_empty() {
        fs::write(&expected_path, &shown).expect("the fixtures can be written");
    }
    let expected = fs::read_to_string(&expected_path).unwrap_or_default();
    let name = path.display();
    (shown != expected).then(|| format!("{name}\n--- expected\n{expected}--- shown\n{shown}"))
}

#[test]
fn accepted_policies_load_with_their_warnings() {
    let mut differences = Vec::new();
    let paths = all("accepted");
    for path in &paths {
        match load(path) {
            Ok(loaded) => {
                let notes: Vec<String> = loaded.notes.iter().map(ToString::to_string).collect();
                differences.extend(difference(path, "notes", &notes.join("\n")));
            }
            Err(errors) => differences.push(format!("{} is refused\n{errors}", path.display())),
        }
    }
    assert!(differences.is_empty(), "{}", differences.join("\n"));
    assert!(paths.len() >= 6, "only {} accepted policies were found", paths.len());
}

#[test]
fn rejected_policies_are_refused_with_their_errors() {
    let mut differences = Vec::new();
    let paths = all("rejected");
    for path in &paths {
        match load(path) {
            Ok(_) => differences.push(format!("{} is accepted", path.display())),
            Err(errors) => differences.extend(difference(path, "stderr", &errors.to_string())),
        }
    }
    assert!(differences.is_empty(), "{}", differences.join("\n"));
    assert!(paths.len() >= 60, "only {} rejected policies were found", paths.len());
}

#[test]
fn no_expected_text_is_left_without_its_policy() {
    for (kind, extension) in [("accepted", "notes"), ("rejected", "stderr")] {
        for entry in fs::read_dir(policies(kind)).expect("the fixtures are there") {
            let path = entry.expect("an entry").path();
            if path.extension().is_some_and(|found| found == extension) {
                let policy = ["toml", "d", ""].map(|extension| path.with_extension(extension));
                assert!(policy.iter().any(|path| path.exists()), "{} is alone", path.display());
            }
        }
    }
}
