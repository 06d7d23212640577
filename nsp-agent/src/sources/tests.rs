use std::{fs, time::Instant};

use rstest::rstest;

use super::*;

fn workspace() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..")
}

fn fixture(name: &str) -> String {
    fs::read_to_string(workspace().join("tests/fixtures/sources").join(name)).unwrap()
}

/// What the clouds publish, when the shared data is there.
fn real(name: &str) -> Option<String> {
    fs::read_to_string(workspace().join("../shared/data").join(name)).ok()
}

fn shown(prefixes: &[IpNet]) -> Vec<String> {
    prefixes.iter().map(ToString::to_string).collect()
}

#[test]
fn only_the_wanted_tags_are_kept_and_all_are_known() {
    let tags = azure::read(&fixture("service-tags.json"), &["Storage.WestEurope"].into()).unwrap();
    assert_eq!(tags.sets.len(), 1);
    let expected = ["203.0.113.0/25", "2001:db8:2::/48"];
    assert_eq!(shown(&tags.sets["Storage.WestEurope"]), expected);
    assert!(tags.names.contains("Storage"));
    assert_eq!(tags.prefixes, 6);
}

#[rstest]
#[case::service("S3", &["192.0.2.0/25", "198.51.100.0/25", "2001:db8:3::/48"])]
#[case::region("S3.eu-west-1", &["192.0.2.0/25", "2001:db8:3::/48"])]
#[case::everything("AMAZON", &["192.0.2.0/24"])]
#[case::everything_in_a_region("AMAZON.eu-west-1", &["192.0.2.0/24"])]
fn aws_sets_are_by_service_and_region(#[case] name: &str, #[case] expected: &[&str]) {
    let tags = aws::read(&fixture("ip-ranges.json"), &[name].into()).unwrap();
    assert_eq!(shown(&tags.sets[name]), expected);
    assert_eq!(tags.sets.len(), 1);
}

#[test]
fn every_bad_entry_of_a_vendor_file_is_found_where_it_stands_used_or_not() {
    let text = fixture("bad-service-tags.json");
    let mistakes = azure::read(&text, &BTreeSet::new()).unwrap_err();
    let found: Vec<_> =
        mistakes.iter().map(|(range, refusal)| (&text[range.clone()], &*refusal.what)).collect();
    assert_eq!(
        found,
        [
            ("192.0.2.9/24", "bad prefix `192.0.2.9/24` of `Storage`"),
            ("10.0.0.0/33", "bad prefix `10.0.0.0/33` of `Sql`"),
        ]
    );
}

#[rstest]
#[case::truncated(r#"{"values": [{"name": "A""#)]
#[case::null(r#"{"values": null}"#)]
#[case::no_values("{}")]
#[case::no_prefixes(r#"{"values": [{"name": "A", "properties": {}}]}"#)]
#[case::number(r#"{"values": [{"name": "A", "properties": {"addressPrefixes": [1]}}]}"#)]
#[case::twice(r#"{"values": [], "values": []}"#)]
#[case::empty("")]
fn what_is_not_a_service_tag_file_is_refused(#[case] text: &str) {
    let mistakes = azure::read(text, &BTreeSet::new()).unwrap_err();
    assert_eq!(mistakes[0].1.what, "this is not Azure's service tag file");
}

#[test]
fn deep_nesting_is_refused_not_followed() {
    assert!(azure::read(&"[".repeat(1_000_000), &BTreeSet::new()).is_err());
    let ignored = format!("{{\"x\": {}", "[".repeat(1_000_000));
    assert!(azure::read(&ignored, &BTreeSet::new()).is_err());
}

#[test]
fn the_whole_of_azure_is_read() {
    let Some(text) = real("azure_ServiceTags_Public_2025-09.json") else { return };
    let wanted = ["AzureCloud", "Storage.WestEurope"].into();
    let tags = azure::read(&text, &wanted).unwrap();
    assert_eq!(tags.names.len(), 2_968);
    assert_eq!(tags.prefixes, 67_262 + 23_074);
    assert_eq!(tags.sets["AzureCloud"].len(), 12_209);
    assert!(tags.sets["AzureCloud"].iter().any(|prefix| matches!(prefix, IpNet::V6(_))));
    assert!(!tags.sets["Storage.WestEurope"].is_empty());
}

#[test]
fn the_whole_of_aws_is_read() {
    let Some(text) = real("aws-ip-ranges.json") else { return };
    let wanted = ["AMAZON", "AMAZON.eu-west-1", "S3", "S3.eu-west-1"].into();
    let tags = aws::read(&text, &wanted).unwrap();
    assert_eq!(tags.prefixes, 10_668 + 6_160);
    let sets = &tags.sets;
    for service in ["AMAZON", "S3"] {
        let (all, region) = (&sets[service], &sets[&format!("{service}.eu-west-1")]);
        assert!(!region.is_empty() && region.len() < all.len());
        assert!(region.iter().all(|prefix| all.contains(prefix)));
    }
}

/// The bound is for a debug build on a busy machine; a release build takes a tenth of it. Where
/// the clouds' own files are not there, the small samples stand in.
#[test]
fn a_policy_of_both_clouds_loads_in_time() {
    let data = workspace().join("../shared/data");
    let (folder, tags, ranges, azure, prefixes_min) = if data.join("aws-ip-ranges.json").exists() {
        let (tags, ranges) = ("azure_ServiceTags_Public_2025-09.json", "aws-ip-ranges.json");
        (data, tags, ranges, "AzureCloud", 10_000)
    } else {
        let samples = workspace().join("tests/fixtures/sources");
        (samples, "service-tags.json", "ip-ranges.json", "Storage", 3)
    };
    let folder = fs::canonicalize(folder).unwrap();
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("policy.toml");
    let policy = format!(
        "[perimeter]\nname = \"p\"\n[sources]\nservice_tags = \"{0}/{tags}\"\n\
         aws_ip_ranges = \"{0}/{ranges}\"\n[profile.a.outbound.clouds]\n\
         service_tags = [\"{azure}\", \"aws:AMAZON\"]\n",
        folder.display()
    );
    fs::write(&path, policy).unwrap();

    let start = Instant::now();
    let loaded = crate::policy::load(&path).unwrap();
    let elapsed = start.elapsed();
    println!("both clouds load in {elapsed:?}");
    assert!(elapsed.as_secs() < 10, "it took {elapsed:?}");
    let prefixes = &loaded.policy.profiles["a"].outbound["clouds"].prefixes;
    assert!(prefixes.len() >= prefixes_min, "only {} prefixes", prefixes.len());
    assert_eq!(loaded.sources.len(), 2);
}
