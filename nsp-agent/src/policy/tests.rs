use std::{
    fs,
    path::{Path, PathBuf},
};

use proptest::prelude::*;

use super::{
    model::{
        AccessMode, LogCategory, OnDeny, PortSet, PrefixSet, PrivateAccess, Process, Selector,
    },
    *,
};

mod fixtures;
mod manual;

/// Reads a policy from text, in a directory of its own.
fn load_text(text: &str) -> Result<Loaded, PolicyErrors> {
    let directory = tempfile::tempdir().expect("a temporary directory");
    let path = directory.path().join("policy.toml");
    fs::write(&path, text).expect("a file in it");
    load(&path)
}

fn shown<T: ToString>(items: &[T]) -> Vec<String> {
    items.iter().map(ToString::to_string).collect()
}

fn shown_set(set: &PrefixSet) -> Vec<String> {
    set.iter().map(|prefix| prefix.to_string()).collect()
}

#[test]
fn every_key_of_the_format_arrives() {
    let Loaded { policy, sources, files, .. } = load(&fixtures::accepted("design.toml")).unwrap();

    assert_eq!(policy.perimeter.name.as_str(), "payments");
    let guid = policy.perimeter.guid.unwrap().to_string();
    assert_eq!(guid, "2fd0a5c2-0000-4abc-8000-0123456789ab");
    assert_eq!(policy.perimeter.location.as_deref(), Some("eu-west"));
    assert_eq!(shown_set(policy.private_prefixes.as_ref().unwrap()), ["10.0.0.0/8", "fd00::/8"]);
    assert_eq!(policy.dns.resolvers, ["192.0.2.53".parse::<std::net::IpAddr>().unwrap()]);
    assert_eq!(
        policy.logging,
        model::Logging {
            file: Some("/var/log/nsp/access.jsonl".into()),
            enabled_log_categories: LogCategory::ALL.into(),
        }
    );
    let member = &policy.members["web-1"];
    assert_eq!(shown_set(&member.addresses), ["192.0.2.10/32", "2001:db8::10/128"]);

    let database = &policy.profiles["database"];
    let inbound = |rule: &str| shown_set(&database.inbound[rule].prefixes);
    assert_eq!(inbound("head-office"), ["203.0.113.0/24", "2001:db8:100::/40"]);
    assert_eq!(inbound("partner"), ["198.51.100.0/25"]);
    // Storage.WestEurope, aws:S3 (which covers aws:S3.eu-west-1) and the offices, as one set.
    assert_eq!(
        inbound("clouds"),
        [
            "192.0.2.0/25",
            "198.51.100.0/25",
            "198.51.100.200/32",
            "203.0.113.0/25",
            "203.0.113.128/25",
            "2001:db8:2::/48",
            "2001:db8:3::/48",
            "2001:db8:4::/48",
        ]
    );
    let backups = &database.outbound["backups"];
    let fqdns = ["*.blob.core.windows.net", "xn--bcher-kva.example"];
    assert_eq!(shown(&backups.fqdns), fqdns);
    assert_eq!(database.outbound["anything-by-time"].prefixes.len(), 2);

    let postgres = &policy.resources["postgres"];
    let Selector::Part(part) = &postgres.selector else { panic!("a part, not the host") };
    let unit = Some(Process::Unit("postgresql@*.service".parse().unwrap()));
    assert_eq!(part.process, unit);
    assert_eq!(shown(&part.ports), ["5432/tcp"]);
    assert_eq!(postgres.inbound_mode, AccessMode::Enforced);
    assert_eq!(postgres.outbound_mode, AccessMode::Transition);
    assert_eq!(postgres.on_deny, OnDeny::Drop);
    assert_eq!(policy.resources["everything-else"].selector, Selector::Host);
    assert!(std::ptr::eq(policy.profile_of(postgres), database));

    let counts: Vec<_> = sources.iter().map(|s| (s.name.as_str(), s.prefixes)).collect();
    assert_eq!(counts, [("service_tags", 6), ("aws_ip_ranges", 4), ("offices", 3)]);
    assert!(sources.iter().all(|source| source.modified.is_some()));
    assert_eq!(files.len(), 4);
}

#[test]
fn positions_lead_back_to_the_text() {
    let path = fixtures::accepted("design.toml");
    let policy = load(&path).unwrap().policy;
    let text = fs::read_to_string(&path).unwrap();
    let line = |position: &Position| text.lines().nth(position.line as usize - 1).unwrap();

    assert_eq!(line(&policy.perimeter.position), "[perimeter]");
    let database = &policy.profiles["database"];
    assert_eq!(line(&database.position), "[profile.database]");
    let rule = &database.outbound["backups"];
    assert_eq!(line(&rule.position), "[profile.database.outbound.backups]");
    assert_eq!(line(&policy.resources["postgres"].position), "[resource.postgres]");
    assert_eq!(line(&policy.members["web-1"].position), "[member.web-1]");
    assert_eq!(&*rule.position.file, path);
}

#[test]
fn defaults_are_what_is_not_said() {
    let policy = load(&fixtures::accepted("defaults.toml")).unwrap().policy;

    let (web, open) = (&policy.profiles["web"], &policy.profiles["open"]);
    assert_eq!((web.private, open.private), (PrivateAccess::Rules, PrivateAccess::Allow));
    // A profile's own rule stands in place of the default of that name.
    assert_eq!(shown_set(&web.inbound["ssh"].prefixes), ["203.0.113.0/24"]);
    assert_eq!(shown_set(&open.inbound["ssh"].prefixes), ["192.0.2.0/24"]);
    assert_eq!(open.inbound["ssh"].ports, PortSet::Any);

    let (web, other) = (&policy.resources["web"], &policy.resources["other"]);
    assert_eq!((web.profile.as_str(), other.profile.as_str()), ("web", "open"));
    assert_eq!((web.inbound_mode, web.outbound_mode), (AccessMode::Enforced, AccessMode::Enforced));
    assert_eq!(other.inbound_mode, AccessMode::Transition);
}

#[test]
fn empty_means_none() {
    let policy = load(&fixtures::accepted("empty-means-none.toml")).unwrap().policy;
    let closed = &policy.profiles["closed"];
    assert!(closed.inbound["nobody"].prefixes.is_empty());
    assert!(closed.inbound["no-port"].ports.is_none());
    assert!(closed.outbound["nowhere"].fqdns.is_empty());
    assert_eq!(policy.private_prefixes, Some(PrefixSet::default()));
    assert!(policy.logging.enabled_log_categories.is_empty());
}

#[test]
fn absent_keys_have_the_defaults_of_the_manual() {
    let policy = load(&fixtures::accepted("minimal.toml")).unwrap().policy;
    assert_eq!(policy.private_prefixes, None);
    assert_eq!(policy.perimeter.public_network_access, model::PublicNetworkAccess::Enabled);
    assert_eq!(policy.perimeter.forwarded, model::Forwarded::Host);
    assert_eq!(policy.logging.enabled_log_categories.len(), LogCategory::ALL.len());
}

#[test]
fn a_directory_is_one_document() {
    let directory = fixtures::accepted("directory");
    let Loaded { policy, files, .. } = load(&directory).unwrap();
    let database = &policy.profiles["database"];
    assert_eq!(database.private, PrivateAccess::Rules);
    assert_eq!(shown_set(&database.inbound["office"].prefixes), ["203.0.113.0/24"]);
    let expected = ["10-perimeter.toml", "20-database.toml"].map(|name| directory.join(name));
    assert_eq!(files, expected);
    assert_eq!(*database.inbound["office"].position.file, *expected[1]);
}

#[test]
fn the_digest_follows_every_byte_read_and_nothing_else() {
    let directory = tempfile::tempdir().unwrap();
    let digest = |name: &str, policy: &str, offices: &str| {
        let place = directory.path().join(name);
        fs::create_dir_all(&place).unwrap();
        fs::write(place.join("policy.toml"), policy).unwrap();
        fs::write(place.join("offices.txt"), offices).unwrap();
        load(&place.join("policy.toml")).unwrap().digest
    };
    let policy = "[perimeter]\nname = \"p\"\n[sources.prefix_files]\no = \"offices.txt\"\n";
    let first = digest("a", policy, "192.0.2.0/24\n");
    assert_eq!(first.len(), 64);
    assert_eq!(first, digest("b", policy, "192.0.2.0/24\n"));
    assert_ne!(first, digest("b", policy, "192.0.2.0/25\n"));
    assert_ne!(first, digest("b", &format!("{policy}#"), "192.0.2.0/24\n"));
}

#[test]
fn many_mistakes_are_found_in_one_pass() {
    let errors = load_text(
        "[perimeter]\nname = \"a b\"\n[profile.a.inbound.r]\nports = [\"443\"]\n\
         address_prefixes = [\"10.0.0.1/8\"]\ncolour = 1\n[resource.r]\nprofile = \"b\"\n",
    )
    .unwrap_err();
    let lines: Vec<u32> = errors.errors.iter().map(|error| error.position.line).collect();
    assert_eq!(lines, [2, 4, 5, 6, 7, 8], "{errors}");
}

#[test]
fn the_order_of_prefixes_does_not_matter() {
    let policy = |prefixes: &str| {
        let text = format!(
            "[perimeter]\nname = \"p\"\n[profile.a.inbound.r]\naddress_prefixes = [{prefixes}]\n"
        );
        load_text(&text).unwrap().policy.profiles["a"].inbound["r"].prefixes.clone()
    };
    let forward = policy("\"10.0.0.0/8\", \"10.1.0.0/16\", \"192.0.2.0/24\", \"10.0.0.0/8\"");
    let backward = policy("\"10.0.0.0/8\", \"192.0.2.0/24\", \"10.1.0.0/16\", \"10.0.0.0/8\"");
    assert_eq!(shown_set(&forward), ["10.0.0.0/8", "192.0.2.0/24"]);
    assert_eq!(forward, backward);
}

#[test]
fn a_profile_past_azures_limit_is_noted_and_works() {
    let prefixes = |count: usize| {
        let list: Vec<String> = (0..count).map(|i| format!("\"10.0.{i}.0/24\"")).collect();
        let text = format!(
            "[perimeter]\nname = \"p\"\n[profile.a.inbound.r]\naddress_prefixes = [{}]\n",
            list.join(", ")
        );
        let loaded = load_text(&text).unwrap();
        let noted = loaded.notes.iter().any(|note| note.what.contains("rule elements"));
        (loaded.policy.profiles["a"].inbound["r"].prefixes.len(), noted)
    };
    assert_eq!(prefixes(200), (200, false));
    assert_eq!(prefixes(201), (201, true));
}

fn missing(name: &str) -> PathBuf {
    Path::new("/nonexistent").join(name)
}

#[test]
fn a_missing_policy_is_an_error_that_names_it() {
    let errors = load(&missing("policy.toml")).unwrap_err().to_string();
    let expected = "nsp: /nonexistent/policy.toml: cannot find `/nonexistent/policy.toml`: no \
                    such file\ntry: nsp init -o /nonexistent/policy.toml";
    assert_eq!(errors, expected);
}

#[test]
fn a_directory_without_policy_files_is_an_error() {
    let directory = tempfile::tempdir().unwrap();
    fs::write(directory.path().join(".hidden.toml"), "[perimeter]\nname = \"p\"\n").unwrap();
    fs::write(directory.path().join("policy.txt"), "[perimeter]\nname = \"p\"\n").unwrap();
    let errors = load(directory.path()).unwrap_err();
    assert!(errors.errors[0].what.ends_with("holds no *.toml file"), "{errors}");
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(200))]

    #[test]
    fn a_damaged_policy_is_refused_or_read_and_never_panics(
        start in 0..1500usize,
        length in 0..60usize,
        put in "[a-z\\[\\]=\"'., 0-9/*#\n\u{0}é]{0,6}",
    ) {
        let text = fs::read_to_string(fixtures::accepted("design.toml")).unwrap();
        let chars: Vec<char> = text.chars().collect();
        let (start, end) = (start.min(chars.len()), (start + length).min(chars.len()));
        let damaged: String = chars[..start].iter().copied()
            .chain(put.chars())
            .chain(chars[end..].iter().copied())
            .collect();
        if let Err(errors) = load_text(&damaged) {
            prop_assert!(errors.to_string().starts_with("nsp: "));
        }
    }
}
