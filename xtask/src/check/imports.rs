//! Libraries stay behind the module that owns them, so that replacing one touches little.

use anyhow::Result;

use super::source::{self, has_word};
use super::{Context, verdict};

/// Where a library may be named.
struct Rule {
    /// Forms in which code names it.
    needles: &'static [&'static str],
    /// The part of the tree the rule is about.
    within: &'static str,
    /// Beginnings of paths where it is at home.
    home: &'static [&'static str],
    /// Allowed elsewhere when the line, or one of the three above, has this.
    unless: Option<&'static str>,
}

const RULES: [Rule; 3] = [
    Rule {
        needles: &["aya::", "use aya;", "aya_obj::", "aya_log::"],
        within: "",
        home: &[
            "nsp-agent/src/datapath.rs",
            "nsp-agent/src/datapath/",
            "nsp-ebpf/",
            "tests/",
            "bench/",
        ],
        unless: Some("feature = \"user\""),
    },
    Rule {
        needles: &["hickory_resolver", "hickory_proto", "hickory_net"],
        within: "",
        home: &[
            "nsp-agent/src/names/resolver.rs",
            "nsp-agent/src/names/resolver/",
            // What the reader of the kernel programs is held against.
            "tests/src/messages/reference.rs",
        ],
        unless: None,
    },
    Rule {
        needles: &["anyhow"],
        within: "nsp-agent/src/",
        home: &["nsp-agent/src/main.rs", "nsp-agent/src/cli.rs", "nsp-agent/src/cli/"],
        unless: None,
    },
];

/// Looks for the names in code, not in comments.
pub(crate) fn run(context: &Context) -> Result<()> {
    let mut findings = Vec::new();
    for file in context.tree.ending(".rs") {
        for rule in applying(&file.path) {
            findings.extend(violations(&file.text, rule).into_iter().map(|(line, needle)| {
                format!("{}:{line}: {needle} belongs in {}", file.path, rule.home.join(", "))
            }));
        }
    }
    verdict(&findings)
}

fn applying(path: &str) -> impl Iterator<Item = &'static Rule> {
    RULES.iter().filter(move |Rule { needles: _, within, home, unless: _ }| {
        path.starts_with(within) && !home.iter().any(|it| path.starts_with(it))
    })
}

/// Line numbers and names that break the rule.
fn violations(text: &str, rule: &Rule) -> Vec<(usize, &'static str)> {
    let Rule { needles, within: _, home: _, unless } = rule;
    let code = source::code(text);
    let lines: Vec<&str> = text.lines().collect();
    let mut found = Vec::new();
    for (index, line) in code.lines().enumerate() {
        let Some(needle) = needles.iter().find(|needle| has_word(line, needle)) else { continue };
        let near = &lines[index.saturating_sub(3)..=index];
        let excused = unless.is_some_and(|word| near.iter().any(|line| line.contains(word)));
        if !excused {
            found.push((index + 1, *needle));
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn aya_is_excused_behind_the_user_feature_only() {
        let [aya, ..] = &RULES;
        assert_eq!(violations("use aya::Pod;\n", aya), [(1, "aya::")]);
        let gated =
            "#[cfg(feature = \"user\")]\n// SAFETY: no padding.\nunsafe impl aya::Pod for X {}\n";
        assert_eq!(violations(gated, aya), []);
        assert_eq!(violations("/// See aya::Pod.\nuse aya_ebpf::maps;\n", aya), []);
    }

    #[test]
    fn rules_end_at_home() {
        assert_eq!(applying("nsp-agent/src/datapath/load.rs").count(), 2);
        assert_eq!(applying("nsp-agent/src/cli/run.rs").count(), 2);
        assert_eq!(applying("xtask/src/main.rs").count(), 2);
    }
}
