//! Kernel modules with what they need, in the order in which they can be loaded.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context as _, Result, bail};

use crate::command;

/// What the tests use. One that the kernel has no module for is built in, or its test says so.
const WANTED: [&str; 10] = [
    "veth",
    "bridge",
    "bonding",
    "sch_ingress",
    "cls_bpf",
    "8021q",
    "wireguard",
    "tun",
    "tcp_diag",
    "udp_diag",
];

/// Copies the wanted modules and what they need into `to`; their names sort as they are loaded.
pub(crate) fn copy(kernel_modules: &Path, to: &Path) -> Result<()> {
    let mut known = BTreeMap::new();
    list(kernel_modules, &mut known)?;
    let mut loader = Loader { known, taken: Vec::new(), to };
    for name in WANTED {
        loader.take(name)?;
    }
    Ok(())
}

struct Loader<'a> {
    known: BTreeMap<String, PathBuf>,
    /// In the order of loading.
    taken: Vec<String>,
    to: &'a Path,
}

impl Loader<'_> {
    /// A module after those that it depends on.
    fn take(&mut self, name: &str) -> Result<()> {
        let name = name.replace('-', "_");
        if self.taken.contains(&name) {
            return Ok(());
        }
        let Some(path) = self.known.get(&name) else { return Ok(()) };
        let module = read(path)?;
        let needs = depends(&module)
            .with_context(|| format!("{} does not say what it depends on", path.display()))?;
        for needed in needs {
            self.take(&needed)?;
        }
        let file = format!("{:02}-{name}.ko", self.taken.len());
        fs::write(self.to.join(file), module)?;
        self.taken.push(name);
        Ok(())
    }
}

/// Every module below a directory, by name.
fn list(directory: &Path, known: &mut BTreeMap<String, PathBuf>) -> Result<()> {
    for entry in fs::read_dir(directory).with_context(|| directory.display().to_string())? {
        let entry = entry?;
        let file = entry.file_name().to_string_lossy().into_owned();
        if entry.file_type()?.is_dir() {
            list(&entry.path(), known)?;
        } else if let Some((name, "ko" | "ko.xz")) = file.split_once('.') {
            known.insert(name.replace('-', "_"), entry.path());
        }
    }
    Ok(())
}

/// A module's bytes, unpacked.
fn read(path: &Path) -> Result<Vec<u8>> {
    if path.extension().is_none_or(|it| it != "xz") {
        return fs::read(path).with_context(|| path.display().to_string());
    }
    let mut unpack = Command::new("xz");
    let output = unpack.args(["--decompress", "--stdout"]).arg(path).output()?;
    if !output.status.success() {
        bail!("{} failed ({})", command::line(&unpack), output.status);
    }
    Ok(output.stdout)
}

/// The names in the module's own `depends=a,b` (kernel `MODULE_INFO`).
fn depends(module: &[u8]) -> Option<Vec<String>> {
    const FIELD: &[u8] = b"\0depends=";
    let at = module.windows(FIELD.len()).position(|it| it == FIELD)? + FIELD.len();
    let names = module[at..].split(|it| *it == 0).next()?;
    let names = String::from_utf8_lossy(names);
    Some(names.split(',').filter(|it| !it.is_empty()).map(str::to_owned).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dependencies_are_read_from_the_module() {
        assert_eq!(depends(b"x\0depends=garp,mrp\0retpoline=Y\0").unwrap(), ["garp", "mrp"]);
        assert_eq!(depends(b"\0depends=\0name=veth\0").unwrap(), [""; 0]);
        assert_eq!(depends(b"no module"), None);
    }
}
