//! Cargo's subcommands that some verbs use: on the path, or built into this workspace.

use std::path::PathBuf;

use anyhow::{Result, bail};

use crate::{command, workspace};

/// A subcommand of cargo, and the version that the workspace was last used with.
pub(crate) struct Tool {
    pub(crate) name: &'static str,
    pub(crate) version: &'static str,
}

impl Tool {
    /// Where it is, if it is anywhere; the workspace's own first.
    pub(crate) fn find(&self) -> Option<PathBuf> {
        let own = self.own();
        if command::is_executable(&own) { Some(own) } else { command::find(self.name) }
    }

    /// Where it is; built into the workspace first when it is nowhere.
    pub(crate) fn get(&self) -> Result<PathBuf> {
        if let Some(found) = self.find() {
            return Ok(found);
        }
        let Self { name, version } = self;
        command::step(&format!("{name}, some minutes to build"), || {
            let mut install = command::cargo();
            install.args(["install", name, "--quiet", "--locked", "--version", version]);
            command::run(install.arg("--root").arg(workspace::tools()))
        })?;
        let own = self.own();
        if !command::is_executable(&own) {
            bail!("{} was built and is not there", own.display());
        }
        Ok(own)
    }

    fn own(&self) -> PathBuf {
        workspace::tools().join("bin").join(self.name)
    }
}
