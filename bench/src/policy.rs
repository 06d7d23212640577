//! The policies that are put in force: lists of prefixes may come in to one port, and nobody else.

use std::{fmt::Write as _, fs, path::Path};

use anyhow::{Context as _, Result, anyhow};
use ipnet::IpNet;
use nsp_agent::{
    compile::{Compiled, compile, identities::Identities},
    policy,
};

/// The port that the rules are for.
pub(crate) const OPEN: u16 = 443;

/// A policy that admits these lists to [`OPEN`], each by a rule of its own; the lists go into files.
pub(crate) fn text(directory: &Path, lists: &[&[IpNet]]) -> Result<String> {
    let mut files = String::from("[sources.prefix_files]\n");
    let mut text = String::from("[perimeter]\nname = \"bench\"\n");
    for (rule, list) in lists.iter().enumerate() {
        let mut lines = String::new();
        for prefix in *list {
            writeln!(lines, "{prefix}")?;
        }
        let name = format!("set{rule}.txt");
        fs::write(directory.join(&name), lines)?;
        writeln!(files, "set{rule} = \"{name}\"")?;
        writeln!(
            text,
            "[profile.p.inbound.rule{rule}]\nservice_tags = [\"file:set{rule}\"]\n\
             ports = [\"{OPEN}/tcp\", \"{OPEN}/udp\"]"
        )?;
    }
    text.push_str("[resource.host]\nhost = true\nprofile = \"p\"\naccess_mode = \"enforced\"\n");
    Ok(text + &files)
}

/// The policy that admits these lists, compiled.
pub(crate) fn of_lists(lists: &[&[IpNet]]) -> Result<Compiled> {
    let directory = tempfile::tempdir()?;
    compiled(directory.path(), &text(directory.path(), lists)?)
}

/// A policy that needs no files, compiled.
pub(crate) fn of_text(text: &str) -> Result<Compiled> {
    compiled(tempfile::tempdir()?.path(), text)
}

fn compiled(directory: &Path, text: &str) -> Result<Compiled> {
    let file = directory.join("policy.toml");
    fs::write(&file, text).with_context(|| file.display().to_string())?;
    let loaded = policy::load(&file).map_err(|errors| anyhow!("{errors}"))?;
    Ok(compile(&loaded.policy, &mut Identities::default())?)
}
