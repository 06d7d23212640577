//! What this process may do, asked before a test starts and never in the middle of it.

use std::{
    fs, io,
    path::{Path, PathBuf},
};

use rustix::{
    process::geteuid,
    thread::{CapabilitySet, capabilities},
};

/// What a probe found.
#[derive(Clone, Debug)]
pub struct Privileges {
    /// What is missing, one clause each; empty when privileged tests can run.
    pub missing: Vec<String>,
    /// A mounted bpffs, if there is one. Tests mount their own, under their own directory.
    pub bpffs: Option<PathBuf>,
    /// Where cgroup2 is mounted: at the usual place, or beside the old hierarchies.
    pub cgroup2: Option<PathBuf>,
}

const NEEDED: [(CapabilitySet, &str); 4] = [
    (CapabilitySet::BPF, "CAP_BPF"),
    (CapabilitySet::NET_ADMIN, "CAP_NET_ADMIN"),
    (CapabilitySet::NET_RAW, "CAP_NET_RAW"),
    // To make network namespaces and to mount.
    (CapabilitySet::SYS_ADMIN, "CAP_SYS_ADMIN"),
];

/// Looks, and changes nothing.
pub fn probe() -> Privileges {
    let mut missing = Vec::new();
    if !geteuid().is_root() {
        missing.push("not root".to_owned());
    }
    match capabilities(None) {
        Ok(sets) => {
            let lacking = NEEDED.iter().filter(|(needed, _)| !sets.effective.contains(*needed));
            missing.extend(lacking.map(|(_, name)| format!("no {name}")));
        }
        Err(error) => missing.push(format!("capabilities are unknown ({error})")),
    }
    match fs::read_to_string("/proc/filesystems") {
        Ok(list) if list.split_whitespace().any(|name| name == "bpf") => {}
        Ok(_) => missing.push("the kernel has no bpffs".to_owned()),
        Err(error) => missing.push(format!("/proc/filesystems: {error}")),
    }
    if !["/sbin/ip", "/usr/sbin/ip", "/bin/ip", "/usr/bin/ip"].iter().any(|p| Path::new(p).exists())
    {
        missing.push("no `ip` command (iproute2)".to_owned());
    }
    let mounts = mounts().unwrap_or_default();
    let first = |kind: &str| {
        mounts.iter().find(|mount| mount.kind == kind).map(|mount| mount.point.clone())
    };
    Privileges { missing, bpffs: first("bpf"), cgroup2: first("cgroup2") }
}

/// What the probe found, at the start of a test that cannot do without.
///
/// # Panics
/// When privileges are missing: whoever started the test should have left it out.
pub fn require() -> Privileges {
    let found = probe();
    assert!(
        found.missing.is_empty(),
        "this test needs privileges that are missing: {}; run it as root, or leave it out \
         (tests of the tools: --skip privileged_)",
        found.missing.join(", "),
    );
    found
}

/// A line of /proc/mounts.
pub(crate) struct Mount {
    pub(crate) source: String,
    pub(crate) point: PathBuf,
    pub(crate) kind: String,
}

pub(crate) fn mounts() -> io::Result<Vec<Mount>> {
    Ok(parse_mounts(&fs::read_to_string("/proc/mounts")?))
}

fn parse_mounts(text: &str) -> Vec<Mount> {
    let parse = |line: &str| {
        let mut fields = line.split(' ');
        let (source, point, kind) = (fields.next()?, fields.next()?, fields.next()?);
        // The kernel writes a space in a path as \040; no path of ours has one.
        Some(Mount { source: source.into(), point: point.into(), kind: kind.into() })
    };
    text.lines().filter_map(parse).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cgroup2_is_found_beside_the_old_hierarchies() {
        let mounts = parse_mounts(
            "tmpfs /sys/fs/cgroup tmpfs rw 0 0\n\
             cgroup /sys/fs/cgroup/cpu cgroup rw,cpu 0 0\n\
             cgroup2 /sys/fs/cgroup/unified cgroup2 rw,relatime 0 0\n\
             broken\n",
        );
        assert_eq!(mounts.len(), 3);
        let found = mounts.iter().find(|mount| mount.kind == "cgroup2").unwrap();
        assert_eq!(found.point, Path::new("/sys/fs/cgroup/unified"));
    }

    #[test]
    fn probe_never_fails() {
        let _ = probe();
    }

    #[test]
    fn privileged_run_has_everything() {
        assert_eq!(require().missing, [] as [String; 0]);
    }
}
