use std::{
    fs::{self, File, OpenOptions},
    io::{self, Read as _, Write},
    os::unix::fs::OpenOptionsExt as _,
    path::Path,
};

use rustix::fs::{CWD, FileType, Mode, OFlags, mknodat};

use super::{
    Lost, Rotation, Sink, Target,
    file::{OpenFile, Stopped, predecessor, rotate, write_counted},
};
use crate::access_log::{record::AccessRecord, sample::numbered};

fn sink(path: &Path) -> Sink {
    Sink::new(Target::File(path.into()), Rotation::default())
}

fn batch(packets: &[u64]) -> Vec<AccessRecord> {
    packets.iter().map(|packets| numbered(*packets)).collect()
}

/// The packets of each row of a file; `None` where a line is no row.
fn rows(path: &Path) -> Vec<Option<u64>> {
    let bytes = fs::read(path).unwrap();
    let lines = bytes.split(|byte| *byte == b'\n').filter(|line| !line.is_empty());
    lines.map(|line| AccessRecord::from_json(line).map(|record| record.packets)).collect()
}

#[test]
fn rows_are_appended_and_the_directory_is_made() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("log/nsp/access.jsonl");
    let mut sink = sink(&path);
    sink.write(&batch(&[1, 2]));
    sink.write(&[]);
    sink.write(&batch(&[3]));
    assert_eq!(rows(&path), [Some(1), Some(2), Some(3)]);
    assert_eq!((sink.lost(), sink.error()), (Lost::default(), None));
}

#[test]
fn a_full_disk_loses_lines_and_counts_their_packets() {
    let mut sink = sink(Path::new("/dev/full"));
    sink.write(&batch(&[3, 4]));
    assert_eq!(sink.lost(), Lost { lines: 2, packets: 7 });
    assert!(sink.error().unwrap().contains("No space left"));
    sink.write(&batch(&[5]));
    assert_eq!(sink.lost(), Lost { lines: 3, packets: 12 });
}

#[test]
fn a_directory_that_vanishes_loses_lines_until_it_is_back() {
    let directory = tempfile::tempdir().unwrap();
    let parent = directory.path().join("log");
    let path = parent.join("access.jsonl");
    let mut sink = sink(&path);
    sink.write(&batch(&[1]));
    fs::remove_dir_all(&parent).unwrap();
    sink.write(&batch(&[2]));
    assert_eq!(sink.lost(), Lost { lines: 1, packets: 2 });
    assert!(sink.error().is_some());
    fs::create_dir(&parent).unwrap();
    sink.write(&batch(&[3]));
    assert_eq!(rows(&path), [Some(3)]);
    assert_eq!((sink.lost(), sink.error()), (Lost { lines: 1, packets: 2 }, None));
}

#[test]
fn a_file_that_was_moved_away_is_begun_anew() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("access.jsonl");
    let mut sink = sink(&path);
    sink.write(&batch(&[1]));
    fs::rename(&path, directory.path().join("elsewhere")).unwrap();
    sink.write(&batch(&[2]));
    assert_eq!(rows(&path), [Some(2)]);
    fs::remove_file(&path).unwrap();
    sink.write(&batch(&[3]));
    assert_eq!(rows(&path), [Some(3)]);
}

#[test]
fn a_place_nobody_can_write_to_loses_lines() {
    for place in ["/proc/self/nsp/access.jsonl", "/proc/self/access.jsonl", "/"] {
        let mut sink = sink(Path::new(place));
        sink.write(&batch(&[1]));
        assert_eq!(sink.lost(), Lost { lines: 1, packets: 1 }, "{place}");
    }
}

#[test]
fn a_read_only_directory_loses_lines() {
    if rustix::process::geteuid().is_root() {
        return; // Root writes anywhere; the test above has what even root cannot write.
    }
    let directory = tempfile::tempdir().unwrap();
    let mut permissions = fs::metadata(directory.path()).unwrap().permissions();
    permissions.set_readonly(true);
    fs::set_permissions(directory.path(), permissions).unwrap();
    let mut sink = sink(&directory.path().join("access.jsonl"));
    sink.write(&batch(&[1]));
    assert_eq!(sink.lost(), Lost { lines: 1, packets: 1 });
}

#[test]
fn a_torn_line_is_closed_off_before_the_next() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("access.jsonl");
    let whole = numbered(1).to_json();
    fs::write(&path, format!("{whole}\n{}", &whole[..100])).unwrap();
    sink(&path).write(&batch(&[2]));
    assert_eq!(rows(&path), [Some(1), None, Some(2)]);
}

#[test]
fn a_write_that_stops_halfway_loses_what_is_not_whole() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("pipe");
    mknodat(CWD, &path, FileType::Fifo, Mode::RUSR | Mode::WUSR, 0).unwrap();
    let mut sink = sink(&path);
    sink.write(&batch(&[1]));
    assert_eq!(sink.lost().lines, 1, "a pipe nobody reads does not hang");

    let nonblocking = OFlags::NONBLOCK.bits().cast_signed();
    let mut reader = OpenOptions::new().read(true).custom_flags(nonblocking).open(&path).unwrap();
    sink.write(&batch(&(1000..1200).collect::<Vec<u64>>()));
    let first = drain(&mut reader);
    sink.write(&batch(&[7]));
    let text = first + &drain(&mut reader);

    let lines: Vec<_> = text.lines().map(|line| AccessRecord::from_json(line.as_bytes())).collect();
    let (torn, whole): (Vec<_>, Vec<_>) = lines.iter().partition(|line| line.is_none());
    assert_eq!(torn.len(), 1);
    assert_eq!(whole.last().unwrap().as_ref().unwrap().packets, 7, "on a line of its own");
    let written: u64 = whole.iter().map(|line| line.as_ref().unwrap().packets).sum();
    assert_eq!(sink.lost().lines + whole.len() as u64, 202);
    assert_eq!(sink.lost().packets + written, 1 + (1000..1200).sum::<u64>() + 7);
}

fn drain(reader: &mut File) -> String {
    let mut bytes = Vec::new();
    let end = reader.read_to_end(&mut bytes);
    assert!(end.is_ok() || end.unwrap_err().kind() == io::ErrorKind::WouldBlock);
    String::from_utf8(bytes).unwrap()
}

/// A device with room for so many bytes.
struct Room(usize);

impl Write for Room {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let taken = bytes.len().min(self.0).min(3);
        if taken == 0 {
            return Err(io::ErrorKind::StorageFull.into());
        }
        self.0 -= taken;
        Ok(taken)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[rstest::rstest]
#[case::none(0, 0)]
#[case::part_of_the_first(4, 0)]
#[case::the_first(5, 1)]
#[case::part_of_the_second(9, 1)]
#[case::both(10, 2)]
fn whole_lines_are_known(#[case] room: usize, #[case] whole: usize) {
    let written = write_counted(&mut Room(room), b"aaaa\nbbbb\n", &[5, 10]);
    match written {
        Ok(()) => assert_eq!(whole, 2),
        Err(Stopped { lines, bytes, error: _ }) => assert_eq!((lines, bytes), (whole, room)),
    }
}

#[test]
fn files_are_rotated_by_size_and_the_oldest_goes() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("access.jsonl");
    let line = numbered(10).to_json().len() as u64 + 1;
    let rotation = Rotation { bytes_max: 2 * line, keep: 2 };
    let mut sink = Sink::new(Target::File(path.clone()), rotation);
    sink.write(&batch(&[10, 11, 12]));
    sink.write(&batch(&[13, 14]));
    assert_eq!(rows(&path), [Some(14)]);
    assert_eq!(rows(&predecessor(&path, 1)), [Some(12), Some(13)]);
    assert_eq!(rows(&predecessor(&path, 2)), [Some(10), Some(11)]);
    sink.write(&batch(&[15, 16, 17]));
    assert_eq!(rows(&path), [Some(16), Some(17)]);
    assert_eq!(rows(&predecessor(&path, 2)), [Some(12), Some(13)]);
    assert!(!predecessor(&path, 3).exists());
    assert_eq!(sink.lost(), Lost::default());
}

#[test]
fn a_line_larger_than_a_file_has_a_file_of_its_own() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("access.jsonl");
    let mut sink = Sink::new(Target::File(path.clone()), Rotation { bytes_max: 10, keep: 4 });
    sink.write(&batch(&[1, 2]));
    assert_eq!(rows(&path), [Some(2)]);
    assert_eq!(rows(&predecessor(&path, 1)), [Some(1)]);
    assert_eq!(sink.lost(), Lost::default());
}

#[test]
fn a_file_that_cannot_be_rotated_grows_to_twice_its_size_and_no_further() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("access.jsonl");
    fs::create_dir(predecessor(&path, 1)).unwrap();
    fs::write(predecessor(&path, 1).join("in the way"), "").unwrap();
    let line = numbered(10).to_json().len() as u64 + 1;
    let rotation = Rotation { bytes_max: 2 * line, keep: 1 };
    let mut sink = Sink::new(Target::File(path.clone()), rotation);
    sink.write(&batch(&[10, 11, 12, 13, 14, 15]));
    assert_eq!(rows(&path), [Some(10), Some(11), Some(12), Some(13)]);
    assert_eq!(sink.lost(), Lost { lines: 2, packets: 29 });
    fs::remove_dir_all(predecessor(&path, 1)).unwrap();
    sink.write(&batch(&[16]));
    assert_eq!(rows(&path), [Some(16)]);
}

#[test]
fn trying_to_rotate_again_and_again_costs_no_predecessor() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("access.jsonl");
    for number in 1..=3 {
        fs::write(predecessor(&path, number), format!("{number}")).unwrap();
    }
    for _ in 0..5 {
        // The file itself is not there: the last step fails each time.
        assert!(rotate(&path, 4).is_err());
    }
    for number in 1..=3 {
        let text = fs::read_to_string(predecessor(&path, number + 1)).unwrap();
        assert_eq!(text, format!("{number}"));
    }
}

#[test]
fn a_file_cut_back_by_others_is_gone_on_with() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("access.jsonl");
    let mut sink = sink(&path);
    sink.write(&batch(&[1, 2]));
    File::create(&path).unwrap();
    sink.write(&batch(&[3]));
    assert_eq!(rows(&path), [Some(3)]);
}

#[test]
fn an_empty_file_is_not_torn() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("access.jsonl");
    assert!(!OpenFile::open(&path).unwrap().torn);
}

#[test]
fn a_dash_is_standard_output() {
    assert_eq!(Target::of(Path::new("-")), Target::Stdout);
    assert_eq!(Target::of(Path::new("./-")), Target::File("./-".into()));
}
