//! A terminal: what a command writes to one, and what a person at it sees in the end.

use std::{
    ffi::OsStr,
    fs::File,
    io::Read as _,
    os::fd::OwnedFd,
    process::{Command, Stdio},
    thread::{self, JoinHandle},
};

use rustix::{
    pty::{OpenptFlags, ioctl_tiocgptpeer, openpt, unlockpt},
    termios::{Winsize, tcsetwinsize},
};

/// A terminal of 24 lines of 80 columns.
#[derive(Debug)]
pub struct Terminal {
    /// The end that commands have.
    far: OwnedFd,
    written: JoinHandle<Vec<u8>>,
}

impl Terminal {
    /// A new one.
    ///
    /// # Panics
    /// When the kernel has none left.
    pub fn open() -> Self {
        let flags = OpenptFlags::RDWR | OpenptFlags::NOCTTY | OpenptFlags::CLOEXEC;
        let near = openpt(flags).expect("a terminal");
        unlockpt(&near).expect("a terminal of ours");
        let far = ioctl_tiocgptpeer(&near, flags).expect("its other end");
        let size = Winsize { ws_row: 24, ws_col: 80, ws_xpixel: 0, ws_ypixel: 0 };
        tcsetwinsize(&far, size).expect("a terminal of ours");
        let mut near = File::from(near);
        let written = thread::spawn(move || {
            let mut written = Vec::new();
            // It ends with an error, once nobody has the other end any more.
            let _ended = near.read_to_end(&mut written);
            written
        });
        Self { far, written }
    }

    /// A program that is in the foreground of this terminal, with all three standard streams there. Signals
    /// reach the program itself.
    pub fn command(&self, program: impl AsRef<OsStr>) -> Command {
        let mut command = Command::new("setsid");
        command.arg("--ctty").arg(program).env("TERM", "xterm");
        let [stdin, stdout, stderr] = [(); 3].map(|()| Stdio::from(self.end()));
        command.stdin(stdin).stdout(stdout).stderr(stderr);
        command
    }

    /// All that was written to it. The commands must have ended, and their [`Command`]s are gone.
    ///
    /// # Panics
    /// When it is not UTF-8.
    pub fn written(self) -> String {
        let Self { far, written } = self;
        drop(far);
        String::from_utf8(written.join().expect("it only reads")).expect("UTF-8")
    }

    fn end(&self) -> OwnedFd {
        self.far.try_clone().expect("there is room for another descriptor")
    }
}

/// The lines that stand on the screen after all that was written; spaces at their ends do not.
///
/// # Panics
/// When something was written that moves the cursor in a way that is not known here.
pub fn screen(written: &str) -> String {
    let mut lines = vec![Vec::new()];
    let (mut line, mut column) = (0, 0);
    let mut rest = written.chars();
    while let Some(char) = rest.next() {
        match char {
            '\r' => column = 0,
            '\n' => line += 1,
            '\x1b' => {
                assert_eq!(rest.next(), Some('['), "{:?}", rest.as_str());
                let text = rest.as_str();
                let end = text.find(|it: char| it.is_ascii_alphabetic()).expect("a whole sequence");
                let (number, kind) = (&text[..end], &text[end..=end]);
                rest = text[end + 1..].chars();
                match (number, kind) {
                    ("2", "K") => lines[line].clear(),
                    ("" | "0", "K") => lines[line].truncate(column),
                    (_, "A") => line -= number.parse().unwrap_or(1),
                    _ => panic!("{number}{kind} is not known"),
                }
            }
            _ => {
                let cells: &mut Vec<char> = &mut lines[line];
                cells.resize(cells.len().max(column + 1), ' ');
                cells[column] = char;
                column += 1;
            }
        }
        if lines.len() <= line {
            lines.push(Vec::new());
        }
    }
    let lines = lines.iter().map(|cells| cells.iter().collect::<String>());
    let lines: Vec<String> = lines.map(|line| line.trim_end().to_owned()).collect();
    lines.join("\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_command_is_at_the_terminal_and_what_it_erases_is_gone() {
        let terminal = Terminal::open();
        let script = "test -t 0 && test -t 1 && test -t 2 && printf 'half \\r\\033[2K' >/dev/tty; \
                      stty size; printf 'over\\rn' >&2";
        let mut command = terminal.command("sh");
        assert!(command.args(["-c", script]).status().expect("setsid runs").success());
        drop(command);
        let written = terminal.written();
        assert!(written.starts_with("half "), "{written:?}");
        assert_eq!(screen(&written), "24 80\nnver");
    }

    #[test]
    fn a_screen_is_what_was_written_last() {
        assert_eq!(screen("one\r\ntwo\r\n\x1b[1A\x1b[2Kt\r\n"), "one\nt\n");
        assert_eq!(screen("abc\r\x1b[K12"), "12");
    }
}
