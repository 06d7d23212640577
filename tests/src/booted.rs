//! A host that boots: systemd as the first process of namespaces of its own, in a test's network namespace, over
//! this machine's root with a layer above it that goes with the test.
//!
//! What it does between power on and the network is the distribution's systemd and systemd-networkd; only the
//! kernel is there already.

use std::{
    fs,
    path::{Path, PathBuf},
    process::{Command, Output, Stdio},
    time::Duration,
};

use crate::{
    deadline::Deadline,
    netns::{Namespace, Process, mark},
    privilege,
    small_disk::SmallDisk,
};

/// What becomes systemd: `$1` the layer, `$2` the directory that is the root, `$3` the cgroup.
const SCRIPT: &str = r#"
set -e
echo $$ > "$3/cgroup.procs"
exec unshare --mount --pid --uts --ipc --cgroup --fork --kill-child sh -ec '
    mount --make-rprivate /
    mkdir -p "$1/over" "$1/work"
    mount -t overlay overlay -o "lowerdir=/,upperdir=$1/over,workdir=$1/work" "$2"
    mount -t proc proc "$2/proc"
    # Read-only: so systemd-networkd knows that nobody announces devices here (no udev), and takes them as they are.
    mount -t sysfs -o ro sysfs "$2/sys"
    mount -t cgroup2 cgroup2 "$2/sys/fs/cgroup"
    mount -t bpf bpf "$2/sys/fs/bpf"
    mount --rbind /dev "$2/dev"
    mount -t tmpfs tmpfs "$2/run"
    mount -t tmpfs tmpfs "$2/tmp"
    export container=other
    exec chroot "$2" /lib/systemd/systemd --system --unit=boot.target
' sh "$1" "$2"
"#;

/// All that is started.
const TARGET: &str = "\
[Unit]
Wants=nsp.service systemd-networkd.service
After=nsp.service systemd-networkd.service
";

/// How long a boot may take on a busy machine, from a debug build.
const BOOT_WITHIN: Duration = Duration::from_secs(60);

/// Whether this machine has what boots.
pub fn is_possible() -> bool {
    ["systemd", "systemd-networkd"].iter().all(|it| Path::new("/lib/systemd").join(it).exists())
}

/// The disk of a host, which is there over its boots.
#[derive(Debug)]
pub struct Disk {
    // Unmounted before its directory goes.
    _layer: SmallDisk,
    directory: tempfile::TempDir,
}

impl Disk {
    /// This machine's, with these files in it, and the binary where the unit looks for it.
    pub fn new(binary: &Path, files: &[(&str, &str)]) -> Self {
        let directory = tempfile::tempdir().expect("the temporary directory is writable");
        for name in ["layer", "root"] {
            fs::create_dir(directory.path().join(name)).expect("a directory of ours");
        }
        let layer = SmallDisk::mount(&directory.path().join("layer"), "512m");
        let disk = Self { _layer: layer, directory };
        for (path, text) in files.iter().chain(&[("etc/systemd/system/boot.target", TARGET)]) {
            disk.write(path, text);
        }
        // A first boot would ask questions.
        disk.write("etc/machine-id", "");
        let bin = disk.path("usr/local/bin/nsp");
        fs::create_dir_all(bin.parent().expect("it has one")).expect("a disk of ours");
        fs::copy(binary, bin).expect("a disk of ours");
        disk
    }

    /// Writes a file.
    pub fn write(&self, path: &str, text: &str) {
        let path = self.path(path);
        fs::create_dir_all(path.parent().expect("it has one")).expect("a disk of ours");
        fs::write(path, text).expect("a disk of ours");
    }

    fn path(&self, path: &str) -> PathBuf {
        self.directory.path().join("layer/over").join(path)
    }

    /// Boots from it.
    pub fn boot(&self, namespace: &Namespace) -> Booted {
        let cgroups = privilege::require().cgroup2.expect("cgroup2 is mounted");
        let cgroup = cgroups.join(mark("boot"));
        fs::create_dir(&cgroup).expect("cgroups are writable");
        let mut command = Command::new("sh");
        command.args(["-c", SCRIPT, "sh"]).arg(self.directory.path().join("layer"));
        command.arg(self.directory.path().join("root")).arg(&cgroup);
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::inherit());
        Booted { process: Some(namespace.spawn(&mut command)), cgroup }
    }
}

/// The host, until it is dropped: then it loses its power.
#[derive(Debug)]
pub struct Booted {
    process: Option<Process>,
    cgroup: PathBuf,
}

impl Booted {
    /// Waits until all that is to be started is.
    ///
    /// # Panics
    /// When that takes a minute; the message has what systemd says of its units.
    pub fn wait(&self) {
        let is_up = Deadline::after(BOOT_WITHIN).poll(|| {
            let active = self.run(&["systemctl", "is-active", "boot.target"]);
            (active.stdout == b"active\n").then_some(())
        });
        let said = || self.run(&["systemctl", "status", "--no-pager", "nsp", "systemd-networkd"]);
        assert!(is_up.is_some(), "{}", String::from_utf8_lossy(&said().stdout));
    }

    /// Runs a command in it.
    pub fn run(&self, command: &[&str]) -> Output {
        let mut enter = Command::new("nsenter");
        enter.arg("--target").arg(self.init().unwrap_or_default().to_string());
        enter.args(["--mount", "--pid", "--net", "--cgroup", "--ipc", "--uts", "--root", "--wd"]);
        enter.arg("--").args(command).stdin(Stdio::null());
        enter.output().expect("nsenter is there")
    }

    /// The same, for what must succeed; its output.
    ///
    /// # Panics
    /// When it does not.
    pub fn run_ok(&self, command: &[&str]) -> String {
        let Output { status, stdout, stderr } = self.run(command);
        let [stdout, stderr] = [stdout, stderr].map(|it| String::from_utf8_lossy(&it).into_owned());
        assert!(status.success(), "{}: {status}\n{stdout}{stderr}", command.join(" "));
        stdout
    }

    /// Its first process, as the test sees it: the child of unshare.
    fn init(&self) -> Option<u32> {
        let unshare = self.process.as_ref()?.pid();
        let children =
            fs::read_to_string(format!("/proc/{unshare}/task/{unshare}/children")).ok()?;
        children.split_whitespace().next()?.parse().ok()
    }
}

impl Drop for Booted {
    fn drop(&mut self) {
        // With the first process go all others, and with them the mounts and the pins.
        drop(self.process.take());
        let gone =
            Deadline::after(Duration::from_secs(5)).poll(|| remove(&self.cgroup).then_some(()));
        if gone.is_none() {
            eprintln!("{} stays", self.cgroup.display());
        }
    }
}

/// Removes a cgroup and those below it, which are empty.
fn remove(cgroup: &Path) -> bool {
    for entry in fs::read_dir(cgroup).into_iter().flatten().flatten() {
        if entry.path().is_dir() {
            remove(&entry.path());
        }
    }
    fs::remove_dir(cgroup).is_ok() || !cgroup.exists()
}
