//! `nsp check`: every accepted and rejected policy through the whole binary.

use std::fs;

use super::{code, fixtures, nsp, stderr, stdout};

/// Policies of a kind: files, and folders that stand for one.
fn policies(kind: &str) -> Vec<String> {
    let mut found: Vec<String> = fs::read_dir(fixtures().join(kind))
        .expect("the fixtures are there")
        .map(|entry| entry.expect("a folder can be read").path())
        .filter(|path| path.extension().is_some_and(|it| it == "toml" || it == "d"))
        .map(|path| format!("{kind}/{}", path.file_name().expect("a name").to_string_lossy()))
        .collect();
    found.sort();
    assert!(found.len() > 5, "only {} {kind} policies", found.len());
    found
}

#[test]
fn accepted_policies_exit_zero_and_print_their_tables() {
    for policy in policies("accepted") {
        // Whatever this host's programs ask.
        let output = nsp(&["check", &policy, "--resolv-conf", "/dev/null", "--etc", "/dev/null"]);
        assert_eq!(code(&output), 0, "{policy}: {}", stderr(&output));
        let text = stdout(&output);
        assert!(text.starts_with("perimeter "), "{policy}: {text}");
        assert!(text.contains("  tables: "), "{policy}: {text}");
    }
}

#[test]
fn enforced_wildcard_is_refused_where_answers_cannot_be_seen() {
    let directory = tempfile::tempdir().expect("the temporary directory is writable");
    let file = |name: &str, text: &str| {
        let path = directory.path().join(name);
        fs::write(&path, text).expect("a file of ours");
        path.to_string_lossy().into_owned()
    };
    let text = "[perimeter]\nname = \"p\"\n[profile.job.outbound.shop]\nfqdns = [\"*.example.com\"]\n\
                [resource.host]\nhost = true\nprofile = \"job\"\naccess_mode = \"enforced\"\n";
    let stub = file("resolv.conf", "nameserver 127.0.0.1\n");
    let etc = directory.path().to_string_lossy().into_owned();
    let check = |policy: &str| nsp(&["check", policy, "--resolv-conf", &stub, "--etc", &etc]);

    let refused = check(&file("blind.toml", text));
    let said = stderr(&refused);
    assert_eq!(code(&refused), 1, "{said}");
    assert!(said.contains("blind.toml:3:"), "{said}");
    assert!(said.contains("`*.example.com` may admit nothing"), "{said}");
    assert!(said.contains("\ntry: [dns] resolvers"), "{said}");

    let accepted = format!("{text}[dns]\naccept_blind = true\n");
    let milder = [
        ("accepted.toml", accepted.as_str(), true),
        ("transition.toml", &text.replace("enforced", "transition"), false),
        ("exact.toml", &text.replace("*.", "www."), false),
    ];
    for (name, policy, is_warned) in milder {
        let output = check(&file(name, policy));
        assert_eq!(code(&output), 0, "{name}: {}", stderr(&output));
        assert_eq!(stderr(&output).contains("warning: `*."), is_warned, "{}", stderr(&output));
    }

    file("nsswitch.conf", "hosts: resolve dns\n");
    fs::create_dir(directory.path().join("systemd")).expect("a directory of ours");
    file("systemd/resolved.conf", "[Resolve]\nDNSOverTLS=yes\n");
    let told = format!("{text}[dns]\nresolvers = [\"192.0.2.53\"]\n");
    let said = stderr(&check(&file("told.toml", &told)));
    assert!(said.contains("DNS over TLS"), "{said}");
}

#[test]
fn rejected_policies_exit_one_and_say_file_line_and_why() {
    for policy in policies("rejected") {
        let output = nsp(&["check", &policy]);
        let text = stderr(&output);
        assert_eq!(code(&output), 1, "{policy}: {text}");
        assert!(stdout(&output).is_empty(), "{policy}: {}", stdout(&output));
        assert!(text.starts_with("nsp: "), "{policy}: {text}");
        // The file at fault: the policy, or a source that it names.
        assert!(text.contains("rejected/"), "{policy}: no file is named: {text}");
        for error in text.lines().filter(|line| line.starts_with("nsp: ")) {
            let placed = error.split(": ").nth(1).is_some_and(has_position);
            assert!(
                placed || OF_THE_WHOLE.iter().any(|it| error.contains(it)),
                "{policy}: {error}"
            );
        }
        assert!(text.contains("\ntry: "), "{policy}: no cure: {text}");
    }
}

/// What is wrong with a policy as a whole stands on no line.
const OF_THE_WHOLE: [&str; 2] = ["the policy is empty", "there is no [perimeter]"];

/// Whether it is `file:line:column`.
fn has_position(place: &str) -> bool {
    let mut numbers = place.rsplitn(3, ':').take(2).map(str::parse::<u32>);
    numbers.clone().count() == 2 && numbers.all(|it| it.is_ok_and(|it| it > 0))
}

#[test]
fn the_json_of_a_check_has_the_rules_and_what_they_admit() {
    let policy = policies("accepted").remove(0);
    let output = nsp(&["check", &policy, "--json"]);
    assert_eq!(code(&output), 0, "{}", stderr(&output));
    let json: serde_json::Value = serde_json::from_str(&stdout(&output)).expect("JSON");
    for key in ["digest", "rules", "outboundNotCovered", "prefixes", "classes", "bytes", "notes"] {
        assert!(!json[key].is_null(), "{key} is missing in {json}");
    }
}

#[test]
fn a_resource_by_port_alone_is_told_that_its_outbound_traffic_is_not_covered() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let path = folder.path().join("policy.toml");
    let text = "[perimeter]\nname = \"p\"\n[profile.web]\n[resource.web]\nports = [\"443/tcp\"]\n\
                profile = \"web\"\n[resource.unit]\nunit = \"nginx.service\"\nprofile = \"web\"\n";
    fs::write(&path, text).expect("a temporary file can be written");
    let output = nsp(&["check", path.to_str().expect("UTF-8")]);
    assert_eq!(code(&output), 0, "{}", stderr(&output));
    assert_eq!(stdout(&output).matches("outbound: NOT COVERED").count(), 1, "{}", stdout(&output));
}

#[test]
fn a_huge_file_is_refused_by_its_size_without_being_read() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let path = folder.path().join("policy.toml");
    let file = fs::File::create(&path).expect("a temporary file");
    file.set_len(1 << 30).expect("a sparse file");
    let started = std::time::Instant::now();
    let output = nsp(&["check", path.to_str().expect("UTF-8")]);
    assert_eq!(code(&output), 1, "{}", stderr(&output));
    assert!(started.elapsed().as_secs() < 2, "took {:?}", started.elapsed());
}

#[test]
fn a_missing_file_is_named() {
    let output = nsp(&["check", "no-such-policy.toml"]);
    assert_eq!(code(&output), 1);
    assert!(stderr(&output).contains("no-such-policy.toml"), "{}", stderr(&output));
}
