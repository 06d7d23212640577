//! `cargo xtask sbom`: what is in the product, for those who must know (CycloneDX).

use std::fs;
use std::process::Command;

use anyhow::{Context as _, Result};

use crate::tool::Tool;
use crate::{command, workspace};

const CYCLONEDX: Tool = Tool { name: "cargo-cyclonedx", version: "0.5.9" };
/// What the product consists of: `nsp`, and the object of the kernel programs inside of it.
const PRODUCT: [&str; 2] = ["nsp-agent", "nsp-ebpf"];
/// What cargo-cyclonedx calls the file that it leaves in each package of the workspace.
const NAME: &str = "nsp-sbom";

/// Write what the product consists of, with versions, licences and digests, to target/sbom (CycloneDX);
/// installs cargo-cyclonedx for this workspace if it is missing
#[derive(clap::Args)]
pub(crate) struct Arguments {}

/// Writes `target/sbom/<package>.cdx.json` for each package of the product.
pub(crate) fn run(_: &Arguments) -> Result<()> {
    let mut sbom = Command::new(CYCLONEDX.get()?);
    sbom.current_dir(workspace::root()).args(["cyclonedx", "--quiet", "--format", "json"]);
    sbom.args(["--spec-version", "1.5", "--override-filename", NAME]);
    // Nothing but Linux is built, and what only builds it is not in it.
    sbom.args(["--target", "x86_64-unknown-linux-gnu", "--no-build-deps"]);
    command::run(&mut sbom)?;

    let to = workspace::target().join("sbom");
    fs::create_dir_all(&to).with_context(|| to.display().to_string())?;
    for entry in fs::read_dir(workspace::root())? {
        let package = entry?.file_name();
        let made = workspace::root().join(&package).join(format!("{NAME}.json"));
        if !made.is_file() {
            continue;
        }
        let package = package.to_string_lossy();
        if PRODUCT.contains(&package.as_ref()) {
            let file = to.join(format!("{package}.cdx.json"));
            let text = fs::read_to_string(&made).with_context(|| made.display().to_string())?;
            // Where it was built is nobody's business.
            let text = text.replace(&workspace::root().display().to_string(), "");
            fs::write(&file, text).with_context(|| file.display().to_string())?;
            println!("{}", file.display());
        }
        fs::remove_file(&made).with_context(|| made.display().to_string())?;
    }
    Ok(())
}
