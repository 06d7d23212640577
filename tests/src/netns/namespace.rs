//! One network namespace: enter it, start processes in it, configure it.

use std::{
    fs::{self, File},
    io::Write as _,
    os::{fd::AsFd as _, unix::fs::MetadataExt as _},
    panic,
    path::Path,
    process::{Command, ExitStatus, Output, Stdio},
    sync::Arc,
    thread,
    time::Duration,
};

use rustix::{
    net::{AddressFamily, SocketType, netdevice::name_to_index, socket},
    thread::{LinkNameSpaceType, move_into_link_name_space},
};

use super::process::{Process, run_to_end};
use crate::packet::Mac;

pub(super) const DIRECTORY: &str = "/run/netns";

/// A handle on a network namespace, which is removed when the last handle is dropped.
#[derive(Clone, Debug)]
pub struct Namespace(Arc<Named>);

/// The namespace itself: a name under [`DIRECTORY`] and the file there.
#[derive(Debug)]
struct Named {
    name: String,
    file: File,
}

impl Namespace {
    /// Makes it. Names are the sandbox's business.
    pub(super) fn create(name: &str) -> Self {
        ip_command(&["netns", "add", name]);
        let file = File::open(Path::new(DIRECTORY).join(name))
            .unwrap_or_else(|error| panic!("namespace {name}: {error}"));
        let namespace = Self(Arc::new(Named { name: name.to_owned(), file }));
        namespace.quieten();
        namespace
    }

    /// The name, as `ip netns list` shows it and `nsenter --net=/run/netns/NAME` takes it.
    pub fn name(&self) -> &str {
        &self.0.name
    }

    /// Runs `work` on a thread that is in this namespace and in no other new one, and hands
    /// back what it returned. Sockets made there stay in the namespace wherever they are used.
    pub fn enter<T: Send>(&self, work: impl FnOnce() -> T + Send) -> T {
        let caller = thread::current();
        let inside = || {
            move_into_link_name_space(self.0.file.as_fd(), Some(LinkNameSpaceType::Network))
                .unwrap_or_else(|error| panic!("setns {}: {error}", self.name()));
            work()
        };
        thread::scope(|scope| {
            let thread = thread::Builder::new().name(caller.name().unwrap_or("nspt").to_owned());
            let thread = thread.spawn_scoped(scope, inside).expect("a thread starts");
            thread.join().unwrap_or_else(|panic| panic::resume_unwind(panic))
        })
    }

    /// Starts a process inside. It sees the machine's own /sys, bpffs and cgroups, and is killed
    /// when its handle is dropped.
    ///
    /// # Panics
    /// When the program cannot be started.
    pub fn spawn(&self, command: &mut Command) -> Process {
        // A child is in the namespaces of the thread that started it.
        let child = self.enter(|| command.spawn());
        Process::new(child.unwrap_or_else(|error| panic!("{command:?}: {error}")))
    }

    /// Runs a process inside to its end, ten seconds at most.
    ///
    /// # Panics
    /// When it does not start or does not end.
    pub fn output(&self, command: &mut Command) -> Output {
        self.output_within(command, Duration::from_secs(10))
    }

    /// The same for one that may take longer.
    ///
    /// # Panics
    /// When it does not start or does not end.
    pub fn output_within(&self, command: &mut Command, timeout: Duration) -> Output {
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
        run_to_end(self.spawn(command), timeout)
    }

    /// Runs `ip` with one command a line, as `ip -batch` does, all in this namespace.
    ///
    /// # Panics
    /// When a line fails: the message has what `ip` said.
    pub fn ip(&self, lines: &str) {
        let mut command = Command::new("ip");
        command.args(["-batch", "-"]).stdin(Stdio::piped());
        command.stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut process = self.spawn(&mut command);
        let mut input = process.stdin().expect("standard input is a pipe");
        input.write_all(lines.as_bytes()).expect("ip reads its commands");
        drop(input);
        let output = run_to_end(process, Duration::from_secs(10));
        let said = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "ip in {}: {said}\n{lines}", self.name());
    }

    /// Sets a network sysctl of this namespace, `net.ipv4.ip_forward`.
    ///
    /// # Panics
    /// When the kernel refuses.
    pub fn sysctl(&self, name: &str, value: &str) {
        // A dot in an interface name stands as a slash in a sysctl name.
        let swap = |c| match c {
            '.' => '/',
            '/' => '.',
            other => other,
        };
        let path = format!("/proc/sys/{}", name.chars().map(swap).collect::<String>());
        // /proc/sys/net shows the namespace of the thread that opens it.
        let result = self.enter(|| fs::write(&path, value));
        result.unwrap_or_else(|error| panic!("{}: {path} = {value}: {error}", self.name()));
    }

    /// Accepts packets whose source this host would not route back to: a spoofed packet then
    /// reaches the perimeter and what comes after it.
    pub fn accept_spoofed_sources(&self) {
        self.reverse_path_filter("0");
    }

    /// Drops packets whose source this host would not route back to by the same interface, as
    /// many distributions do by default.
    pub fn drop_spoofed_sources(&self) {
        self.reverse_path_filter("1");
    }

    /// The index of an interface.
    ///
    /// # Panics
    /// When there is none of that name.
    pub fn index(&self, interface: &str) -> u32 {
        let index = self.enter(|| {
            let any = socket(AddressFamily::INET, SocketType::DGRAM, None)?;
            name_to_index(any, interface)
        });
        index.unwrap_or_else(|error| panic!("{interface} in {}: {error}", self.name()))
    }

    /// The hardware address of an interface.
    ///
    /// # Panics
    /// When there is none of that name, or it has no hardware address.
    pub fn mac(&self, interface: &str) -> Mac {
        let output = self.output(Command::new("ip").args(["-o", "link", "show", "dev", interface]));
        let text = String::from_utf8_lossy(&output.stdout);
        mac_in(&text)
            .unwrap_or_else(|| panic!("{interface} in {}: no address: {text}", self.name()))
    }

    fn reverse_path_filter(&self, value: &str) {
        self.sysctl("net.ipv4.conf.default.rp_filter", value);
        let interfaces = self.enter(|| fs::read_dir("/proc/sys/net/ipv4/conf"));
        for interface in interfaces.expect("every namespace has this directory") {
            let interface = interface.expect("a listing of ours").file_name();
            let interface = interface.to_string_lossy().replace('.', "/");
            self.sysctl(&format!("net.ipv4.conf.{interface}.rp_filter"), value);
        }
    }

    /// Addresses count at once and nobody asks for routers: tests start without waiting, and
    /// counters see no traffic but the test's.
    fn quieten(&self) {
        for scope in ["all", "default"] {
            self.sysctl(&format!("net.ipv6.conf.{scope}.accept_dad"), "0");
            self.sysctl(&format!("net.ipv6.conf.{scope}.dad_transmits"), "0");
            self.sysctl(&format!("net.ipv6.conf.{scope}.router_solicitations"), "0");
        }
        self.accept_spoofed_sources();
        self.ip("link set dev lo up");
    }
}

impl Drop for Named {
    fn drop(&mut self) {
        // Device and inode: what makes two namespace files the same namespace.
        if let Ok(about) = self.file.metadata() {
            super::leftovers::end_processes((about.dev(), about.ino()));
        }
        let removed = Command::new("ip").args(["netns", "del", &self.name]).status();
        if !removed.as_ref().is_ok_and(ExitStatus::success) {
            eprintln!("namespace {} stays behind: {removed:?}", self.name);
        }
    }
}

/// Runs `ip` outside any namespace of ours; only for making and removing namespaces.
fn ip_command(arguments: &[&str]) {
    let output = Command::new("ip").args(arguments).output().expect("ip starts");
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "ip {}: {said}", arguments.join(" "));
}

fn mac_in(text: &str) -> Option<Mac> {
    let (_, after) = text.split_once("link/ether ")?;
    let mut mac = [0; 6];
    let mut parts = after.split_whitespace().next()?.split(':');
    for byte in &mut mac {
        *byte = u8::from_str_radix(parts.next()?, 16).ok()?;
    }
    parts.next().is_none().then_some(mac)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hardware_address_is_read_from_the_link_line() {
        let line = r"2: up0@if3: <UP> mtu 1500 \    link/ether 02:00:00:00:00:01 brd ff:ff";
        assert_eq!(mac_in(line), Some([2, 0, 0, 0, 0, 1]));
        assert_eq!(mac_in("1: lo: link/loopback 00:00:00:00:00:00"), None);
    }
}
