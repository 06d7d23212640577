//! Control groups of one test.

use std::{
    fs,
    net::SocketAddr,
    os::unix::fs::MetadataExt as _,
    path::{Path, PathBuf},
    process::{self, Command, Stdio},
    sync::atomic::{AtomicU32, Ordering},
    time::Duration,
};

use nsp_tests::{deadline::Deadline, netns::Namespace, privilege};

/// How a process in a group reaches somebody.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Transport {
    /// A connection.
    Tcp,
    /// A datagram that is answered.
    Udp,
}

impl Transport {
    /// As policies and shells write it.
    pub(crate) fn word(self) -> &'static str {
        match self {
            Self::Tcp => "tcp",
            Self::Udp => "udp",
        }
    }
}

/// A group right under the root of the version 2 hierarchy, removed on drop.
#[derive(Debug)]
pub(crate) struct Cgroup {
    path: PathBuf,
}

impl Cgroup {
    /// Makes one; `kind` ends its name.
    ///
    /// # Panics
    /// Without a mounted cgroup2.
    pub(crate) fn new(kind: &str) -> Self {
        static NUMBER: AtomicU32 = AtomicU32::new(0);
        let root = privilege::require().cgroup2.expect("cgroup2 is mounted");
        let number = NUMBER.fetch_add(1, Ordering::Relaxed);
        let path = root.join(format!("nspt-{}-{number}-{kind}", process::id()));
        fs::create_dir(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
        Self { path }
    }

    /// Where it is.
    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    /// Its path in the hierarchy, as a policy names it.
    pub(crate) fn name(&self) -> String {
        format!("/{}", self.path.file_name().expect("a name of ours").to_string_lossy())
    }

    /// The kernel's number for it.
    pub(crate) fn id(&self) -> u64 {
        fs::metadata(&self.path).expect("it exists").ino()
    }

    /// Whether a process in it reaches somebody.
    ///
    /// # Panics
    /// When the process cannot be put in.
    pub(crate) fn reaches(
        &self,
        namespace: &Namespace,
        transport: Transport,
        to: SocketAddr,
    ) -> bool {
        const ENTER: &str = r#"
            echo $$ > "$0/cgroup.procs" || exit 9
            exec timeout 0.5 bash -c "$1" "$2" "$3" "$4"
        "#;
        // bash reads byte by byte, and what it leaves of a datagram is lost: one has to do.
        const REACH: &str = r#"
            exec 3<> "/dev/$0/$1/$2" || exit 1
            [ "$0" = tcp ] || { echo question >&3 && read -rN1 <&3; } || exit 1
        "#;
        let mut command = Command::new("bash");
        command.args(["-c", ENTER]).arg(&self.path).arg(REACH).arg(transport.word());
        command.args([to.ip().to_string(), to.port().to_string()]).stderr(Stdio::null());
        match namespace.output(&mut command).status.code() {
            Some(0) => true,
            // 124 is timeout's for what took too long.
            Some(1 | 124) => false,
            other => panic!("the process in the cgroup ended with {other:?}"),
        }
    }

    /// Removes it and makes it again, as a service manager does when a unit restarts.
    pub(crate) fn renew(self) -> Self {
        let path = self.path.clone();
        drop(self);
        fs::create_dir(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
        Self { path }
    }
}

impl Drop for Cgroup {
    fn drop(&mut self) {
        // A process that has just ended is still in it for a moment.
        let removed =
            Deadline::after(Duration::from_secs(2)).poll(|| fs::remove_dir(&self.path).ok());
        if removed.is_none() {
            eprintln!("{} stays behind", self.path.display());
        }
    }
}
