//! The mount table, read for the two file systems that NSP needs: cgroup2 and bpf.

use std::{fs, io, path::PathBuf};

/// Where the kernel shows it.
const MOUNTS: &str = "/proc/self/mounts";

/// One line of the mount table.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Mount {
    /// Where it is mounted.
    pub(super) point: PathBuf,
    /// Its file system type.
    pub(super) kind: String,
}

/// Why the mount table cannot be read.
#[derive(Debug, thiserror::Error)]
#[error("cannot read the mount table {MOUNTS}: {0}; is /proc mounted?")]
pub struct MountsError(#[from] io::Error);

/// The mounts that this process sees.
pub(super) fn read() -> Result<Vec<Mount>, MountsError> {
    Ok(parse(&fs::read_to_string(MOUNTS)?))
}

/// Reads the text of a mount table. A line that is none is passed over.
pub(super) fn parse(text: &str) -> Vec<Mount> {
    let mount = |line: &str| {
        let mut fields = line.split(' ').skip(1);
        let (point, kind) = (fields.next()?, fields.next()?);
        Some(Mount { point: unescape(point).into(), kind: kind.into() })
    };
    text.lines().filter_map(mount).collect()
}

/// The kernel writes space, tab, newline and backslash as three octal digits.
fn unescape(text: &str) -> String {
    const ESCAPES: [(&str, &str); 4] =
        [("\\040", " "), ("\\011", "\t"), ("\\012", "\n"), ("\\134", "\\")];
    ESCAPES.iter().fold(text.into(), |text: String, (code, plain)| text.replace(code, plain))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_mount_point_with_a_space_is_read_back() {
        let mounts = parse("none /a\\040b bpf rw 0 0\n");
        assert_eq!(mounts, [Mount { point: "/a b".into(), kind: "bpf".into() }]);
    }

    #[test]
    fn lines_that_are_no_mounts_are_passed_over() {
        assert_eq!(parse("\nnone\nnone /x\n"), []);
    }

    #[test]
    fn every_host_has_a_proc() {
        assert!(read().unwrap().iter().any(|mount| mount.kind == "proc"));
    }
}
