//! Asking another program of the host. That it is missing or fails is an answer, never an error.

use std::{
    io,
    process::{Command, Stdio},
};

/// The standard output of the first of these programs that is there, or in one line why there is
/// none.
pub(super) fn ask(programs: &[&str], arguments: &[&str]) -> Result<String, String> {
    let mut missing = "no program is named".to_owned();
    for program in programs {
        let asked = Command::new(program).args(arguments).stdin(Stdio::null()).output();
        let output = match asked {
            Ok(output) => output,
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                missing = format!("{program} is not there");
                continue;
            }
            Err(error) => return Err(format!("{program} cannot be started: {error}")),
        };
        if !output.status.success() {
            let said = String::from_utf8_lossy(&output.stderr);
            let why = said.lines().next().unwrap_or_default();
            return Err(format!("{program} failed ({}): {why}", output.status));
        }
        return Ok(String::from_utf8_lossy(&output.stdout).into_owned());
    }
    Err(missing)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_that_is_there_answers() {
        assert_eq!(ask(&["/nonexistent/echo", "echo"], &["hello"]), Ok("hello\n".to_owned()));
    }

    #[test]
    fn a_missing_program_is_named() {
        let why = ask(&["/nonexistent/nft"], &[]).unwrap_err();
        assert_eq!(why, "/nonexistent/nft is not there");
    }

    #[test]
    fn a_failure_has_its_first_words() {
        let why = ask(&["sh"], &["-c", "echo not allowed >&2; echo more >&2; exit 1"]).unwrap_err();
        assert_eq!(why, "sh failed (exit status: 1): not allowed");
    }
}
