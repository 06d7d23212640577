use std::{
    fs,
    panic::{AssertUnwindSafe, catch_unwind},
    path::Path,
    process::{Command, Stdio},
    time::Duration,
};

use super::*;
use crate::deadline::Deadline;

fn namespace_link() -> String {
    fs::read_link("/proc/thread-self/ns/net").unwrap().to_string_lossy().into_owned()
}

fn of_process(pid: u32) -> String {
    fs::read_link(format!("/proc/{pid}/ns/net")).unwrap().to_string_lossy().into_owned()
}

#[test]
fn privileged_enter_moves_one_thread_and_no_other() {
    let mut sandbox = Sandbox::new();
    let host = sandbox.add_host("a");
    let outside = namespace_link();
    let inside = host.enter(namespace_link);
    assert_ne!(inside, outside);
    assert_eq!(namespace_link(), outside);
    assert_eq!(host.enter(namespace_link), inside, "the same namespace each time");
}

#[test]
fn privileged_process_is_inside_and_sees_the_mounts_of_the_machine() {
    let mut sandbox = Sandbox::new();
    let host = sandbox.add_host("a");
    let process = host.spawn(Command::new("sleep").arg("60"));
    assert_eq!(of_process(process.pid()), host.enter(namespace_link));
    let mounts = |pid: &str| fs::read_link(format!("/proc/{pid}/ns/mnt")).unwrap();
    assert_eq!(mounts(&process.pid().to_string()), mounts("self"));
}

#[test]
fn privileged_panic_removes_everything() {
    let mut pid = 0;
    let mut path = String::new();
    let result = catch_unwind(AssertUnwindSafe(|| {
        let mut sandbox = Sandbox::new();
        let host = sandbox.add_host("a");
        path = format!("/run/netns/{}", host.name());
        // A process whose handle is lost: the namespace has to end it.
        let process = host.spawn(Command::new("sleep").arg("60").stdout(Stdio::null()));
        pid = process.pid();
        std::mem::forget(process);
        assert!(Path::new(&path).exists());
        panic!("on purpose");
    }));
    assert!(result.is_err());
    assert!(!Path::new(&path).exists());
    let ended = Deadline::after(Duration::from_secs(5)).poll(|| {
        let status = fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
        (status.is_empty() || status.contains(") Z ")).then_some(())
    });
    assert!(ended.is_some(), "process {pid} still runs");
}

#[test]
fn privileged_what_a_dead_run_left_is_swept() {
    crate::privilege::require();
    // Pids are under 2^22, so no process has this one.
    let name = format!("nspt-4194310-{}-left-behind", std::process::id());
    let directory = std::env::temp_dir().join(&name);
    fs::create_dir_all(directory.join("state")).unwrap();
    let made = {
        let _making = one_at_a_time();
        Command::new("ip").args(["netns", "add", &name]).status().unwrap()
    };
    assert!(made.success());
    sweep();
    assert!(!Path::new("/run/netns").join(&name).exists());
    assert!(!directory.exists());
}

#[test]
fn privileged_cable_carries_packets_between_hosts() {
    let mut sandbox = Sandbox::new();
    sandbox.add_host("a");
    sandbox.add_host("b");
    sandbox.connect(("a", "wire0"), ("b", "wire1"));
    sandbox.host("a").ip("address add 192.0.2.1/24 dev wire0");
    sandbox.host("b").ip("address add 192.0.2.2/24 dev wire1");
    sandbox.settle();
    let (near, far) = ("192.0.2.1".parse().unwrap(), "192.0.2.2".parse().unwrap());
    let outcome = crate::sockets::ping(sandbox.host("a"), near, far, 7, Duration::from_secs(2));
    assert_eq!(outcome, crate::sockets::Outcome::Answered);
    assert!(sandbox.host("a").index("wire0") > 1);
    assert_ne!(sandbox.host("a").mac("wire0"), sandbox.host("b").mac("wire1"));
}

#[test]
fn privileged_sysctl_reaches_this_namespace_only() {
    let mut sandbox = Sandbox::new();
    let host = sandbox.add_host("a");
    let read = || fs::read_to_string("/proc/sys/net/ipv4/ip_default_ttl").unwrap();
    let outside = read();
    host.sysctl("net.ipv4.ip_default_ttl", "77");
    assert_eq!(host.enter(read), "77\n");
    assert_eq!(read(), outside);
    host.drop_spoofed_sources();
    let filter = || fs::read_to_string("/proc/sys/net/ipv4/conf/lo/rp_filter").unwrap();
    assert_eq!(host.enter(filter), "1\n");
    host.accept_spoofed_sources();
    assert_eq!(host.enter(filter), "0\n");
}

#[test]
#[should_panic(expected = "Cannot find device")]
fn privileged_refused_command_shows_what_ip_said() {
    let mut sandbox = Sandbox::new();
    sandbox.add_host("a").ip("link set dev nosuch up");
}
