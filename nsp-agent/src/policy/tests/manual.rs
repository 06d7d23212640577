//! The manual says nothing that does not work.

use std::{fs, path::Path};

use super::load;

fn manual() -> String {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/policy.md");
    fs::read_to_string(path).expect("the manual is there")
}

/// The contents of the fences of one kind.
fn fences(text: &str, kind: &str) -> Vec<String> {
    let opening = format!("```{kind}\n");
    let rest = text.split(opening.as_str()).skip(1);
    rest.map(|rest| rest.split("```").next().unwrap_or_default().to_owned()).collect()
}

#[test]
fn every_example_of_the_manual_loads() {
    let sources = Path::new(env!("CARGO_MANIFEST_DIR")).join("../tests/fixtures/sources");
    let directory = tempfile::tempdir().unwrap();
    for (name, fixture) in [
        ("ServiceTags_Public.json", "service-tags.json"),
        ("ip-ranges.json", "ip-ranges.json"),
        ("offices.txt", "offices.txt"),
    ] {
        fs::copy(sources.join(fixture), directory.path().join(name)).unwrap();
    }
    let examples = fences(&manual(), "toml");
    assert!(examples.len() >= 5, "only {} examples were found", examples.len());
    for example in examples {
        let path = directory.path().join("policy.toml");
        // An example of one table needs a perimeter around it.
        let whole = if example.contains("[perimeter]") {
            example.clone()
        } else {
            format!("{example}\n[perimeter]\nname = \"example\"\n")
        };
        fs::write(&path, &whole).unwrap();
        if let Err(errors) = load(&path) {
            panic!("{example}\n{errors}");
        }
    }
}

#[test]
fn every_key_of_the_format_is_in_the_manual() {
    let manual = manual();
    // The keys are taken from the errors that list them, so that a new one cannot be forgotten.
    let wrong = "[x]\n[perimeter]\nname = \"p\"\nx = 1\n[sources]\nx = 1\n[private]\nx = 1\n\
                 prefixes = []\n[dns]\nx = 1\n[logging]\nx = 1\n[defaults]\nx = 1\n[profile.a]\n\
                 x = 1\n[profile.a.inbound.r]\nx = 1\n[resource.r]\nx = 1\n[member.m]\nx = 1\n";
    let errors = super::load_text(wrong).unwrap_err();
    let mut keys = 0;
    for error in errors.errors {
        for key in
            error.why.strip_prefix("it has the keys ").into_iter().flat_map(|k| k.split(", "))
        {
            keys += 1;
            let written = [format!("`{key}`"), format!("`[{key}]`"), format!("`[{key}.")];
            assert!(written.iter().any(|key| manual.contains(key)), "`{key}` is not described");
        }
    }
    assert!(keys >= 45, "only {keys} keys were found");
}
