use rstest::rstest;

use super::*;
use crate::policy;

/// A policy with a wildcard; more of it by name.
fn loaded(access: &str, mode: &str, rules: &str, dns: &str) -> Loaded {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("policy.toml");
    let text = format!(
        "[perimeter]\nname = \"p\"\npublic_network_access = \"{access}\"\n\
         [profile.job.outbound.shop]\nfqdns = [\"a.example.com\", \"*.example.com\"]\n{rules}\n\
         [resource.host]\nhost = true\nprofile = \"job\"\noutbound_mode = \"{mode}\"\n\
         [dns]\n{dns}\n"
    );
    fs::write(&file, text).unwrap();
    policy::load(&file).unwrap_or_else(|errors| panic!("{errors}"))
}

fn stub() -> IpAddr {
    "127.0.0.1".parse().unwrap()
}

/// A host whose programs ask a stub that nothing is known of.
fn stub_host() -> Sight {
    Sight { stubs: vec![stub()], has_cgroups: true, ..Sight::default() }
}

#[rstest]
#[case::no_stub(Sight { has_cgroups: false, ..Sight::default() }, None)]
#[case::forwarding_stub(Sight { knows_upstreams: true, ..stub_host() }, None)]
#[case::unknown_stub(stub_host(), Some(Blind::Recursive(stub())))]
#[case::no_hook(Sight { has_cgroups: false, knows_upstreams: true, ..stub_host() }, Some(Blind::NoHook(stub())))]
#[case::tls_with_messages(Sight { over_tls: true, knows_upstreams: true, ..stub_host() }, None)]
#[case::no_messages_in_clear(Sight { nss_resolve: true, knows_upstreams: true, ..stub_host() }, None)]
#[case::no_messages_over_tls(Sight { nss_resolve: true, over_tls: true, ..Sight::default() }, Some(Blind::Encrypted))]
fn host_is_blind(#[case] sight: Sight, #[case] expected: Option<Blind>) {
    let policy = loaded("enabled", "enforced", "", "").policy;
    assert_eq!(sight.blind(&policy), expected);
}

const BY_ADDRESS: &str = "[profile.job.outbound.dns]\naddress_prefixes = [\"198.51.100.53\"]";

#[rstest]
#[case::denied("enabled", "enforced", "", "", true)]
#[case::in_transition("enabled", "transition", "", "", false)]
#[case::by_a_rule("enabled", "enforced", BY_ADDRESS, "", false)]
#[case::upstreams_told("enabled", "enforced", "", "resolvers = [\"192.0.2.53\"]", false)]
#[case::recursive_told("enabled", "enforced", "", "recursive_unit = \"unbound.service\"", false)]
fn stub_of_unknown_upstreams_is_blind_where_it_may_not_ask(
    #[case] access: &str,
    #[case] mode: &str,
    #[case] rules: &str,
    #[case] dns: &str,
    #[case] is_blind: bool,
) {
    let policy = loaded(access, mode, rules, dns).policy;
    assert_eq!(stub_host().blind(&policy).is_some(), is_blind);
}

#[test]
fn enforced_wildcard_is_refused_with_its_place_and_a_cure() {
    let policy = loaded("enabled", "enforced", "", "").policy;
    let [refused] = &diagnose(&policy, &stub_host())[..] else { panic!("one rule") };
    assert_eq!(refused.severity, Severity::Error);
    assert_eq!(refused.position.line, 4);
    let text = refused.to_string();
    assert!(text.contains("policy.toml:4:") && text.contains("*.example.com"), "{text}");
    assert!(text.contains("\ntry: [dns] resolvers"), "{text}");
}

#[test]
fn accepted_and_transitional_wildcards_are_warned_of() {
    let blind = Sight { nss_resolve: true, over_tls: true, ..Sight::default() };
    for (mode, dns) in [("enforced", "accept_blind = true"), ("transition", "")] {
        let policy = loaded("enabled", mode, "", dns).policy;
        let [warned] = &diagnose(&policy, &blind)[..] else { panic!("one rule") };
        assert_eq!(warned.severity, Severity::Warning);
    }
}

#[rstest]
#[case("hosts: files dns\n", false)]
#[case("hosts:\tmymachines resolve [!UNAVAIL=return] files dns\n", true)]
#[case("hosts: files dns # resolve\n", false)]
#[case("passwd: resolve\n", false)]
fn nsswitch_says_who_is_asked(#[case] text: &str, #[case] expected: bool) {
    assert_eq!(asks_resolved(text), expected);
}

#[rstest]
#[case(&["[Resolve]\n#DNSOverTLS=yes\n"], false)]
#[case(&["[Resolve]\nDNSOverTLS=yes\n"], true)]
#[case(&["[Resolve]\nDNSOverTLS = opportunistic\n"], true)]
#[case(&["[Resolve]\nDNSOverTLS=yes\n", "[Resolve]\nDNSOverTLS=no\n"], false)]
fn last_word_about_tls_counts(#[case] files: &[&str], #[case] expected: bool) {
    let files: Vec<String> = files.iter().map(ToString::to_string).collect();
    assert_eq!(is_over_tls(&files), expected);
}

#[test]
fn files_are_read_as_they_are() {
    let etc = tempfile::tempdir().unwrap();
    let resolv_conf = etc.path().join("resolv.conf");
    let files = Files { resolv_conf: resolv_conf.clone(), etc: etc.path().into() };
    assert_eq!(Sight::read(&files).stubs, [] as [IpAddr; 0], "no resolver at all");
    fs::write(&resolv_conf, "nameserver 127.0.0.1\n").unwrap();
    fs::write(etc.path().join("nsswitch.conf"), "hosts: resolve dns\n").unwrap();
    fs::create_dir_all(etc.path().join("systemd/resolved.conf.d")).unwrap();
    fs::write(etc.path().join("systemd/resolved.conf.d/10.conf"), "DNSOverTLS=1\n").unwrap();
    let Sight { stubs, nss_resolve, over_tls, knows_upstreams, .. } = Sight::read(&files);
    assert_eq!(stubs, [stub()]);
    assert!(nss_resolve && over_tls && !knows_upstreams);
}
