//! What NSP makes of the host, and of a policy, before it runs.

use super::Play;
use crate::demo::{Told, failure::Failure};

/// Lines of the first policy that are shown.
const LINES_SHOWN: usize = 22;

pub(super) fn run(it: &mut Play) -> Told {
    let screen = it.screen;
    let written = it.agent.home().path().join("first.toml");
    let path = written.display().to_string();
    it.init(&path)?;
    let first = std::fs::read_to_string(&written)
        .map_err(|error| Failure::Broken(format!("{path}: {error}")))?;
    screen.output(first.lines().take(LINES_SHOWN).chain(["…"]));
    let found = |port: &str| first.contains(&format!("\"{port}\""));
    screen.claim(
        found("5432/tcp") && found("8080/tcp") && found("5514/udp"),
        "it found the database, the published web site and the log collector",
    )?;
    let enforced = first.lines().any(|line| line.starts_with("access_mode = \"enforced\""));
    screen.claim(!enforced, "everything in it is in transition")?;
    let accepted = it.agent.nsp(&["check", &path]).status.success();
    screen.claim(accepted, "nsp check accepts it")?;

    screen.line("");
    screen.say("Filled in by hand, it becomes this policy:");
    let policy = it.texts.transition();
    screen.output(policy.lines());
    it.agent.write_policy(&policy);
    let text = it.show(&["check"], |_| true)?;
    let tagged = admitted(&text, "host/storage");
    screen.claim(
        tagged > 0,
        &if it.texts.real_tags {
            format!("two of Azure's own service tags are {tagged} prefixes to it")
        } else {
            format!("a service tag of the sample is {tagged} prefixes to it")
        },
    )
}

impl Play {
    fn init(&self, path: &str) -> Told {
        self.screen.command("nsp init -o first.toml");
        let output = self.agent.nsp(&["init", "-o", path, "--resolv-conf", "/dev/null"]);
        if output.status.success() {
            return Ok(());
        }
        let said = String::from_utf8_lossy(&output.stderr);
        Err(Failure::Broken(format!("nsp init: {}", said.trim_end())))
    }
}

/// Prefixes that `check` says a rule admits.
fn admitted(check: &str, rule: &str) -> usize {
    let line = check.lines().find_map(|line| line.split_once(&format!("rule {rule}: admits ")));
    let count = line.and_then(|(_, rest)| rest.split_whitespace().next());
    count.and_then(|count| count.replace(',', "").parse().ok()).unwrap_or(0)
}
