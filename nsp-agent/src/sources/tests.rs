use std::{fs, time::Instant};

use rstest::rstest;

use super::{mistakes::Mistake, *};
use crate::policy::model::PrefixSet;

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

/// The set of a name.
fn set(tags: &mut TagSets, name: &str) -> PrefixSet {
    tags.sets.remove(name).unwrap().finish().set
}

fn shown(set: &PrefixSet) -> Vec<String> {
    set.iter().map(|prefix| prefix.to_string()).collect()
}

/// What is wrong with a text, and where.
fn mistakes(read: Result<TagSets, Mistakes>) -> Vec<Mistake> {
    let Err(mistakes) = read else { panic!("it is accepted") };
    mistakes.into_parts().0
}

#[test]
fn only_the_wanted_tags_are_kept_and_all_are_known() {
    let text = fixture("service-tags.json");
    let mut tags = azure::read(text.as_bytes(), &["Storage.WestEurope"].into()).unwrap();
    assert_eq!(tags.sets.len(), 1);
    let expected = ["203.0.113.0/25", "2001:db8:2::/48"];
    assert_eq!(shown(&set(&mut tags, "Storage.WestEurope")), expected);
    assert!(tags.names.contains("Storage"));
    assert_eq!(tags.prefixes, 6);
}

#[rstest]
#[case::service("S3", &["192.0.2.0/25", "198.51.100.0/25", "2001:db8:3::/48"])]
#[case::region("S3.eu-west-1", &["192.0.2.0/25", "2001:db8:3::/48"])]
#[case::everything("AMAZON", &["192.0.2.0/24"])]
#[case::everything_in_a_region("AMAZON.eu-west-1", &["192.0.2.0/24"])]
fn aws_sets_are_by_service_and_region(#[case] name: &str, #[case] expected: &[&str]) {
    let mut tags = aws::read(fixture("ip-ranges.json").as_bytes(), &[name].into()).unwrap();
    assert_eq!(tags.sets.len(), 1);
    assert_eq!(shown(&set(&mut tags, name)), expected);
}

#[test]
fn every_bad_entry_of_a_vendor_file_is_found_where_it_stands_used_or_not() {
    let text = fixture("bad-service-tags.json");
    let mistakes = mistakes(azure::read(text.as_bytes(), &BTreeSet::new()));
    let found: Vec<_> = mistakes
        .iter()
        .map(|(place, refusal)| (&text[place.range(&text)], &*refusal.what))
        .collect();
    assert_eq!(
        found,
        [
            ("192.0.2.9/24", "bad prefix `192.0.2.9/24` of `Storage`"),
            ("10.0.0.0/33", "bad prefix `10.0.0.0/33` of `Sql`"),
        ]
    );
}

#[test]
fn a_bad_entry_with_escapes_is_found_by_its_end_and_its_set_may_be_named_behind_it() {
    let text = r#"{"values": [{"properties": {"addressPrefixes": ["192.0.2.0\/24", "10.1.0.0\/8"]}, "name": "A"}]}"#;
    let mistakes = mistakes(azure::read(text.as_bytes(), &BTreeSet::new()));
    let [(place, refusal)] = mistakes.as_slice() else { panic!("{mistakes:?}") };
    assert_eq!(refusal.what, "bad prefix `10.1.0.0/8` of `A`");
    assert_eq!(place.range(text).start, text.find("\"]}").unwrap());
}

/// What is wrong with a policy whose service tag file holds these bytes.
fn refused(tags: &[u8]) -> String {
    let directory = tempfile::tempdir().unwrap();
    fs::write(directory.path().join("tags.json"), tags).unwrap();
    let path = directory.path().join("policy.toml");
    let policy = "[perimeter]\nname = \"p\"\n[sources]\nservice_tags = \"tags.json\"\n";
    fs::write(&path, policy).unwrap();
    let errors = crate::policy::load(&path).unwrap_err().to_string();
    errors.replace(&format!("{}/", directory.path().display()), "")
}

#[test]
fn a_file_that_is_not_utf8_is_refused_also_where_nobody_looks() {
    // In a value that is passed over, behind what a part of the file is; the rest is right.
    let mut tags = format!("{{\"values\": [], {}\n \"x\": \"caf", " ".repeat(200_000)).into_bytes();
    tags.extend(b"\xe9\"}");
    let errors = refused(&tags);
    assert!(errors.starts_with("nsp: tags.json:2:11: the file is not UTF-8: "), "{errors}");
}

#[test]
fn of_very_many_bad_entries_some_are_shown_and_all_are_counted() {
    let entries = vec!["\"192.0.2.9/24\",\n"; 250].concat();
    let entries = entries.trim_end_matches(",\n");
    let text = format!(
        "{{\"values\": [{{\"name\": \"A\", \"properties\": {{\"addressPrefixes\": [\n{entries}]}}}}]}}"
    );
    let errors = refused(text.as_bytes());
    assert!(errors.contains("nsp: tags.json:2:2: bad prefix `192.0.2.9/24` of `A`"), "{errors}");
    assert_eq!(errors.matches("bad prefix").count(), 100);
    assert!(errors.ends_with("nsp: and 150 more errors"), "{errors}");
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
    let mistakes = mistakes(azure::read(text.as_bytes(), &BTreeSet::new()));
    assert_eq!(mistakes[0].1.what, "this is not Azure's service tag file");
}

#[test]
fn deep_nesting_is_refused_not_followed() {
    assert!(azure::read("[".repeat(1_000_000).as_bytes(), &BTreeSet::new()).is_err());
    let ignored = format!("{{\"x\": {}", "[".repeat(1_000_000));
    assert!(azure::read(ignored.as_bytes(), &BTreeSet::new()).is_err());
}

#[test]
fn the_whole_of_azure_is_read() {
    let Some(text) = real("azure_ServiceTags_Public_2025-09.json") else { return };
    let wanted = ["AzureCloud", "Storage.WestEurope"].into();
    let mut tags = azure::read(text.as_bytes(), &wanted).unwrap();
    assert_eq!(tags.names.len(), 2_968);
    assert_eq!(tags.prefixes, 67_262 + 23_074);
    assert_eq!(tags.sets["AzureCloud"].count(), 12_209);
    assert!(!set(&mut tags, "AzureCloud").v6().is_empty());
    assert!(!set(&mut tags, "Storage.WestEurope").is_empty());
}

#[test]
fn the_whole_of_aws_is_read() {
    let Some(text) = real("aws-ip-ranges.json") else { return };
    let wanted = ["AMAZON", "AMAZON.eu-west-1", "S3", "S3.eu-west-1"].into();
    let mut tags = aws::read(text.as_bytes(), &wanted).unwrap();
    assert_eq!(tags.prefixes, 10_668 + 6_160);
    for service in ["AMAZON", "S3"] {
        let region = format!("{service}.eu-west-1");
        assert!(tags.sets[&region].count() < tags.sets[service].count());
        let (all, region) = (set(&mut tags, service), set(&mut tags, &region));
        assert!(!region.is_empty() && region.len() < all.len());
        assert_eq!(PrefixSet::union(&[all.clone(), region]), all);
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
