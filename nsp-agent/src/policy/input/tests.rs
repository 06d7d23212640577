use std::{
    fs::Permissions,
    os::unix::{fs::PermissionsExt as _, fs::symlink, net::UnixListener},
};

use rustix::fs::{CWD, FileType, Mode, mknodat};

use super::*;

const BYTES_MAX: u64 = 1024;

fn read(path: &Path) -> Result<Vec<u8>, Refusal> {
    let mut report = Report::default();
    Reader::default().read(path, BYTES_MAX, &mut report)
}

#[test]
fn a_file_of_the_bound_is_read_and_one_byte_more_is_not() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("file");
    fs::write(&path, [b'#'; BYTES_MAX as usize]).unwrap();
    assert_eq!(read(&path).unwrap().len() as u64, BYTES_MAX);
    fs::write(&path, [b'#'; BYTES_MAX as usize + 1]).unwrap();
    assert!(read(&path).unwrap_err().what.ends_with("is too large"));
}

#[test]
fn a_file_of_one_gibibyte_is_refused_by_its_size() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("policy.toml");
    File::create(&path).unwrap().set_len(1 << 30).unwrap();
    let refusal = Reader::default().read(&path, POLICY_BYTES_MAX, &mut Report::default());
    assert_eq!(refusal.unwrap_err().why, "at most 32 MiB are read here");
}

#[test]
fn a_fifo_is_refused_without_waiting_for_a_writer() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("fifo");
    mknodat(CWD, &path, FileType::Fifo, Mode::from_raw_mode(0o600), 0).unwrap();
    let what = read(&path).unwrap_err().what;
    assert!(what.ends_with("is a pipe, socket or device"), "{what}");
}

#[test]
fn a_socket_a_device_and_a_directory_are_refused() {
    let directory = tempfile::tempdir().unwrap();
    let socket = directory.path().join("socket");
    let _listener = UnixListener::bind(&socket).unwrap();
    for path in [&socket, Path::new("/dev/zero")] {
        assert!(read(path).unwrap_err().what.ends_with("is a pipe, socket or device"));
    }
    assert!(read(directory.path()).unwrap_err().what.ends_with("is a directory"));
}

#[test]
fn a_symlink_is_followed_and_judged_by_what_it_leads_to() {
    let directory = tempfile::tempdir().unwrap();
    let (file, link) = (directory.path().join("file"), directory.path().join("link"));
    fs::write(&file, "x").unwrap();
    symlink(&file, &link).unwrap();
    assert_eq!(read(&link).unwrap(), b"x");

    let device = directory.path().join("device");
    symlink("/dev/zero", &device).unwrap();
    assert!(read(&device).is_err());

    let dangling = directory.path().join("dangling");
    symlink(directory.path().join("nothing"), &dangling).unwrap();
    assert_eq!(read(&dangling).unwrap_err().why, "no such file");

    let looping = directory.path().join("loop");
    symlink(&looping, &looping).unwrap();
    assert!(read(&looping).unwrap_err().what.starts_with("cannot read"));
}

#[test]
fn a_file_that_everyone_can_write_is_refused() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("file");
    fs::write(&path, "x").unwrap();
    fs::set_permissions(&path, Permissions::from_mode(0o664)).unwrap();
    assert!(read(&path).is_ok());
    fs::set_permissions(&path, Permissions::from_mode(0o666)).unwrap();
    let refusal = read(&path).unwrap_err();
    assert_eq!(refusal.cure, Some(format!("chmod o-w {}", path.display())));
}

#[test]
fn a_near_file_name_is_suggested() {
    let directory = tempfile::tempdir().unwrap();
    fs::write(directory.path().join("offices.txt"), "").unwrap();
    let refusal = read(&directory.path().join("office.txt")).unwrap_err();
    assert_eq!(refusal.cure.as_deref(), Some("\"offices.txt\""));
}

#[test]
fn a_parser_is_given_the_file_and_what_it_leaves_is_read_all_the_same() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("file");
    fs::write(&path, [b'#'; 700]).unwrap();
    let parsed = |take: u64| {
        let mut reader = Reader::default();
        let parse = |stream: &mut Stream| stream.take(take).read_to_end(&mut Vec::new()).unwrap();
        let parsed = reader.parse(&path, BYTES_MAX, &mut Report::default(), parse).unwrap();
        assert!(parsed.is_utf8 && parsed.modified.is_some());
        (parsed.value, parsed.digest, reader.finish())
    };
    let (part, whole) = (parsed(10), parsed(u64::MAX));
    assert_eq!((part.0, whole.0), (10, 700));
    assert_eq!((part.1, part.2), (whole.1, whole.2));
}

#[test]
fn a_file_that_changed_is_not_shown_for_what_it_was() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("file");
    fs::write(&path, "192.0.2.1/24").unwrap();
    let parse = |_: &mut Stream| ();
    let parsed = Reader::default().parse(&path, BYTES_MAX, &mut Report::default(), parse).unwrap();
    assert_eq!(read_again(&path, BYTES_MAX, parsed.digest).unwrap(), b"192.0.2.1/24");
    fs::write(&path, "192.0.2.0/24").unwrap();
    let refusal = read_again(&path, BYTES_MAX, parsed.digest).unwrap_err();
    assert!(refusal.what.ends_with("changed while it was read"), "{refusal:?}");
}

#[test]
fn text_that_is_not_utf8_is_placed() {
    let mut report = Report::default();
    assert_eq!(utf8(Path::new("p"), b"a\nbc\xff\xffd\n\xff".to_vec(), &mut report), None);
    let errors = report.finish().unwrap_err().errors;
    assert_eq!((errors[0].position.line, errors[0].position.column), (2, 3));
}
