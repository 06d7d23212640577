//! What is accepted as a way in, and what becomes of it.

use rstest::rstest;

use super::*;
use crate::policy::{Loaded, PolicyErrors, load, model::Policy};

const FAILSAFE_TEXT: &str = r#"
    [failsafe]
    prefixes = ["203.0.113.0/29", "2001:db8:100::/48"]
    ports = ["22/tcp"]
"#;

fn load_text(text: &str) -> Result<Loaded, PolicyErrors> {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("policy.toml");
    std::fs::write(&path, text).unwrap();
    load(&path)
}

fn policy(rest: &str) -> Policy {
    load_text(&format!("[perimeter]\nname = \"p\"\n{rest}")).unwrap().policy
}

fn refused(rest: &str) -> String {
    load_text(&format!("[perimeter]\nname = \"p\"\n{rest}")).unwrap_err().to_string()
}

fn failsafe(prefixes: &str, ports: &str) -> Failsafe {
    let text = format!("[failsafe]\nprefixes = [{prefixes}]\nports = [{ports}]");
    policy(&text).failsafe.unwrap()
}

#[test]
fn it_is_a_rule_of_every_profile() {
    let policy = policy(&format!(
        "{FAILSAFE_TEXT}\n[profile.a]\n[profile.b.inbound.x]\naddress_prefixes = [\"192.0.2.1\"]\n\
         [resource.a]\nports = [\"80/tcp\"]\nprofile = \"a\"\n\
         [resource.c]\ncgroup = \"/c\"\nprofile = \"a\""
    ));
    for profile in ["a", "b"] {
        let rule = &policy.profiles[profile].inbound[FAILSAFE];
        assert_eq!(rule.prefixes.len(), 2);
        assert_eq!(rule.ports, PortSet::listed([PortSpec::parse("22/tcp").unwrap()]));
    }
    assert_eq!(policy.profiles["b"].inbound.len(), 2);
    // Traffic of no resource is left alone: nothing stands in its way.
    assert!(!policy.resources.contains_key(FAILSAFE) && !policy.profiles.contains_key(FAILSAFE));
    assert_eq!(policy.failsafe.unwrap().position.to_string().split(':').nth(1), Some("4"));
}

#[test]
fn without_it_nothing_is_added_and_the_name_is_free() {
    let policy = policy("[profile.failsafe.inbound.failsafe]\naddress_prefixes = [\"192.0.2.1\"]");
    assert!(policy.failsafe.is_none());
    assert_eq!(policy.profiles[FAILSAFE].inbound.len(), 1);
}

#[test]
fn host_is_made_a_resource_where_it_would_be_denied_without() {
    let secured = "public_network_access = \"secured-by-perimeter\"\n";
    let of_ports = "[profile.a]\n[resource.a]\nports = [\"80/tcp\"]\nprofile = \"a\"\n";
    let made = policy(&format!("{secured}{FAILSAFE_TEXT}{of_ports}"));
    let host = &made.resources[FAILSAFE];
    assert_eq!(host.selector, Selector::Host);
    assert_eq!(
        (host.inbound_mode, host.outbound_mode),
        (AccessMode::Enforced, AccessMode::Enforced)
    );
    assert_eq!(made.profiles[FAILSAFE].inbound.len(), 1);
    let host = of_ports.replace("ports = [\"80/tcp\"]", "host = true");
    let there = policy(&format!("{secured}{FAILSAFE_TEXT}{host}"));
    assert!(!there.resources.contains_key(FAILSAFE));
    let transition = secured.replace("secured-by-perimeter", "transition");
    let left = policy(&format!("{transition}{FAILSAFE_TEXT}{of_ports}"));
    assert!(!left.resources.contains_key(FAILSAFE));
}

#[rstest]
#[case::everybody(r#""0.0.0.0/0""#, r#""22/tcp""#, "`0.0.0.0/0` is too wide")]
#[case::wide_v4(r#""10.0.0.0/7""#, r#""22/tcp""#, "`10.0.0.0/7` is too wide")]
#[case::wide_v6(r#""2001::/31""#, r#""22/tcp""#, "`2001::/31` is too wide")]
#[case::neighbours(r#""10.0.0.0/8", "11.0.0.0/8""#, r#""22/tcp""#, "`10.0.0.0/7` is too wide")]
#[case::nobody("", r#""22/tcp""#, "[failsafe] has no `prefixes`")]
#[case::nothing(r#""192.0.2.1""#, "", "[failsafe] has no `ports`")]
#[case::many(r#""192.0.2.1""#, r#""22-38/tcp""#, "[failsafe] has 17 ports")]
#[case::many_in_parts(r#""192.0.2.1""#, r#""22-31/tcp", "22-28/udp""#, "[failsafe] has 17 ports")]
#[case::all(r#""192.0.2.1""#, r#""proto/6""#, "[failsafe] has 65536 ports")]
#[case::icmp(r#""192.0.2.1""#, r#""22/tcp", "icmp""#, "`icmp` in [failsafe] has no ports")]
#[case::protocol(r#""192.0.2.1""#, r#""proto/47""#, "`proto/47` in [failsafe] has no ports")]
fn what_is_not_narrow_is_refused(
    #[case] prefixes: &str,
    #[case] ports: &str,
    #[case] expected: &str,
) {
    let said = refused(&format!("[failsafe]\nprefixes = [{prefixes}]\nports = [{ports}]"));
    assert!(said.contains(expected), "{said}");
}

#[test]
fn bounds_are_accepted() {
    failsafe(r#""10.0.0.0/8", "2001:db8::/32""#, r#""22-37/tcp""#);
}

#[test]
fn keys_that_are_absent_are_refused() {
    assert!(refused("[failsafe]\nports = [\"22/tcp\"]").contains("has no `prefixes`"));
    assert!(refused("[failsafe]\nprefixes = [\"192.0.2.1\"]").contains("has no `ports`"));
}

#[rstest]
#[case("[profile.a.inbound.failsafe]\naddress_prefixes = []", "profile `a` has an inbound rule")]
#[case("[profile.failsafe]", "a profile is called `failsafe`")]
#[case(
    "[profile.a]\n[resource.failsafe]\nports = [\"80/tcp\"]\nprofile = \"a\"",
    "a resource is called `failsafe`"
)]
fn its_name_is_its_own(#[case] rest: &str, #[case] expected: &str) {
    let said = refused(&format!("{FAILSAFE_TEXT}{rest}"));
    assert!(said.contains(expected), "{said}");
}

#[test]
fn it_admits_its_own_and_nobody_else() {
    let both = failsafe(r#""203.0.113.0/29", "2001:db8:100::/48""#, r#""22/tcp", "60-61/udp""#);
    let admits = |peer: &str, transport, port| both.admits(peer.parse().unwrap(), transport, port);
    assert!(
        admits("203.0.113.7", Transport::Tcp, 22) && admits("2001:db8:100::9", Transport::Udp, 61)
    );
    assert!(
        !admits("203.0.113.8", Transport::Tcp, 22) && !admits("2001:db8:101::", Transport::Udp, 61)
    );
    assert!(
        !admits("203.0.113.7", Transport::Udp, 22) && !admits("203.0.113.7", Transport::Tcp, 23)
    );
}

#[test]
fn what_drops_or_narrows_does_not_cover() {
    let before = failsafe(r#""203.0.113.0/28", "2001:db8::/64""#, r#""22-23/tcp""#);
    let covers = |prefixes: &str, ports: &str| failsafe(prefixes, ports).covers(&before);
    assert!(covers(r#""203.0.113.0/28", "2001:db8::/64""#, r#""22-23/tcp""#));
    assert!(covers(r#""203.0.112.0/20", "2001:db8::/48""#, r#""20-30/tcp""#));
    // In other words, the same.
    assert!(covers(
        r#""203.0.113.0/29", "203.0.113.8/29", "2001:db8::/64""#,
        r#""22/tcp", "23/tcp""#
    ));
    assert!(!covers(r#""203.0.113.0/28""#, r#""22-23/tcp""#));
    assert!(!covers(r#""203.0.113.0/29", "2001:db8::/64""#, r#""22-23/tcp""#));
    assert!(!covers(r#""203.0.113.0/28", "2001:db8::/64""#, r#""22/tcp""#));
    assert!(!covers(r#""203.0.113.0/28", "2001:db8::/64""#, r#""22-23/udp""#));
}

#[test]
fn what_blocks_meets_it_from_within_and_from_around() {
    let own = failsafe(r#""203.0.113.0/28""#, r#""22/tcp""#);
    let ports = |text: &[&str]| PortSet::listed(text.iter().map(|it| PortSpec::parse(it).unwrap()));
    let meets = |from: &str, ports: PortSet| own.meets(Some(from.parse().unwrap()), &ports);
    for from in ["203.0.113.3/32", "203.0.113.0/28", "203.0.0.0/16", "0.0.0.0/0"] {
        assert!(meets(from, PortSet::Any) && meets(from, ports(&["20-30/tcp"])), "{from}");
        assert!(!meets(from, ports(&["22/udp", "443/tcp", "icmp", "proto/47"])), "{from}");
    }
    assert!(!meets("203.0.113.16/28", PortSet::Any) && !meets("2001:db8::/32", PortSet::Any));
    assert!(own.meets(None, &PortSet::Any) && !own.meets(None, &ports(&["443/tcp"])));
}
