use std::{fs, io::Write as _, ops::ControlFlow, path::Path, time::Duration};

use nsp_common::verdict::Category;

use super::{Filter, Log, ReadError};
use crate::access_log::{
    record::AccessRecord,
    sample::{numbered, record},
    sink::{Rotation, Sink, Target, predecessor},
};

fn packets(log: &mut Log) -> Vec<u64> {
    log.map(|row| row.unwrap().packets).collect()
}

fn sink(path: &Path, lines_a_file: u64) -> Sink {
    let line = numbered(10).to_json().len() as u64 + 1;
    let rotation = Rotation { bytes_max: lines_a_file * line, keep: 4 };
    Sink::new(Target::File(path.into()), rotation)
}

fn append(path: &Path, text: &str) {
    let mut file = fs::OpenOptions::new().create(true).append(true).open(path).unwrap();
    file.write_all(text.as_bytes()).unwrap();
}

#[test]
fn predecessors_come_first() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("access.jsonl");
    let rows: Vec<_> = (10..17).map(numbered).collect();
    sink(&path, 2).write(&rows);
    assert!(predecessor(&path, 3).exists());
    let mut log = Log::open(&path, Filter::default()).unwrap();
    assert_eq!(packets(&mut log), (10..17).collect::<Vec<u64>>());
    assert_eq!(log.skipped(), 0);
}

#[test]
fn what_is_no_row_is_passed_over_and_counted() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("access.jsonl");
    let line = numbered(10).to_json();
    let long = "x".repeat(200_000);
    let torn = &line[..50];
    append(&path, &format!("{line}\n{torn}\n\n{long}\nnull\n{line}\n{torn}"));
    append(&predecessor(&path, 1), &format!("{line}\n{line}"));
    let mut log = Log::open(&path, Filter::default()).unwrap();
    assert_eq!(packets(&mut log), [10; 4]);
    assert_eq!(log.skipped(), 4);
}

#[test]
fn rows_are_chosen_by_category_and_time() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("access.jsonl");
    let at = |text: &str| text.parse().unwrap();
    let early =
        AccessRecord { time_generated_end_time: at("2026-03-01T10:00:00Z"), ..numbered(10) };
    let other = AccessRecord { category: "NspOutboundAttempt".into(), ..numbered(11) };
    sink(&path, 100).write(&[early, other, numbered(12)]);
    let rows = |filter| packets(&mut Log::open(&path, filter).unwrap());
    let category = Some(Category::PublicInboundResourceRulesAllowed);
    let since = Some(at("2026-03-01T10:00:00.001Z"));
    assert_eq!(rows(Filter { category, since: None }), [10, 12]);
    assert_eq!(rows(Filter { category: None, since }), [11, 12]);
    assert_eq!(rows(Filter { category, since }), [12]);
    assert_eq!(rows(Filter { category: None, since: Some(at("2026-03-01T10:00:00Z")) }).len(), 3);
}

#[test]
fn a_log_that_is_not_there_is_said_to_be_missing() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("access.jsonl");
    let missing = Log::open(&path, Filter::default()).unwrap_err();
    assert!(matches!(missing, ReadError::Missing { .. }));
    let mut log = Log::follow(&path, Filter::default()).unwrap();
    assert!(log.next_record().unwrap().is_none());
    sink(&path, 100).write(&[record()]);
    assert!(log.next_record().unwrap().is_some(), "it is followed once it is there");
}

#[test]
fn following_sees_every_row_once_through_rotations() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("access.jsonl");
    let mut sink = sink(&path, 3);
    let mut log = Log::follow(&path, Filter::default()).unwrap();
    let mut seen = Vec::new();
    let mut next = 10;
    for batch in [1, 2, 5, 0, 3, 7, 4, 1, 1] {
        let rows: Vec<_> = (next..next + batch).map(numbered).collect();
        sink.write(&rows);
        next += batch;
        seen.extend(packets(&mut log));
        assert!(log.read.len() <= 5, "no more files are held than exist");
    }
    assert_eq!(seen, (10..next).collect::<Vec<u64>>());
    assert_eq!(log.skipped(), 0);
}

#[test]
fn rows_written_between_the_end_and_a_rotation_are_seen() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("access.jsonl");
    let line = |packets| format!("{}\n", numbered(packets).to_json());
    append(&path, &line(10));
    let mut log = Log::follow(&path, Filter::default()).unwrap();
    assert_eq!(packets(&mut log), [10]);
    append(&path, &line(11));
    fs::rename(&path, predecessor(&path, 1)).unwrap();
    append(&path, &line(12));
    assert_eq!(packets(&mut log), [11, 12]);
}

#[test]
fn a_line_in_the_making_is_waited_for() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("access.jsonl");
    let line = numbered(10).to_json();
    append(&path, &line[..50]);
    let mut log = Log::follow(&path, Filter::default()).unwrap();
    assert_eq!(packets(&mut log), [0; 0]);
    append(&path, &line[50..]);
    assert_eq!(packets(&mut log), [0; 0]);
    append(&path, "\n");
    assert_eq!(packets(&mut log), [10]);
    assert_eq!(log.skipped(), 0);
}

#[test]
fn a_log_cut_back_is_read_from_its_start() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("access.jsonl");
    sink(&path, 100).write(&[numbered(10), numbered(11)]);
    let mut log = Log::follow(&path, Filter::default()).unwrap();
    assert_eq!(packets(&mut log), [10, 11]);
    fs::File::create(&path).unwrap();
    sink(&path, 100).write(&[numbered(12)]);
    assert_eq!(packets(&mut log), [12]);
}

#[test]
fn only_what_is_new_after_skipping_to_the_end() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("access.jsonl");
    let mut sink = sink(&path, 2);
    sink.write(&[numbered(10), numbered(11), numbered(12)]);
    let mut log = Log::follow(&path, Filter::default()).unwrap();
    log.skip_to_end().unwrap();
    assert_eq!(packets(&mut log), [0; 0]);
    sink.write(&[numbered(13), numbered(14)]);
    let mut seen = Vec::new();
    let run = log.run(Duration::from_millis(1), |record| {
        seen.push(record.packets);
        if seen.len() == 2 { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
    });
    run.unwrap();
    assert_eq!(seen, [13, 14]);
}
