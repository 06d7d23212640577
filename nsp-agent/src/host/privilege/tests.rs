use rstest::rstest;

use super::*;

const ALL: Capabilities = Capabilities(u64::MAX);

fn privileges(effective: &[Capability]) -> Privileges {
    let effective = effective.iter().fold(0, |set, capability| set | 1 << *capability as u8);
    Privileges {
        effective: Capabilities(effective),
        user_namespace: false,
        kernel: KERNEL_MIN,
        bpffs: vec!["/sys/fs/bpf".into()],
    }
}

#[rstest]
#[case::debian("6.1.0-13-amd64", (6, 1, 0))]
#[case::release_candidate("6.18-rc1", (6, 18, 0))]
#[case::plus("6.12.5+", (6, 12, 5))]
#[case::azure("6.8.0-1021-azure", (6, 8, 0))]
#[case::many("6.18.44-fc-v595", (6, 18, 44))]
#[case::el("5.14.0-427.13.1.el9_4.x86_64", (5, 14, 0))]
#[case::four_parts("4.4.302.7", (4, 4, 302))]
fn kernel_releases(#[case] release: &str, #[case] (major, minor, patch): (u32, u32, u32)) {
    assert_eq!(release.parse(), Ok(KernelVersion { major, minor, patch }));
}

#[rstest]
#[case::empty("")]
#[case::word("linux")]
#[case::one_number("6")]
#[case::huge("6.99999999999")]
fn what_is_no_kernel_release(#[case] release: &str) {
    let error = release.parse::<KernelVersion>().unwrap_err().to_string();
    assert!(error.contains(&format!("\"{release}\"")), "{error}");
}

#[test]
fn versions_compare_by_number() {
    let version = |text: &str| text.parse::<KernelVersion>().unwrap();
    assert!(version("6.9.0") < version("6.12.0"));
    assert!(version("5.19.17") < KERNEL_MIN);
    assert_eq!(KERNEL_MIN.to_string(), "6.1.0");
}

#[test]
fn effective_capabilities_are_read_from_the_status() {
    let text = "Name:\tnsp\nCapPrm:\t000001ffffffffff\nCapEff:\t000000c000001000\n";
    let effective = Capabilities::from_status(text).unwrap();
    assert!(effective.has(Capability::Bpf) && effective.has(Capability::Perfmon));
    assert!(effective.has(Capability::NetAdmin) && !effective.has(Capability::SysAdmin));
    assert_eq!(Capabilities::from_status("Name:\tnsp\n"), None);
}

#[rstest]
#[case::the_three(&[Capability::Bpf, Capability::NetAdmin, Capability::Perfmon])]
#[case::older_way(&[Capability::SysAdmin, Capability::NetAdmin])]
fn enough_is_enough(#[case] effective: &[Capability]) {
    assert_eq!(privileges(effective).missing(), [] as [&str; 0]);
}

#[rstest]
#[case::without_net_admin(&[Capability::SysAdmin], "CAP_NET_ADMIN is missing")]
#[case::without_bpf(&[Capability::Perfmon, Capability::NetAdmin], "CAP_BPF is missing")]
#[case::without_perfmon(&[Capability::Bpf, Capability::NetAdmin], "CAP_PERFMON is missing")]
fn what_is_missing_is_named(#[case] effective: &[Capability], #[case] expected: &str) {
    let missing = privileges(effective).missing();
    assert_eq!(missing.len(), 1, "{missing:?}");
    assert!(missing[0].starts_with(expected), "{missing:?}");
}

#[test]
fn an_old_kernel_is_missing_something() {
    let kernel = KernelVersion { major: 5, minor: 15, patch: 9 };
    let missing = Privileges { kernel, effective: ALL, ..privileges(&[]) }.missing();
    assert_eq!(missing, ["the kernel is 5.15.9: NSP needs 6.1.0 or later"]);
}

#[test]
fn root_of_a_user_namespace_is_not_root() {
    let missing = Privileges { user_namespace: true, effective: ALL, ..privileges(&[]) }.missing();
    assert_eq!(missing.len(), 1);
    assert!(missing[0].contains("user namespace"));
}

#[rstest]
#[case::who_can_mount_one(ALL, 0)]
#[case::who_cannot(Capabilities(1 << 39 | 1 << 38 | 1 << 12), 1)]
fn a_bpf_file_system_is_missing_for(#[case] effective: Capabilities, #[case] count: usize) {
    let missing = Privileges { bpffs: vec![], effective, ..privileges(&[]) }.missing();
    assert_eq!(missing.len(), count, "{missing:?}");
}

#[test]
fn pins_lie_in_a_bpf_file_system() {
    let privileges = privileges(&[]);
    assert!(privileges.can_pin_in(Path::new("/sys/fs/bpf/nsp")));
    assert!(!privileges.can_pin_in(Path::new("/sys/fs/bpf2/nsp")));
}

#[rstest]
#[case::first_namespace("         0          0 4294967295\n", true)]
#[case::rootless("         0       1000          1\n", false)]
#[case::two_ranges("0 1000 1\n1 100000 65536\n", false)]
fn user_namespaces(#[case] uid_map: &str, #[case] identity: bool) {
    assert_eq!(is_identity_map(uid_map), identity);
}

#[test]
fn this_process_can_be_looked_at() {
    let privileges = Privileges::read().unwrap();
    assert!(privileges.kernel > KernelVersion { major: 3, minor: 0, patch: 0 });
}
