use std::path::Path;

use rstest::rstest;

use super::*;
use crate::host::cgroups::Cgroup;

const ROOT: u64 = 1;
const STUB: u64 = 20;
const AGENT: u64 = 30;
const USER: u64 = 40;

fn tree() -> Tree {
    let cgroup = |path: &str, id| Cgroup { path: path.into(), id };
    Tree::new(vec![
        cgroup("/", ROOT),
        cgroup("/system.slice", 10),
        cgroup("/system.slice/systemd-resolved.service", STUB),
        cgroup("/system.slice/systemd-resolved.service/inner", STUB + 1),
        cgroup("/system.slice/nsp.service", AGENT),
        cgroup("/user.slice", USER),
    ])
}

fn resolvers(entries: &[(&str, &str)]) -> Resolvers {
    let resolver = |(address, file): &(&str, &str)| Resolver {
        address: address.parse().unwrap(),
        zone: None,
        file: Path::new(file).into(),
    };
    Resolvers { all: entries.iter().map(resolver).collect() }
}

fn listener(protocol: u8, address: &str, port: u16, cgroup: u64) -> Listener {
    Listener {
        protocol,
        address: address.parse().unwrap(),
        port,
        dual_stack: false,
        cgroup: Some(cgroup),
        inode: 1,
        interface: None,
    }
}

fn serving(resolvers: &Resolvers, listeners: &[Listener], recursive: Option<&str>) -> Serving {
    let tree = tree();
    let pattern = recursive.map(|text| Pattern::new(text).unwrap());
    Serving::of(&Host {
        resolvers,
        own: &["192.0.2.10".parse().unwrap(), "2001:db8::10".parse().unwrap()].into(),
        listeners,
        tree: Some(&tree),
        recursive: pattern.as_ref(),
    })
}

const STUB_BITS: u32 = resolving::STUB | resolving::ANSWERS;
const LISTED: [(u64, u32); 2] = [(0, resolving::ONLY_LISTED), (STUB, STUB_BITS)];

#[rstest]
#[case::loopback("127.0.0.53", "127.0.0.53")]
#[case::every_address("127.0.0.1", "0.0.0.0")]
#[case::own("192.0.2.10", "192.0.2.10")]
#[case::v6("::1", "::")]
fn stub_is_found_by_its_socket(#[case] asked: &str, #[case] listens: &str) {
    let resolvers = resolvers(&[(asked, "a"), ("192.0.2.53", "upstreams")]);
    let found = serving(&resolvers, &[listener(17, listens, 53, STUB)], None);
    assert_eq!(found.resolving, LISTED);
    assert_eq!(found.addresses, [asked.parse().unwrap()].into());
    assert_eq!(found.stubs[0].cgroups, ["/system.slice/systemd-resolved.service"]);
    assert!(found.is_resolved());
}

#[rstest]
#[case::nobody_listens(&[])]
#[case::another_port(&[listener(17, "127.0.0.53", 5353, STUB)])]
#[case::another_address(&[listener(17, "127.0.0.1", 53, STUB)])]
#[case::in_the_root(&[listener(17, "127.0.0.53", 53, ROOT)])]
#[case::of_an_unknown_cgroup(&[listener(17, "127.0.0.53", 53, 99)])]
#[case::one_of_two_in_the_root(&[listener(17, "127.0.0.53", 53, STUB), listener(6, "127.0.0.53", 53, ROOT)])]
fn stub_that_cannot_be_told_from_others_lists_nobody(#[case] listeners: &[Listener]) {
    let found = serving(&resolvers(&[("127.0.0.53", "a")]), listeners, None);
    assert_eq!(found.stubs.len(), 1);
    assert_eq!((found.resolving, found.addresses.len()), (vec![], 0));
}

#[test]
fn who_listens_at_the_very_address_counts() {
    let listeners = [listener(17, "0.0.0.0", 53, USER), listener(17, "127.0.0.53", 53, STUB)];
    let found = serving(&resolvers(&[("127.0.0.53", "a")]), &listeners, None);
    assert_eq!(found.resolving, LISTED);
}

#[test]
fn programs_that_also_ask_another_machine_teach() {
    let resolvers = resolvers(&[("127.0.0.1", "a"), ("192.0.2.53", "a")]);
    let found = serving(&resolvers, &[listener(17, "127.0.0.1", 53, STUB)], None);
    assert_eq!(found.resolving, LISTED[1..]);
}

#[test]
fn without_a_stub_everybody_teaches() {
    let found = serving(&resolvers(&[("192.0.2.53", "a")]), &[listener(17, "::", 53, STUB)], None);
    assert_eq!(found, Serving::default());
}

#[test]
fn recursive_resolver_may_ask_anybody_and_is_no_stub() {
    let listeners = [listener(17, "0.0.0.0", 53, STUB + 1), listener(6, "::1", 53, STUB)];
    let resolvers = resolvers(&[("127.0.0.1", "a")]);
    let found = serving(&resolvers, &listeners, Some("systemd-*.service"));
    let recursive = found.recursive.as_ref().unwrap();
    assert!(recursive.is_matched);
    let expected = ["127.0.0.1", "192.0.2.10", "::1"].map(|text| text.parse().unwrap());
    assert_eq!(recursive.addresses, expected.into());
    let listed = [(0, resolving::ONLY_LISTED), (STUB, resolving::RECURSIVE | resolving::ANSWERS)];
    assert_eq!(found.resolving, listed);
    assert!(found.recurses(&[ROOT, 10, STUB]) && !found.recurses(&[ROOT, 10, AGENT, 0]));
}

#[test]
fn recursive_unit_that_is_not_there_is_said() {
    let found = serving(&resolvers(&[("192.0.2.53", "a")]), &[], Some("unbound.service"));
    assert!(!found.recursive.unwrap().is_matched);
    assert_eq!(found.resolving, []);
}
