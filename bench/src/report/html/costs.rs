//! What test runs say: programs by the number of prefixes, conversations, names.

use super::{
    super::{
        Row,
        plot::{self, Line, Point, short},
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

/// A figure for each thing that was measured: lines where there are several sizes, else bars.
fn by_size(rows: &[Row], cases: &[&str]) -> String {
    let of_cases = || rows.iter().filter(|row| cases.contains(&row.case));
    let mut figures = String::new();
    for (case, family, metric) in distinct(of_cases(), |row| (row.case, row.family, &row.metric)) {
        let same: Vec<_> = of_cases()
            .filter(|it| (it.case, it.family, &it.metric) == (case, family, metric))
            .collect();
        let title = title(case, family, metric);
        let sizes = distinct(same.iter().copied(), |row| row.size);
        if sizes.len() > 1 {
            let mut lines: Vec<_> = distinct(same.iter().copied(), |row| row.subject)
                .into_iter()
                .map(|subject| {
                    line(subject, same.iter().copied().filter(|it| it.subject == subject))
                })
                .collect();
            for bound in ["parse", "noop"] {
                let is_wanted = bound == "noop" || case != "lookup";
                let of =
                    |it: &&Row| it.case == bound && it.family == family && sizes.contains(&it.size);
                let is_hit = |it: &&Row| it.metric == "hit";
                if is_wanted {
                    lines.push(line(bound, rows.iter().filter(of).filter(is_hit)));
                }
            }
            lines.retain(|line| line.points.len() > 1);
            figures += &figure(&title, &plot::lines(&lines, "ns"));
        } else {
            let nsp = same.iter().copied().find(|row| row.subject == "nsp");
            let bars: Vec<_> = same
                .iter()
                .map(|row| bar(rows, row, nsp, &format!("{:.0} ns", row.median)))
                .collect();
            let title = format!("{title}, {} prefixes", short(sizes[0] as f64));
            figures += &figure(&title, &plot::bars(&bars));
        }
    }
    figures
}

fn title(case: &str, family: &str, metric: &str) -> String {
    let family = if family == "v4" { "IPv4" } else { "IPv6" };
    let what = match case {
        "lookup" => "",
        "denied_hit" => "denied, listed for another port: ",
        _ => "denied, not listed: ",
    };
    let metric = metric
        .replace("hit", "listed addresses")
        .replace("miss", "addresses that are not listed")
        .replace("zipf", "listed, few with most of the traffic")
        .replace("dependent", "each awaits the one before");
    format!("{family}, {what}{metric}")
}

fn line<'a>(subject: &str, rows: impl Iterator<Item = &'a Row>) -> Line {
    let mut points: Vec<_> = rows
        .map(|row| Point { size: row.size as f64, value: row.median, spread: (row.p10, row.p90) })
        .collect();
    points.sort_by(|one, other| one.size.total_cmp(&other.size));
    Line {
        label: subject.to_owned(),
        points,
        class: if subject == "parse" { "bound" } else { class(subject) },
    }
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
