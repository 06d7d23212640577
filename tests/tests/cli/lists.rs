//! `nsp check` of long lists: a routing table of the internet, and a cloud's file of service tags. Where the
//! shared data is not there, small samples stand for them.

use std::{
    fmt::Write as _,
    fs,
    path::{Path, PathBuf},
    process::Command,
};

use ipnet::IpNet;
use nsp_tests::{
    agent::nsp_binary,
    data::{shared_file, workspace},
    measured::{Measured, measured},
    prefix_lists::{policy, real_table},
};
use serde_json::Value;

use super::clear_environment;

/// Bytes that a prefix of a list may take, in all phases and their tables together. It takes 40 where every
/// rule has a list of its own.
const BYTES_A_PREFIX: u64 = 64;
/// By so much two runs of the same may differ, or two small policies.
const NOISE_BYTES: u64 = 4 << 20;
/// What a file of tags may take, however long it is. It takes half of that.
const BYTES_OF_TAGS: u64 = 6 << 20;

/// What `nsp check` says of a policy, and what it took.
fn check(policy: &Path) -> (Value, Measured) {
    let mut command = Command::new(nsp_binary());
    clear_environment(&mut command);
    command.arg("check").arg(policy).args(["--json", "--resolv-conf", "/dev/null"]);
    let measured = measured(command.args(["--etc", "/dev/null"]));
    assert!(measured.status.success(), "{}", measured.stderr);
    let said = serde_json::from_str(&measured.stdout).expect("JSON");
    eprintln!("{}: {:?}, {} KiB", policy.display(), measured.took, measured.peak_bytes >> 10);
    (said, measured)
}

/// What a policy takes that says next to nothing.
fn least(folder: &Path) -> u64 {
    let path = folder.join("least.toml");
    fs::write(&path, policy(0)).expect("a folder of ours");
    check(&path).1.peak_bytes
}

/// Prefixes, none inside of another, and how many addresses of each family they have.
fn admitted(mut prefixes: Vec<IpNet>) -> (usize, u128, u128) {
    prefixes.sort_unstable();
    let (mut count, mut addresses) = (0, [0_u128; 2]);
    let mut last: Option<IpNet> = None;
    for prefix in prefixes {
        if last.is_some_and(|last| last.contains(&prefix)) {
            continue;
        }
        let host_bits = prefix.max_prefix_len() - prefix.prefix_len();
        addresses[usize::from(matches!(prefix, IpNet::V6(_)))] += 1 << host_bits;
        (count, last) = (count + 1, Some(prefix));
    }
    (count, addresses[0], addresses[1])
}

#[test]
fn a_routing_table_is_read_whole_in_bounded_memory() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let least = least(folder.path());
    let table = real_table();
    for files in [1, 64] {
        let mut texts = vec![String::new(); files];
        let mut lists = vec![Vec::new(); files];
        for (prefix, origin) in &table {
            // That of the whole internet is no prefix of a list.
            if prefix.prefix_len() > 0 {
                let at = *origin as usize % files;
                lists[at].push(*prefix);
                writeln!(texts[at], "{prefix}").expect("a string");
            }
        }
        for (at, text) in texts.iter().enumerate() {
            fs::write(folder.path().join(format!("list-{at}.txt")), text)
                .expect("a folder of ours");
        }
        let path = folder.path().join("policy.toml");
        fs::write(&path, policy(files)).expect("a folder of ours");

        let (said, Measured { peak_bytes, .. }) = check(&path);
        let rules = said["rules"].as_array().expect("rules");
        assert_eq!(rules.len(), files);
        for rule in rules {
            let at = rule["rule"].as_str().and_then(|it| it.rsplit_once('-')).expect("a list's").1;
            let (count, v4, v6) = admitted(lists[at.parse::<usize>().expect("its number")].clone());
            assert_eq!(rule["prefixes"], count, "{rule}");
            assert_eq!(rule["addressesV4"], v4.to_string(), "{rule}");
            assert_eq!(rule["addressesV6"], v6.to_string(), "{rule}");
        }
        let bound = least + NOISE_BYTES + table.len() as u64 * BYTES_A_PREFIX;
        assert!(peak_bytes < bound, "{peak_bytes} bytes, {bound} were allowed");
    }
}

/// Azure's file, and one with all its tags many times over.
fn service_tags(folder: &Path) -> [PathBuf; 2] {
    let sample = || workspace().join("tests/fixtures/sources/service-tags.json");
    let real = shared_file("azure_ServiceTags_Public_2025-09.json").unwrap_or_else(sample);
    let text = fs::read_to_string(&real).expect("it is there");
    let (start, end) = (text.find('[').expect("a list"), text.rfind(']').expect("its end"));
    let (before, tags, behind) = (&text[..=start], &text[start + 1..end], &text[end..]);
    let copies = (24 << 20) / tags.len();
    let long = folder.join("long.json");
    let all = vec![tags; copies].join(",");
    fs::write(&long, format!("{before}{all}{behind}")).expect("a folder of ours");
    [real, long]
}

#[test]
fn a_file_of_service_tags_is_not_kept_whole() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let least = least(folder.path());
    let checked = service_tags(folder.path()).map(|file| {
        let path = folder.path().join("policy.toml");
        let text = format!(
            "[perimeter]\nname = \"tags\"\n[sources]\nservice_tags = {file:?}\n\
             [profile.web.inbound.tags]\nservice_tags = [\"Storage\", \"Storage.WestEurope\"]\n\
             [resource.web]\nports = [\"443/tcp\"]\nprofile = \"web\"\n"
        );
        fs::write(&path, text).expect("a folder of ours");
        let (said, Measured { peak_bytes, .. }) = check(&path);
        let bound = least + BYTES_OF_TAGS;
        assert!(peak_bytes < bound, "{peak_bytes} bytes, {bound} were allowed");
        said["rules"].clone()
    });
    // What is listed often is admitted once.
    assert_eq!(checked[0], checked[1]);
    assert_ne!(checked[0][0]["addressesV4"], "0");
    assert_ne!(checked[0][0]["addressesV6"], "0");
}
