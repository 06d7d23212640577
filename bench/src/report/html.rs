//! The page: what was measured, to look at rather than to read. One file, nothing from elsewhere.

use std::fmt::Write as _;

use super::{
    Report, Row,
    compare::{self, Comparison},
    machine,
    plot::{self, Bar, Line, escaped, short},
    target::{Judged, TARGETS},
};

const STYLE: &str = include_str!("style.css");

/// All of it.
pub(super) fn page(report: &Report) -> String {
    let rows = &report.rows;
    let parts = [
        targets(rows),
        flood(rows),
        costs(rows),
        load(rows),
        memory(rows),
        losses(rows),
        about(report),
        all(rows),
    ];
    let how = if report.quick { "a quick run: few samples" } else { "a full run" };
    let processor = report.machine.facts.first().map_or("", |(_, fact)| fact);
    format!(
        "<!doctype html><html lang=\"en\"><meta charset=\"utf-8\">\
         <meta name=\"viewport\" content=\"width=device-width,initial-scale=1\">\
         <title>NSP beside its peers</title><style>{STYLE}</style>\
         <main><header><h1>NSP beside its peers</h1><p>{} · {how} · medians, with the middle eight tenths \
         of the samples as a thin line or band</p></header>{}</main></html>\n",
        escaped(processor),
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

fn targets(rows: &[Row]) -> String {
    let mut tiles = String::new();
    for judged in TARGETS.iter().map(|target| target.judged(rows)) {
        let (Some(is_met), Judged { target, result: Some((value, unit)) }) =
            (judged.is_met(), &judged)
        else {
            continue;
        };
        let (class, word) = if is_met { ("met", "met") } else { ("missed", "missed") };
        let _written = write!(
            tiles,
            "<li class=\"{class}\"><b>{value:.1}</b> <i>{}</i><span>{}</span><em>{}: {word}</em></li>",
            escaped(unit),
            escaped(target.what),
            judged.aim(),
        );
    }
    if tiles.is_empty() { tiles } else { format!("<ul class=\"targets\">{tiles}</ul>") }
}

fn flood(rows: &[Row]) -> String {
    let mut body = String::new();
    for group in Group::of(rows.iter().filter(|row| row.case == "flood")) {
        let title = format!("{} prefixes, sources {}", short(group.size as f64), group.metric);
        let speed = |row: &Row| format!("{:.0} ns · {:.1} M/s", row.median, 1000.0 / row.median);
        body += &figure(&title, &plot::bars(&group.bars(rows, speed)));
    }
    section(
        "A packet in a flood, until it is dropped",
        "One processor, frames put into the receive path as a driver does, sources at random. “drop” is a \
         program that looks at nothing: the most that this injector can show. “none” is no filter at all: the \
         stack finds no socket. Behind each: how many times as much as nsp.",
        &grid(&body),
    )
}

fn load(rows: &[Row]) -> String {
    let mut body = String::new();
    for group in Group::of(rows.iter().filter(|row| row.case == "load")) {
        let title = format!("{} prefixes", short(group.size as f64));
        let time = |row: &Row| format!("{:.0} ms", row.median);
        body += &figure(&title, &plot::bars(&group.bars(rows, time)));
    }
    section(
        "From a file to its being in force",
        "nsp apply on a running agent, nft -f and ipset restore into nothing; from the start of the command \
         to its end.",
        &grid(&body),
    )
}

/// Lines for everything that was measured by test runs at several sizes.
fn costs(rows: &[Row]) -> String {
    let is_cost =
        |row: &&Row| row.unit == "ns/packet" && !matches!(row.case, "flood" | "noop" | "parse");
    let mut seen: Vec<(&str, &str, &str)> = Vec::new();
    let mut body = String::new();
    for row in rows.iter().filter(is_cost) {
        let key = (row.case, row.family, row.metric.as_str());
        if seen.contains(&key) {
            continue;
        }
        seen.push(key);
        let same = |it: &&Row| (it.case, it.family, it.metric.as_str()) == key;
        let mut lines = Vec::new();
        for subject in subjects(rows.iter().filter(same)) {
            lines.push(line(subject, rows.iter().filter(same).filter(|it| it.subject == subject)));
        }
        let floor = rows.iter().filter(|it| it.case == "noop" && it.family == row.family);
        lines.push(Line { class: "bound", ..line("noop", floor) });
        if lines.iter().all(|line| line.points.len() < 2) {
            continue;
        }
        lines.retain(|line| !line.points.is_empty());
        let title = format!("{} {}, {}", row.case.replace('_', " "), row.family, row.metric);
        body += &figure(&title, &plot::lines(&lines));
    }
    section(
        "What the program costs, by number of prefixes",
        "ns a packet by test runs whose frames come from ever other sources. “noop” is what the harness \
         takes.",
        &grid(&body),
    )
}

fn line<'a>(subject: &str, rows: impl Iterator<Item = &'a Row>) -> Line {
    let mut points: Vec<_> =
        rows.map(|row| (row.size as f64, row.median, (row.p10, row.p90))).collect();
    points.sort_by(|one, other| one.0.total_cmp(&other.0));
    Line { label: subject.to_owned(), points, class: class(subject) }
}

fn memory(rows: &[Row]) -> String {
    let of: Vec<_> = rows.iter().filter(|row| row.case == "memory").collect();
    let mut sizes: Vec<u64> = of.iter().map(|row| row.size).collect();
    sizes.sort_unstable();
    sizes.dedup();
    if sizes.is_empty() {
        return String::new();
    }
    let mut table = String::from("<table><tr><th>subject</th><th></th>");
    for size in &sizes {
        let _written = write!(table, "<th>{}</th>", short(*size as f64));
    }
    table.push_str("</tr>");
    let mut seen: Vec<(&str, &str, &str)> = Vec::new();
    for row in &of {
        let key = (row.subject, row.metric.as_str(), row.unit);
        if seen.contains(&key) {
            continue;
        }
        seen.push(key);
        let _written = write!(
            table,
            "<tr class=\"{}\"><td>{}</td><td>{}, {}</td>",
            class(row.subject),
            row.subject,
            escaped(&row.metric),
            row.unit
        );
        for size in &sizes {
            let found = of
                .iter()
                .find(|it| (it.subject, it.metric.as_str(), it.unit) == key && it.size == *size);
            let value = found.map_or_else(String::new, |it| number(it.median));
            let _written = write!(table, "<td class=\"number\">{value}</td>");
        }
        table.push_str("</tr>");
    }
    section(
        "Memory, by number of prefixes",
        "Kernel memory of nsp and of its trie is of two generations, as there are after any change; that of \
         the others of one set.",
        &(table + "</table>"),
    )
}

fn losses(rows: &[Row]) -> String {
    let compared = compare::all(rows);
    let lost: Vec<_> = compared.iter().flat_map(Comparison::lost).collect();
    let items: String = lost.iter().map(|it| format!("<li>{}</li>", escaped(it))).collect();
    let body =
        if lost.is_empty() { String::new() } else { format!("<ul class=\"lost\">{items}</ul>") };
    section("Where nsp loses", "In the rows of this run.", &body)
}

fn about(report: &Report) -> String {
    let stolen = format!("{:.2} % of the time", report.machine.stolen_percent());
    let facts = report.machine.facts.iter().map(|(name, fact)| (*name, fact.as_str()));
    let listed: String = facts
        .chain([("Steal", stolen.as_str())])
        .map(|(name, fact)| format!("<dt>{name}</dt><dd>{}</dd>", escaped(fact)))
        .collect();
    let notes: String =
        report.notes.iter().map(|note| format!("<li>{}</li>", escaped(note))).collect();
    let notes = if notes.is_empty() { notes } else { format!("<ul>{notes}</ul>") };
    section(
        "This machine, and what it cannot tell",
        machine::NOT_CLAIMED,
        &format!("{notes}<dl>{listed}</dl>"),
    )
}

fn all(rows: &[Row]) -> String {
    let mut table = String::from(
        "<details><summary>Every row</summary><table><tr><th>case</th><th>subject</th><th>size</th>\
         <th>family</th><th>metric</th><th>unit</th><th>median</th><th>p10</th><th>p90</th><th>runs</th></tr>",
    );
    for Row { case, subject, size, family, metric, unit, median, p10, p90, runs } in rows {
        let _written = write!(
            table,
            "<tr class=\"{}\"><td>{case}</td><td>{subject}</td><td class=\"number\">{size}</td><td>{family}</td>\
             <td>{}</td><td>{unit}</td><td class=\"number\">{}</td><td class=\"number\">{}</td>\
             <td class=\"number\">{}</td><td class=\"number\">{runs}</td></tr>",
            class(subject),
            escaped(metric),
            number(*median),
            number(*p10),
            number(*p90),
        );
    }
    table + "</table></details>"
}

/// Rows that are drawn together.
struct Group<'a> {
    size: u64,
    metric: &'a str,
    rows: Vec<&'a Row>,
}

impl<'a> Group<'a> {
    /// By size and metric, in the order they came. What has one size only is in every group of its metric.
    fn of(rows: impl Iterator<Item = &'a Row>) -> Vec<Self> {
        let rows: Vec<_> = rows.collect();
        let mut groups: Vec<Self> = Vec::new();
        for nsp in rows.iter().filter(|row| row.subject == "nsp") {
            let belongs = |row: &&&Row| {
                row.metric == nsp.metric && (row.size == nsp.size || row.subject == "xdp-filter")
            };
            let rows = rows.iter().filter(belongs).copied().collect();
            groups.push(Self { size: nsp.size, metric: &nsp.metric, rows });
        }
        groups
    }

    /// One bar a subject, with how many times as much it needs as nsp.
    fn bars(&self, all: &[Row], said: impl Fn(&Row) -> String) -> Vec<Bar> {
        let nsp = self.rows.iter().find(|row| row.subject == "nsp");
        let bar = |row: &&Row| {
            let times = match nsp {
                Some(nsp) if row.subject != "nsp" => {
                    format!(" · ×{:.1}", compare::ratio(all, row, nsp))
                }
                _ => String::new(),
            };
            Bar {
                label: row.subject.to_owned(),
                value: row.median,
                spread: (row.p10, row.p90),
                said: said(row) + &times,
                class: class(row.subject),
            }
        };
        self.rows.iter().map(bar).collect()
    }
}

fn subjects<'a>(rows: impl Iterator<Item = &'a Row>) -> Vec<&'a str> {
    let mut seen = Vec::new();
    for row in rows {
        if !seen.contains(&row.subject) {
            seen.push(row.subject);
        }
    }
    seen
}

fn class(subject: &str) -> &'static str {
    match subject {
        "nsp" => "nsp",
        "drop" | "none" => "bound",
        _ => "peer",
    }
}

fn grid(body: &str) -> String {
    if body.is_empty() { String::new() } else { format!("<div class=\"grid\">{body}</div>") }
}

/// Three digits that say something.
fn number(value: f64) -> String {
    match value.abs() {
        100.0.. => format!("{value:.0}"),
        10.0.. => format!("{value:.1}"),
        _ => format!("{value:.2}"),
    }
}
