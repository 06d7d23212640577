//! What this process may do, and whether this kernel is one that NSP runs on.

use std::{
    fmt, fs, io,
    path::{Path, PathBuf},
    str::FromStr,
};

use super::mounts::{self, MountsError};

/// The oldest kernel that NSP runs on.
pub const KERNEL_MIN: KernelVersion = KernelVersion { major: 6, minor: 1, patch: 0 };

const STATUS: &str = "/proc/self/status";
const UID_MAP: &str = "/proc/self/uid_map";

/// A capability that NSP needs, by its number.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum Capability {
    /// Attach programs to devices and cgroups.
    NetAdmin = 12,
    /// Everything that the two after it allow, and more.
    SysAdmin = 21,
    /// Load programs that the verifier trusts with pointers.
    Perfmon = 38,
    /// Create maps and load programs.
    Bpf = 39,
}

impl fmt::Display for Capability {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::NetAdmin => "CAP_NET_ADMIN",
            Self::SysAdmin => "CAP_SYS_ADMIN",
            Self::Perfmon => "CAP_PERFMON",
            Self::Bpf => "CAP_BPF",
        })
    }
}

/// A set of capabilities, as the kernel writes it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Capabilities(u64);

impl Capabilities {
    /// Whether the capability is among them.
    pub fn has(self, capability: Capability) -> bool {
        self.0 & 1 << capability as u8 != 0
    }

    /// Whether what the capability is for is allowed: the kernel takes `CAP_SYS_ADMIN` in the place
    /// of the two that were split off from it.
    pub fn allow(self, capability: Capability) -> bool {
        let split_off = matches!(capability, Capability::Bpf | Capability::Perfmon);
        self.has(capability) || split_off && self.has(Capability::SysAdmin)
    }

    /// The effective ones in the text of `/proc/PID/status`.
    fn from_status(text: &str) -> Option<Self> {
        let value = text.lines().find_map(|line| line.strip_prefix("CapEff:"))?;
        u64::from_str_radix(value.trim(), 16).ok().map(Self)
    }
}

/// A kernel's version, without what distributions add.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct KernelVersion {
    /// The 6 of 6.1.55.
    pub major: u32,
    /// The 1 of 6.1.55.
    pub minor: u32,
    /// The 55 of 6.1.55; 0 where there is none.
    pub patch: u32,
}

/// Text that does not begin with a kernel's version.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("\"{0}\" is not the release of a Linux kernel")]
pub struct KernelVersionError(String);

impl FromStr for KernelVersion {
    type Err = KernelVersionError;

    /// Reads a release as `uname -r` writes it: `6.1.0-13-amd64`, `6.18-rc1`, `6.12.5+`.
    fn from_str(release: &str) -> Result<Self, Self::Err> {
        let version = release.split(|c: char| !c.is_ascii_digit() && c != '.').next();
        let mut parts = version.unwrap_or_default().split('.').filter(|part| !part.is_empty());
        let mut number = || parts.next().map(str::parse::<u32>);
        match (number(), number(), number()) {
            (Some(Ok(major)), Some(Ok(minor)), patch @ (None | Some(Ok(_)))) => {
                let patch = patch.and_then(Result::ok).unwrap_or(0);
                Ok(Self { major, minor, patch })
            }
            _ => Err(KernelVersionError(release.into())),
        }
    }
}

impl fmt::Display for KernelVersion {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { major, minor, patch } = self;
        write!(f, "{major}.{minor}.{patch}")
    }
}

/// What this process has to work with.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Privileges {
    /// Its effective capabilities.
    pub effective: Capabilities,
    /// Whether they hold only in a user namespace (a rootless container), where the kernel grants
    /// no BPF by them.
    pub user_namespace: bool,
    /// The kernel.
    pub kernel: KernelVersion,
    /// Where BPF file systems are mounted; pins go into one.
    pub bpffs: Vec<PathBuf>,
}

/// Why the privileges cannot be found out.
#[derive(Debug, thiserror::Error)]
pub enum PrivilegeError {
    /// A file of the kernel cannot be read.
    #[error("cannot read {path}: {source}; is /proc mounted?")]
    Read {
        /// The file.
        path: &'static str,
        /// Why.
        source: io::Error,
    },
    /// The mount table cannot be read.
    #[error(transparent)]
    Mounts(#[from] MountsError),
    /// The kernel's release makes no sense.
    #[error(transparent)]
    Kernel(#[from] KernelVersionError),
    /// There are no capabilities in the process's status.
    #[error("{STATUS} does not say which capabilities this process has")]
    NoCapabilities,
}

impl Privileges {
    /// Looks at this process and its kernel.
    ///
    /// # Errors
    ///
    /// When `/proc` does not tell.
    pub fn read() -> Result<Self, PrivilegeError> {
        let file =
            |path| fs::read_to_string(path).map_err(|source| PrivilegeError::Read { path, source });
        let effective = Capabilities::from_status(&file(STATUS)?);
        let bpffs = mounts::read()?.into_iter().filter(|mount| mount.kind == "bpf");
        Ok(Self {
            effective: effective.ok_or(PrivilegeError::NoCapabilities)?,
            user_namespace: !is_identity_map(&file(UID_MAP)?),
            kernel: rustix::system::uname().release().to_string_lossy().parse()?,
            bpffs: bpffs.map(|mount| mount.point).collect(),
        })
    }

    /// Whether pins in this directory would lie in a mounted BPF file system.
    pub fn can_pin_in(&self, directory: &Path) -> bool {
        self.bpffs.iter().any(|point| directory.starts_with(point))
    }

    /// What is missing to run the agent, each as a sentence with its cure. Empty when all is there.
    /// A BPF file system is among it only where none is mounted and this process cannot mount one.
    pub fn missing(&self) -> Vec<String> {
        let Self { effective, user_namespace, kernel, bpffs } = self;
        let mut missing = Vec::new();
        if *kernel < KERNEL_MIN {
            missing.push(format!("the kernel is {kernel}: NSP needs {KERNEL_MIN} or later"));
        }
        if *user_namespace {
            let text = "this process is in a user namespace, where the kernel grants no BPF: run \
                        nsp outside of the container";
            missing.push(text.into());
        }
        for (capability, purpose) in [
            (Capability::Bpf, "create maps and load programs"),
            (Capability::NetAdmin, "attach programs to devices and cgroups"),
            (Capability::Perfmon, "load programs that read packets through pointers"),
        ] {
            if !effective.allow(capability) {
                missing.push(format!(
                    "{capability} is missing, to {purpose}: run nsp as root or by its systemd unit"
                ));
            }
        }
        if bpffs.is_empty() && !effective.has(Capability::SysAdmin) {
            let text = "no BPF file system is mounted: \
                        mount -t bpf bpf /sys/fs/bpf";
            missing.push(text.into());
        }
        missing
    }
}

/// Whether a `uid_map` is that of the first user namespace: every user is itself.
fn is_identity_map(text: &str) -> bool {
    text.split_whitespace().eq(["0", "0", "4294967295"])
}

#[cfg(test)]
mod tests;
