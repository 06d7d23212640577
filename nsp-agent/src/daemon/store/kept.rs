//! The last confirmed policy, kept with every file that it was read from: what a start goes back to.
//!
//! Each lies in a directory of its own, named by its digest, and `state.json` says which one counts: so there
//! is always a whole one, wherever a crash comes.

use std::{
    collections::BTreeMap,
    fs::{self, File, OpenOptions},
    io::{self, Read as _, Write as _},
    os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _},
    path::{Path, PathBuf},
};

use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};

use crate::policy::{Copies, Loaded};

const PREFIX: &str = "confirmed-";
const MANIFEST: &str = "manifest.json";
/// Read and written at once.
const PART: usize = 1 << 16;

/// What a directory holds.
#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Manifest {
    /// The policy file or directory it was applied from.
    policy: PathBuf,
    /// The files of the policy itself, in order.
    documents: Vec<PathBuf>,
    /// Every file that was read, in order; the one at place N is kept as `N`.
    files: Vec<PathBuf>,
}

/// Keeps the files of a policy.
///
/// # Errors
/// When they cannot be copied, or have changed since they were read.
pub(in super::super) fn save(state_dir: &Path, policy: &Path, loaded: &Loaded) -> io::Result<()> {
    let directory = directory(state_dir, &loaded.digest);
    // Of an attempt before, perhaps half.
    match fs::remove_dir_all(&directory) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        _ => {}
    }
    fill(&directory, policy, loaded)
        .and_then(|()| File::open(state_dir)?.sync_all())
        .inspect_err(|_| drop(fs::remove_dir_all(&directory)))
}

fn fill(directory: &Path, policy: &Path, loaded: &Loaded) -> io::Result<()> {
    fs::DirBuilder::new().mode(0o700).create(directory)?;
    let mut digest = Sha256::new();
    for (place, file) in loaded.files.iter().enumerate() {
        digest.update(copy(file, &directory.join(place.to_string()))?);
    }
    let digest: String = digest.finalize().iter().map(|byte| format!("{byte:02x}")).collect();
    if digest != loaded.digest {
        return Err(io::Error::other("its files have changed since they were read"));
    }
    let manifest = Manifest {
        policy: policy.to_owned(),
        documents: loaded.files[..loaded.documents].to_vec(),
        files: loaded.files.clone(),
    };
    let mut file = create(&directory.join(MANIFEST))?;
    file.write_all(&serde_json::to_vec(&manifest)?)?;
    file.sync_all()?;
    File::open(directory)?.sync_all()
}

/// Where the files of a kept policy are, if it was applied from `policy` and is there.
pub(in super::super) fn find(state_dir: &Path, digest: &str, policy: &Path) -> Option<Copies> {
    let directory = directory(state_dir, digest);
    let text = fs::read(directory.join(MANIFEST)).ok()?;
    let manifest: Manifest = serde_json::from_slice(&text).ok()?;
    if manifest.policy != policy {
        return None;
    }
    let places = manifest.files.into_iter().enumerate();
    let files: BTreeMap<_, _> =
        places.map(|(place, file)| (file, directory.join(place.to_string()))).collect();
    Some(Copies { documents: manifest.documents, files })
}

/// Removes what is kept of others.
pub(in super::super) fn forget_others(state_dir: &Path, digest: &str) {
    let own = directory(state_dir, digest);
    for entry in fs::read_dir(state_dir).into_iter().flatten().flatten() {
        let is_kept = entry.file_name().to_string_lossy().starts_with(PREFIX);
        if is_kept && entry.path() != own {
            // What stays takes room and no more.
            let _removed = fs::remove_dir_all(entry.path());
        }
    }
}

fn directory(state_dir: &Path, digest: &str) -> PathBuf {
    state_dir.join(format!("{PREFIX}{digest}"))
}

fn create(path: &Path) -> io::Result<File> {
    OpenOptions::new().write(true).create_new(true).mode(0o600).open(path)
}

/// Copies a file and answers its hash.
fn copy(from: &Path, to: &Path) -> io::Result<impl AsRef<[u8]> + use<>> {
    let (mut from, mut to) = (File::open(from)?, create(to)?);
    let (mut digest, mut part) = (Sha256::new(), vec![0; PART]);
    loop {
        let read = from.read(&mut part)?;
        if read == 0 {
            break;
        }
        digest.update(&part[..read]);
        to.write_all(&part[..read])?;
    }
    to.sync_all()?;
    Ok(digest.finalize())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::policy;

    const POLICY: &str = r#"
        [perimeter]
        name = "payments"
        [sources.prefix_files]
        offices = "offices.txt"
        [profile.p.inbound.offices]
        service_tags = ["file:offices"]
        [resource.host]
        host = true
        profile = "p"
    "#;

    /// A policy that reads another file, loaded and kept.
    fn kept() -> (tempfile::TempDir, PathBuf, Loaded) {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("policy.toml");
        fs::write(&path, POLICY).unwrap();
        fs::write(directory.path().join("offices.txt"), "203.0.113.0/24\n").unwrap();
        let loaded = policy::load(&path).unwrap();
        (directory, path, loaded)
    }

    #[test]
    fn kept_policy_is_the_same_whatever_becomes_of_its_files() {
        let (directory, path, loaded) = kept();
        save(directory.path(), &path, &loaded).unwrap();
        fs::write(&path, "nonsense").unwrap();
        fs::remove_file(directory.path().join("offices.txt")).unwrap();
        let copies = find(directory.path(), &loaded.digest, &path).unwrap();
        let again = policy::load_copies(&path, copies).unwrap();
        assert_eq!((again.digest, again.policy), (loaded.digest, loaded.policy));
    }

    #[test]
    fn files_that_changed_meanwhile_are_not_kept() {
        let (directory, path, loaded) = kept();
        fs::write(directory.path().join("offices.txt"), "198.51.100.0/24\n").unwrap();
        assert!(save(directory.path(), &path, &loaded).is_err());
        assert!(find(directory.path(), &loaded.digest, &path).is_none());
    }

    #[test]
    fn what_is_half_kept_or_of_another_file_is_not_found() {
        let (directory, path, loaded) = kept();
        save(directory.path(), &path, &loaded).unwrap();
        assert!(find(directory.path(), &loaded.digest, Path::new("/etc/other.toml")).is_none());
        fs::remove_file(super::directory(directory.path(), &loaded.digest).join(MANIFEST)).unwrap();
        assert!(find(directory.path(), &loaded.digest, &path).is_none());
    }

    #[test]
    fn only_one_stays() {
        let (directory, path, loaded) = kept();
        save(directory.path(), &path, &loaded).unwrap();
        fs::create_dir(directory.path().join(format!("{PREFIX}old"))).unwrap();
        forget_others(directory.path(), &loaded.digest);
        let kept = fs::read_dir(directory.path()).unwrap().flatten();
        assert_eq!(
            kept.filter(|it| it.file_name().to_string_lossy().starts_with(PREFIX)).count(),
            1
        );
        assert!(find(directory.path(), &loaded.digest, &path).is_some());
    }
}
