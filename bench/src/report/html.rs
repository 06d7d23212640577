//! The page: what was measured, to look at rather than to read. One file, nothing from elsewhere.

mod about;
mod costs;
mod loads;
mod targets;
mod traffic;

use super::{
    Report, Row, compare,
    plot::{Bar, escaped},
};

const STYLE: &str = include_str!("style.css");

/// All of it.
pub(super) fn page(report: &Report) -> String {
    let rows = &report.rows;
    let parts = [
        targets::section(rows),
        about::losses(rows),
        costs::lookups(rows),
        costs::denied(rows),
        costs::flows(rows),
        loads::flood(rows),
        loads::load(rows),
        loads::swap(rows),
        loads::memory(rows),
        traffic::section(rows),
        costs::names(rows),
        about::machine(report),
        about::all(rows),
    ];
    let how = if report.quick { "a quick run: few samples" } else { "a full run" };
    let processor = report.machine.facts.first().map_or("", |(_, fact)| fact);
    format!(
        "<!doctype html><html lang=\"en\"><meta charset=\"utf-8\">\
         <meta name=\"viewport\" content=\"width=device-width,initial-scale=1\">\
         <title>NSP beside its peers</title><style>{STYLE}</style>\
         <main><header><h1>NSP beside its peers</h1><p>{} · {how}, {:.0} s · medians, with the middle eight \
         tenths of the samples as a thin line or band</p></header>{}</main></html>\n",
        escaped(processor),
        report.begun.elapsed().as_secs_f64(),
        parts.concat()
    )
}

/// A heading, a line of text, and what is below it; nothing when there is nothing.
fn section(title: &str, text: &str, body: &str) -> String {
    if body.is_empty() {
        return String::new();
    }
    format!("<section><h2>{}</h2><p>{}</p>{body}</section>", escaped(title), escaped(text))
}

/// A drawing with its name.
fn figure(title: &str, svg: &str) -> String {
    format!("<figure><figcaption>{}</figcaption>{svg}</figure>", escaped(title))
}

/// Figures beside each other, as many as fit.
fn grid(figures: &str) -> String {
    if figures.is_empty() { String::new() } else { format!("<div class=\"grid\">{figures}</div>") }
}

/// How a subject is drawn.
fn class(subject: &str) -> &'static str {
    match subject {
        _ if subject.starts_with("nsp") && subject != "nsp-lpm-trie" => "nsp",
        "drop" | "none" | "hash" | "noop" | "parse" => "bound",
        _ => "peer",
    }
}

/// A row as a bar, with how many times as much it needs as nsp.
fn bar(all: &[Row], row: &Row, nsp: Option<&Row>, said: &str) -> Bar {
    let times = match nsp {
        Some(nsp) if row.subject != "nsp" => format!(" · ×{:.1}", compare::ratio(all, row, nsp)),
        _ => String::new(),
    };
    Bar {
        label: row.subject.to_owned(),
        value: row.median,
        floor: compare::floor(all, row),
        spread: (row.p10, row.p90),
        said: format!("{said}{times}"),
        class: class(row.subject),
    }
}

/// What some rows have in common, each once, in the order they come.
fn distinct<'a, T: PartialEq>(
    rows: impl IntoIterator<Item = &'a Row>,
    of: impl Fn(&'a Row) -> T,
) -> Vec<T> {
    let mut seen = Vec::new();
    for row in rows {
        let one = of(row);
        if !seen.contains(&one) {
            seen.push(one);
        }
    }
    seen
}

/// Three digits that say something.
fn number(value: f64) -> String {
    match value.abs() {
        100.0.. => format!("{value:.0}"),
        10.0.. => format!("{value:.1}"),
        _ => format!("{value:.2}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sample::Samples;

    /// A report with a row of everything that is drawn.
    fn report() -> Report {
        let mut report = Report::new(true);
        report.note("a < b");
        let mut add = |case, subject, size, family, metric: &str, unit, value: f64| {
            let samples = Samples::one(value);
            report.rows.push(Row::of(case, subject, size, family, metric, unit, &samples));
        };
        for size in [10, 1_000_000] {
            add("noop", "none", size, "v4", "hit", "ns/packet", 20.0);
            add("parse", "none", size, "v4", "hit", "ns/packet", 40.0);
            for subject in ["nsp", "nsp-lpm-trie"] {
                add("lookup", subject, size, "v4", "hit", "ns/packet", 100.0);
                add("denied_hit", subject, size, "v4", "hit", "ns/packet", 200.0);
                add("swap", subject, size, "v4", "under a flood", "ms", 10.0);
            }
            add("memory", "nsp", size, "v4", "kernel memory", "bytes/prefix", 4.0);
        }
        for subject in ["nsp", "nsp-lpm-trie"] {
            add("lookup", subject, 27_693, "v6", "real table, hit", "ns/packet", 90.0);
        }
        for subject in ["nsp", "hash"] {
            add("established", subject, 1_000_000, "v4", "64 peers", "ns/packet", 90.0);
        }
        add("new_flow", "nsp", 1_000_000, "v4", "SYN comes, by its rule", "ns/packet", 900.0);
        add("dns", "nsp", 10_000, "v4", "question", "ns/packet", 900.0);
        for subject in ["nsp", "nft-ingress", "drop"] {
            add("flood", subject, 100_000, "v4", "outside, open port", "ns/packet", 500.0);
            add("load", subject, 100_000, "v4", "file to in force", "ms", 500.0);
        }
        for subject in ["nsp", "none"] {
            add("throughput", subject, 10_000, "v4", "in", "Gbit/s", 20.0);
        }
        for metric in ["in, of none", "in, of none, lower 95 %", "in, of none, upper 95 %"] {
            add("throughput", "nsp", 10_000, "v4", &format!("{metric}, few pairs"), "%", 99.0);
        }
        report
    }

    #[test]
    fn everything_is_drawn_and_what_is_opened_is_closed() {
        let page = page(&report());
        let titles = [
            "Targets: ",
            "The look-up of an address",
            "A packet that is denied",
            "Conversations",
            "A packet in a flood",
            "From a file to its being in force",
            "From a compiled policy",
            "Memory, by number of prefixes",
            "What is let through",
            "DNS",
            "This machine",
            "Every row",
        ];
        for title in titles {
            assert!(page.contains(title), "{title}");
        }
        for tag in ["section", "figure", "svg", "g", "ul", "li", "table", "div", "text", "details"]
        {
            let count = |start: &str| page.matches(start).count();
            let opened = count(&format!("<{tag}>")) + count(&format!("<{tag} "));
            assert_eq!(opened, count(&format!("</{tag}>")), "{tag}");
            assert!(opened > 0, "{tag}");
        }
        assert!(page.contains("a &lt; b"));
        for none in ["NaN", "\"inf", ">inf"] {
            assert!(!page.contains(none), "{none}");
        }
    }
}
