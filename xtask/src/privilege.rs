//! Becoming root for the few steps that need it. Builds never do.

use std::ffi::OsStr;
use std::fs;
use std::io::{self, IsTerminal as _};
use std::os::unix::fs::MetadataExt as _;
use std::process::{Command, Stdio};

use anyhow::{Result, bail};

use crate::command;

/// How this process can run a command as root.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Privilege {
    /// It is root.
    Root,
    /// Through sudo, which asks nothing, or has just asked.
    Sudo,
}

/// The way to root, asking for a password if a person is there to give it.
pub(crate) fn obtain() -> Result<Privilege> {
    if is_root() {
        return Ok(Privilege::Root);
    }
    if command::find("sudo").is_none() {
        bail!("this needs root, and there is no sudo: run it as root");
    }
    if succeeds(Command::new("sudo").args(["-n", "true"]).stderr(Stdio::null())) {
        return Ok(Privilege::Sudo);
    }
    if !io::stdin().is_terminal() {
        bail!("this needs root, and sudo wants a password but there is no terminal to ask on");
    }
    println!("    root is needed: sudo may ask for your password");
    if succeeds(Command::new("sudo").arg("-v")) {
        return Ok(Privilege::Sudo);
    }
    bail!("this needs root, and sudo refused")
}

impl Privilege {
    /// `program` as root with these variables, which sudo would drop otherwise.
    pub(crate) fn command<'a>(
        self,
        program: &OsStr,
        variables: impl IntoIterator<Item = (&'a str, &'a OsStr)>,
    ) -> Command {
        match self {
            Self::Root => {
                let mut command = Command::new(program);
                command.envs(variables);
                command
            }
            Self::Sudo => {
                let mut command = Command::new("sudo");
                command.arg("env");
                for (name, value) in variables {
                    let mut assignment = OsStr::new(name).to_owned();
                    assignment.push("=");
                    assignment.push(value);
                    command.arg(assignment);
                }
                command.arg(program);
                command
            }
        }
    }
}

/// Whether the effective user is root.
pub(crate) fn is_root() -> bool {
    fs::metadata("/proc/self").is_ok_and(|it| it.uid() == 0)
}

fn succeeds(command: &mut Command) -> bool {
    command.status().is_ok_and(|it| it.success())
}
