//! What is shown of work that takes longer than a second, and to whom.

use std::{
    fs::{self, File},
    io::Write as _,
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    thread,
    time::Duration,
};

use nsp_tests::{
    agent::nsp_binary,
    deadline::Deadline,
    prefix_lists::policy,
    terminal::{Terminal, screen},
};
use rstest::rstest;
use rustix::process::{Pid, Signal, kill_process};

use super::{clear_environment, nsp, stderr, stdout};

/// Lines of a list that takes any machine some moments to read; all but one are comments.
const LONG: usize = 2_000_000;
/// What of it is read when the command is stopped.
const BEGUN_BYTES: u64 = 256 << 10;
/// How long it is stopped, as if the machine were so slow.
const STOPPED: Duration = Duration::from_millis(1_300);

/// A folder with a policy and the list that it names.
fn policy_of(lines: usize) -> (tempfile::TempDir, PathBuf) {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let path = folder.path().join("policy.toml");
    fs::write(&path, policy(1)).expect("a folder of ours");
    let mut list = File::create(folder.path().join("list-0.txt")).expect("a folder of ours");
    list.write_all("#\n".repeat(lines - 1).as_bytes()).expect("a file of ours");
    list.write_all(b"203.0.113.0/24\n").expect("a file of ours");
    (folder, path)
}

fn check<'a>(command: &'a mut Command, policy: &Path) -> &'a mut Command {
    command.arg("check").arg(policy).args(["--resolv-conf", "/dev/null", "--etc", "/dev/null"])
}

/// Lets a command that reads a list take longer than a second, and waits for its end.
fn take_long(mut child: Child) {
    let path = format!("/proc/{}/io", child.id());
    let begun = || {
        let io = fs::read_to_string(&path).ok()?;
        let read = io.lines().find_map(|line| line.strip_prefix("rchar: "))?;
        (read.parse::<u64>().ok()? > BEGUN_BYTES).then_some(())
    };
    Deadline::after(Duration::from_secs(30)).poll(begun).expect("it reads");
    let signal = |signal| kill_process(Pid::from_child(&child), signal).expect("a child of ours");
    signal(Signal::STOP);
    thread::sleep(STOPPED);
    signal(Signal::CONT);
    assert!(child.wait().expect("a child of ours").success());
}

#[test]
fn at_a_terminal_it_is_shown_how_far_it_is_and_nothing_of_it_stays() {
    let (_folder, policy) = policy_of(LONG);
    let terminal = Terminal::open();
    let mut command = terminal.command(nsp_binary());
    clear_environment(&mut command);
    take_long(check(&mut command, &policy).env("NO_COLOR", "1").spawn().expect("it starts"));
    drop(command);
    let written = terminal.written();
    assert!(written.contains("nsp: reading list-0.txt"), "{written:?}");
    assert!(written.contains("MiB of 3.81 MiB"), "{written:?}");
    let mut plain = Command::new(nsp_binary());
    clear_environment(&mut plain);
    let plain = check(&mut plain, &policy).output().expect("the binary runs");
    // Colours are nothing that a screen of ours knows, so there are none either.
    assert_eq!(screen(&written), format!("{}{}", stderr(&plain), stdout(&plain)));
}

#[rstest]
#[case::without_a_cursor(&[], "dumb", false)]
#[case::for_a_program(&["--json"], "xterm", false)]
#[case::into_a_pipe(&[], "xterm", true)]
fn nothing_is_shown(#[case] arguments: &[&str], #[case] term: &str, #[case] is_piped: bool) {
    let (_folder, policy) = policy_of(LONG);
    let terminal = Terminal::open();
    let mut command = terminal.command(nsp_binary());
    clear_environment(&mut command);
    check(&mut command, &policy).args(arguments).env("TERM", term);
    if is_piped {
        command.stderr(Stdio::piped());
    }
    let mut child = command.spawn().expect("it starts");
    let pipe = child.stderr.take();
    take_long(child);
    drop(command);
    let said = pipe.map(|pipe| std::io::read_to_string(pipe).expect("UTF-8"));
    assert_eq!(said.unwrap_or_default(), "");
    let written = terminal.written();
    assert!(!written.contains('\x1b') && !written.contains("reading"), "{written:?}");
    assert!(!written.is_empty());
}

#[test]
fn what_takes_no_second_shows_nothing() {
    let (_folder, policy) = policy_of(10);
    let terminal = Terminal::open();
    let mut command = terminal.command(nsp_binary());
    clear_environment(&mut command);
    assert!(check(&mut command, &policy).status().expect("it starts").success());
    drop(command);
    let written = terminal.written().replace("\r\n", "\n");
    let plain = nsp(&["check", policy.to_str().expect("UTF-8")]);
    assert_eq!(written, stdout(&plain));
}
