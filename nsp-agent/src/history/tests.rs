//! The file: what survives a crash, a full disk and many changes.

use std::os::unix::fs::PermissionsExt as _;

use serde_json::json;

use super::*;

fn entry(number: usize) -> Entry {
    Entry { detail: json!({"number": number}), ..Entry::new("apply", Outcome::Done) }
}

fn numbers(directory: &Path) -> Vec<u64> {
    let past = read(directory).unwrap();
    past.entries.iter().map(|it| it.detail["number"].as_u64().unwrap()).collect()
}

#[test]
fn what_is_written_is_read_and_is_for_its_owner_alone() {
    let directory = tempfile::tempdir().unwrap();
    assert_eq!(read(directory.path()).unwrap(), Past::default());
    let mut history = History::new(directory.path());
    let first = Entry {
        by: Some(Who { uid: 0, pid: Some(7), process: Some("nsp".into()), login_uid: Some(1000) }),
        why: Some("not now".into()),
        before: Some("a".into()),
        after: Some("b".into()),
        generation: Some(3),
        ..Entry::new("mode", Outcome::Refused)
    };
    history.append(first.clone());
    history.append(entry(2));
    let past = read(directory.path()).unwrap();
    assert_eq!(past.entries[0], first);
    assert_eq!((past.entries.len(), past.unreadable), (2, 0));
    let mode = fs::metadata(directory.path().join(FILE)).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o600);
    assert_eq!((history.lost(), history.error()), (0, None));
}

#[test]
fn torn_line_costs_itself_and_no_other() {
    let directory = tempfile::tempdir().unwrap();
    let mut history = History::new(directory.path());
    history.append(entry(1));
    let path = directory.path().join(FILE);
    let whole = fs::read(&path).unwrap();
    for length in 1..whole.len() {
        // Cut anywhere, also inside a character, and with what a disk makes of a crash.
        let torn = [&whole[..], &whole[..length], b"\0\0\xff"].concat();
        fs::write(&path, torn).unwrap();
        assert_eq!(numbers(directory.path()), [1], "{length}");
        history.append(entry(2));
        let past = read(directory.path()).unwrap();
        assert_eq!((numbers(directory.path()), past.unreadable), (vec![1, 2], 1), "{length}");
    }
}

#[test]
fn file_has_a_bound_and_one_predecessor() {
    let directory = tempfile::tempdir().unwrap();
    let mut history = History { bytes_max: 1000, ..History::new(directory.path()) };
    for number in 0..100 {
        history.append(entry(number));
    }
    for name in [FILE, BEFORE] {
        let length = fs::metadata(directory.path().join(name)).unwrap().len();
        assert!((1..=1000).contains(&length), "{name}: {length}");
    }
    let left = numbers(directory.path());
    assert_eq!(left.last(), Some(&99));
    assert!(left.len() > 10, "{left:?}");
    assert!(left.windows(2).all(|pair| pair[1] == pair[0] + 1), "{left:?}");
    assert_eq!(fs::read_dir(directory.path()).unwrap().count(), 2);
}

#[test]
fn longest_detail_is_left_out_and_the_record_is_kept() {
    let directory = tempfile::tempdir().unwrap();
    let mut history = History::new(directory.path());
    let detail = "x".repeat(DETAIL_BYTES_MAX).into();
    history.append(Entry { detail, ..Entry::new("apply", Outcome::Done) });
    let past = read(directory.path()).unwrap();
    assert_eq!(past.entries[0].detail, "too long to be kept");
}

#[test]
fn what_cannot_be_written_is_counted_and_told_by_the_next() {
    let directory = tempfile::tempdir().unwrap();
    let mut history = History::new(directory.path());
    // A directory in its place: as good as a full disk.
    fs::create_dir(directory.path().join(FILE)).unwrap();
    history.append(entry(1));
    history.append(entry(2));
    assert_eq!(history.lost(), 2);
    assert!(history.error().unwrap().contains(FILE), "{:?}", history.error());
    fs::remove_dir(directory.path().join(FILE)).unwrap();
    for number in [3, 4] {
        history.append(entry(number));
    }
    let past = read(directory.path()).unwrap();
    let told: Vec<u64> = past.entries.iter().map(|it| it.lost_before).collect();
    assert_eq!(told, [2, 0]);
    assert_eq!((history.lost(), history.error()), (2, None));
}

#[test]
fn this_process_is_known_by_its_number_and_name() {
    let who = Who::here();
    assert_eq!(who.pid, Some(std::process::id() as i32));
    assert!(who.process.is_some_and(|name| !name.is_empty()));
    // One that is gone has no name.
    assert_eq!(Who::of(0, Some(i32::MAX)).process, None);
}
