//! Learned addresses across restarts: `learned.json` in the state directory.
//!
//! Times are of the coarse monotonic clock, so that the file is worth something in its boot only. It is
//! not synced: what a crash of the machine breaks would be of another boot.

use std::{
    fs::{self, File},
    io::{self, BufWriter, Read as _, Write as _},
    net::IpAddr,
    path::Path,
    sync::{Mutex, PoisonError},
};

use serde::{Deserialize, Serialize};

use super::StoreError;
use crate::host::boot;

const FILE: &str = "learned.json";
/// Raised when the meaning of a field changes.
const VERSION: u32 = 1;
/// Addresses of one family that are kept: as many as the kernel's table holds.
pub(in crate::daemon) const ADDRESSES_MAX: usize = 65536;
/// Bytes of a file that is read: twice what the largest one has.
const BYTES_MAX: u64 = 256 << 20;

/// The file.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(in crate::daemon) struct Remembered {
    version: u32,
    boot: String,
    /// The addresses.
    pub(in crate::daemon) addresses: Vec<Entry>,
}

/// One address.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(in crate::daemon) struct Entry {
    pub(in crate::daemon) address: IpAddr,
    /// The names and patterns of the policy that it is held for, and when each is over.
    pub(in crate::daemon) held: Vec<(String, u32)>,
    /// The name that it was learned for last.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(in crate::daemon) asked: Option<Asked>,
}

/// The name that an address was learned for last.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(in crate::daemon) struct Asked {
    pub(in crate::daemon) name: String,
    /// The name or pattern of the policy that it falls under, if any.
    pub(in crate::daemon) under: Option<String>,
    /// Where it was learned from, as a number.
    pub(in crate::daemon) source: u8,
    pub(in crate::daemon) at_s: u32,
}

/// What was found on disk.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(in crate::daemon) enum Found {
    /// What an agent of this boot knew.
    Remembered(Remembered),
    /// Nothing of this boot.
    Nothing,
    /// A file that makes no sense; it is set aside.
    Unreadable,
}

impl Remembered {
    /// Of this boot. Of too many addresses those that last longest.
    pub(in crate::daemon) fn new(addresses: Vec<Entry>) -> Self {
        Self { version: VERSION, boot: boot::id(), addresses: bounded(addresses) }
    }

    /// Whether nothing was learned.
    pub(in crate::daemon) fn is_empty(&self) -> bool {
        self.addresses.is_empty()
    }

    /// What of it may be taught again: not what is over, nor for names that no rule has any more, nor
    /// what may not be learned. Beside it, how many of the addresses' names were left out.
    pub(in crate::daemon) fn still_good(
        self,
        now_s: u32,
        latest_s: u32,
        is_listed: impl Fn(&str) -> bool,
        is_forbidden: impl Fn(IpAddr) -> bool,
    ) -> (Vec<Entry>, usize) {
        let mut left_out = 0;
        let mut good = Vec::new();
        for mut entry in bounded(self.addresses) {
            let before = entry.held.len();
            entry.address = entry.address.to_canonical();
            if is_forbidden(entry.address) {
                left_out += before;
                continue;
            }
            entry.held.retain(|(name, expires_s)| *expires_s > now_s && is_listed(name));
            left_out += before - entry.held.len();
            for (_, expires_s) in &mut entry.held {
                *expires_s = (*expires_s).min(latest_s);
            }
            if !entry.held.is_empty() {
                good.push(entry);
            }
        }
        (good, left_out)
    }
}

/// At most so many of each family.
fn bounded(mut addresses: Vec<Entry>) -> Vec<Entry> {
    let last = |entry: &Entry| entry.held.iter().map(|(_, expires_s)| *expires_s).max();
    if addresses.len() > ADDRESSES_MAX {
        addresses.sort_by_key(|entry| std::cmp::Reverse(last(entry)));
    }
    let mut room = [ADDRESSES_MAX; 2];
    addresses.retain(|entry| {
        let room = &mut room[usize::from(entry.address.is_ipv6())];
        let fits = *room > 0;
        *room = room.saturating_sub(1);
        fits
    });
    addresses
}

/// Reads the file. One that cannot be understood is set aside; losing it costs a question.
pub(in crate::daemon) fn load(directory: &Path) -> Result<Found, StoreError> {
    let path = directory.join(FILE);
    let failed = |operation| {
        let path = path.clone();
        move |source| StoreError::Io { operation, path, source }
    };
    let file = match File::open(&path) {
        Ok(file) => file,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Found::Nothing),
        Err(source) => return Err(failed("read")(source)),
    };
    let mut bytes = Vec::new();
    file.take(BYTES_MAX + 1).read_to_end(&mut bytes).map_err(failed("read"))?;
    let parsed = serde_json::from_slice::<Remembered>(&bytes);
    match parsed {
        Ok(it) if it.version == VERSION && bytes.len() as u64 <= BYTES_MAX => {
            let is_of_this_boot = it.boot == boot::id() && !it.boot.is_empty();
            Ok(if is_of_this_boot { Found::Remembered(it) } else { Found::Nothing })
        }
        _ => {
            let aside = path.with_extension("unreadable");
            tracing::error!(path = %path.display(), aside = %aside.display(), "learned names cannot be read, set aside");
            fs::rename(&path, &aside).map_err(failed("set aside"))?;
            Ok(Found::Unreadable)
        }
    }
}

/// Writes the file, on whatever thread: of several writings the last one ordered stays.
#[derive(Debug, Default)]
pub(in crate::daemon) struct Saver {
    written: Mutex<u64>,
}

impl Saver {
    /// Writes what was ordered as the `turn`th.
    pub(in crate::daemon) fn save(
        &self,
        directory: &Path,
        remembered: &Remembered,
        turn: u64,
    ) -> Result<(), StoreError> {
        let mut written = self.written.lock().unwrap_or_else(PoisonError::into_inner);
        if *written >= turn {
            return Ok(());
        }
        let path = directory.join(FILE);
        let fresh = path.with_extension("new");
        let done = (|| {
            let mut file = BufWriter::new(File::create(&fresh)?);
            serde_json::to_writer(&mut file, remembered)?;
            file.write_all(b"\n")?;
            file.flush()?;
            fs::rename(&fresh, &path)
        })();
        done.map_err(|source| StoreError::Io { operation: "write", path, source })?;
        *written = turn;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn entry(address: &str, held: &[(&str, u32)]) -> Entry {
        let asked = Asked {
            name: "www.example.com".into(),
            under: Some("*.example.com".into()),
            source: 1,
            at_s: 90,
        };
        let held = held.iter().map(|(name, expires_s)| ((*name).into(), *expires_s)).collect();
        Entry { address: address.parse().unwrap(), held, asked: Some(asked) }
    }

    #[test]
    fn what_was_learned_survives_and_the_last_ordered_stays() {
        let directory = tempfile::tempdir().unwrap();
        assert_eq!(load(directory.path()).unwrap(), Found::Nothing);
        let first = Remembered::new(vec![entry("198.51.100.7", &[("*.example.com", 100)])]);
        let second = Remembered::new(vec![entry("2001:db8::7", &[("*.example.com", 200)])]);
        let saver = Saver::default();
        saver.save(directory.path(), &second, 2).unwrap();
        saver.save(directory.path(), &first, 1).unwrap();
        assert_eq!(load(directory.path()).unwrap(), Found::Remembered(second));
    }

    #[test]
    fn another_boot_begins_empty() {
        let directory = tempfile::tempdir().unwrap();
        let old = Remembered {
            boot: "another".into(),
            ..Remembered::new(vec![entry("198.51.100.7", &[("*.example.com", u32::MAX)])])
        };
        Saver::default().save(directory.path(), &old, 1).unwrap();
        assert_eq!(load(directory.path()).unwrap(), Found::Nothing);
    }

    #[test]
    fn a_broken_file_is_set_aside() {
        let directory = tempfile::tempdir().unwrap();
        for broken in [&b"{\"version\": 99}"[..], b"", b"\xff\xfe"] {
            fs::write(directory.path().join(FILE), broken).unwrap();
            assert_eq!(load(directory.path()).unwrap(), Found::Unreadable);
            assert!(directory.path().join("learned.unreadable").exists());
            assert_eq!(load(directory.path()).unwrap(), Found::Nothing);
        }
    }

    #[test]
    fn only_what_is_still_good_is_taught_again() {
        let remembered = Remembered::new(vec![
            entry("198.51.100.7", &[("*.example.com", 101), ("gone.example.org", 500)]),
            entry("198.51.100.8", &[("*.example.com", 100)]),
            entry("10.0.0.1", &[("*.example.com", 500), ("a.example.com", 500)]),
            entry("::ffff:198.51.100.9", &[("*.example.com", 5000)]),
        ]);
        let private: IpAddr = "10.0.0.1".parse().unwrap();
        let (good, left_out) = remembered.still_good(
            100,
            1000,
            |name| name.ends_with("example.com"),
            |address| address == private,
        );
        let expected = [
            entry("198.51.100.7", &[("*.example.com", 101)]),
            entry("198.51.100.9", &[("*.example.com", 1000)]),
        ];
        assert_eq!((good.as_slice(), left_out), (expected.as_slice(), 4));
    }

    #[test]
    fn of_too_many_those_stay_that_last_longest() {
        let many = (0..ADDRESSES_MAX as u32 + 10).map(|number| Entry {
            address: std::net::Ipv4Addr::from(0x0a00_0000 + number).into(),
            held: vec![("*.example.com".into(), number)],
            asked: None,
        });
        let all: Vec<Entry> = many.chain([entry("2001:db8::7", &[("*.example.com", 0)])]).collect();
        let kept = Remembered::new(all).addresses;
        assert_eq!(kept.len(), ADDRESSES_MAX + 1);
        assert!(kept.iter().all(|it| it.address.is_ipv6() || it.held[0].1 >= 10));
    }
}
