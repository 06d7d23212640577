//! The peers, each set up as its manual recommends for one job: a list of IPv4 prefixes may come in to one
//! port, everything else is dropped, and nothing is tracked.
//!
//! Every peer has a namespace of its own ([`Site`]), so that none pays for another's hooks.

pub(crate) mod ipset;
pub(crate) mod nft;
mod site;
pub(crate) mod xdp_filter;

use std::{
    process::{Command, Stdio},
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result, bail};
use nsp_tests::netns::Namespace;

pub(crate) use site::{DEVICE, Site, Sites};

/// Runs a peer's command in a namespace to its end; how long that took, from its start.
pub(crate) fn timed(namespace: &Namespace, command: &mut Command) -> Result<Duration> {
    // The thread is in the namespace before the time is taken.
    let (took, output) = namespace.enter(|| {
        let start = Instant::now();
        let output = command.stdin(Stdio::null()).output();
        (start.elapsed(), output)
    });
    let name = command.get_program().to_string_lossy().into_owned();
    let output =
        output.with_context(|| format!("cannot start {name}: cargo xtask bench installs it"))?;
    if !output.status.success() {
        let said = String::from_utf8_lossy(&output.stderr);
        let said: String = said.chars().take(500).collect();
        bail!("{name}: {}: {said}", output.status);
    }
    Ok(took)
}
