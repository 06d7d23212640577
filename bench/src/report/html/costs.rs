//! What test runs say: programs by the number of prefixes, conversations, names.

use super::{
    super::{
        Row,
        plot::{self, Bar, Line, Point, short},
    },
    bar, class, distinct, figure, grid, section,
};

/// The look-up of an address alone.
pub(super) fn lookups(rows: &[Row]) -> String {
    section(
        "The look-up of an address",
        "ns a packet by test runs whose frames come from ever other sources; the program does nothing but \
         look the source up. “noop” is what the harness takes.",
        &grid(&by_size(rows, &["lookup"])),
    )
}

/// The whole program.
pub(super) fn denied(rows: &[Row]) -> String {
    section(
        "A packet that is denied, from its headers to its count",
        "ns a packet of the whole program, counting and recording included. “parse” reads the headers and no \
         more.",
        &grid(&by_size(rows, &["denied_hit", "denied_miss"])),
    )
}

/// A figure for each thing that was measured at several sizes, with lines; and one of each case and family with
/// bars for what was measured at one.
fn by_size(rows: &[Row], cases: &[&str]) -> String {
    let of_cases = || rows.iter().filter(|row| cases.contains(&row.case));
    let mut figures = String::new();
    for (case, family) in distinct(of_cases(), |row| (row.case, row.family)) {
        let same: Vec<_> = of_cases().filter(|it| (it.case, it.family) == (case, family)).collect();
        let mut bars = Vec::new();
        for metric in distinct(same.iter().copied(), |row| &row.metric) {
            let same: Vec<_> = same.iter().copied().filter(|row| &row.metric == metric).collect();
            if distinct(same.iter().copied(), |row| row.size).len() > 1 {
                let lines = by_subject(rows, &same);
                figures += &figure(&title(case, family, metric), &plot::lines(&lines, "ns"));
                continue;
            }
            let nsp = same.iter().copied().find(|row| row.subject == "nsp");
            bars.extend(same.iter().map(|row| {
                let label =
                    format!("{}, {}: {}", metric_of(metric), short(row.size as f64), row.subject);
                Bar { label, ..bar(rows, row, nsp, &format!("{:.0} ns", row.median)) }
            }));
        }
        if !bars.is_empty() {
            figures += &figure(&title(case, family, ""), &plot::bars(&bars));
        }
    }
    figures
}

/// A line a subject, and what the harness takes, and reading the headers beside what does more than that.
fn by_subject(rows: &[Row], same: &[&Row]) -> Vec<Line> {
    let of = |subject| same.iter().copied().filter(move |it| it.subject == subject);
    let subjects = distinct(same.iter().copied(), |row| row.subject);
    let mut lines: Vec<_> =
        subjects.into_iter().map(|subject| line(subject, of(subject))).collect();
    for bound in if same[0].case == "lookup" { &["noop"][..] } else { &["parse", "noop"] } {
        let belongs = |it: &&Row| {
            (it.case, it.family, &*it.metric) == (bound, same[0].family, "hit")
                && same.iter().any(|row| row.size == it.size)
        };
        lines.push(line(bound, rows.iter().filter(belongs)));
    }
    lines.retain(|line| line.points.len() > 1);
    lines
}

fn title(case: &str, family: &str, metric: &str) -> String {
    let family = if family == "v4" { "IPv4" } else { "IPv6" };
    let parts = match (case, metric) {
        ("lookup", "") => vec![family],
        ("lookup", _) => vec![family, metric_of(metric)],
        ("denied_hit", "" | "hit") => vec![family, "listed for another port"],
        ("denied_hit", _) => vec![family, "listed for another port", metric_of(metric)],
        _ => vec![family, "not listed"],
    };
    parts.join(", ")
}

/// A metric of the packet case in words.
fn metric_of(metric: &str) -> &str {
    match metric {
        "hit" => "listed addresses",
        "hit, dependent" => "listed addresses, each awaits the one before",
        "miss" => "addresses that are not listed",
        "zipf" => "few have most of the traffic",
        "real table, hit" => "real table",
        "real table, hit, dependent" => "real table, each awaits the one before",
        "real table, miss" => "real table, not listed",
        "real table, zipf" => "real table, few have most of the traffic",
        _ => metric,
    }
}

fn line<'a>(subject: &str, rows: impl Iterator<Item = &'a Row>) -> Line {
    let mut points: Vec<_> = rows
        .map(|row| Point { size: row.size as f64, value: row.median, spread: (row.p10, row.p90) })
        .collect();
    points.sort_by(|one, other| one.size.total_cmp(&other.size));
    Line { label: subject.to_owned(), points, class: class(subject) }
}

/// Packets of conversations, and those that open them.
pub(super) fn flows(rows: &[Row]) -> String {
    let mut figures = String::new();
    let of = |case: &'static str| rows.iter().filter(move |row| row.case == case);
    for metric in distinct(of("established"), |row| &row.metric) {
        let same: Vec<_> = of("established").filter(|row| &row.metric == metric).collect();
        let hash = same.iter().find(|row| row.subject == "hash");
        let bars: Vec<_> = same
            .iter()
            .map(|row| {
                let times =
                    hash.filter(|_| row.subject != "hash").map_or_else(String::new, |hash| {
                        format!(" · ×{:.1} of one look-up", super::compare::ratio(rows, row, hash))
                    });
                bar(rows, row, None, &format!("{:.0} ns{times}", row.median))
            })
            .collect();
        figures += &figure(
            &format!("A segment of one of 1,000,000 conversations, {metric}"),
            &plot::bars(&bars),
        );
    }
    figures +=
        &by_metric(rows, "new_flow", "A packet of a new conversation, on top of the million");
    section(
        "Conversations",
        "ns a packet by test runs. “hash” is a program that looks the same keys up in a hash table of a \
         million, and does nothing else. The lighter part of a bar is the harness's.",
        &grid(&figures),
    )
}

/// Questions and answers of DNS.
pub(super) fn names(rows: &[Row]) -> String {
    let sizes = distinct(rows.iter().filter(|row| row.case == "dns"), |row| row.size);
    let figures: String = sizes
        .iter()
        .map(|size| {
            let of_size: Vec<_> = rows.iter().filter(|row| row.size == *size).cloned().collect();
            by_metric(&of_size, "dns", &format!("{} names in the policy", short(*size as f64)))
        })
        .collect();
    section(
        "DNS",
        "ns a packet, one a run: a question that goes out is remembered, and an answer that comes in teaches \
         its addresses. The lighter part of a bar is the harness's.",
        &grid(&figures),
    )
}

/// One bar a metric, and subject where there are several.
fn by_metric(rows: &[Row], case: &str, title: &str) -> String {
    let same: Vec<_> = rows.iter().filter(|row| row.case == case).collect();
    if same.is_empty() {
        return String::new();
    }
    let is_one = distinct(same.iter().copied(), |row| row.subject).len() == 1;
    let bars: Vec<_> = same
        .iter()
        .map(|row| {
            let mut bar = bar(rows, row, None, &format!("{:.0} ns", row.median));
            bar.label.clone_from(&row.metric);
            if !is_one {
                bar.label = format!("{}, {}", row.metric, row.subject);
            }
            bar
        })
        .collect();
    figure(title, &plot::bars(&bars))
}
