//! A flood, what comes into force, and what it takes of memory.

use std::fmt::Write as _;

use super::{
    super::{
        Row,
        plot::{self, Bar, escaped, short},
    },
    bar, class, distinct, figure, grid, number, section,
};

/// A packet of a flood, until it is dropped.
pub(super) fn flood(rows: &[Row]) -> String {
    let speed = |row: &Row| format!("{:.0} ns · {:.1} M/s", row.median, 1000.0 / row.median);
    let title = |nsp: &Row| format!("{} prefixes, sources {}", short(nsp.size as f64), nsp.metric);
    section(
        "A packet in a flood, until it is dropped",
        "One processor, frames put into the receive path as a driver does, sources at random. “drop” is a \
         program that looks at nothing: the most that this injector can show. “none” is no filter at all: the \
         stack finds no socket. Behind each: how many times as much as nsp.",
        &grid(&beside(rows, "flood", title, speed)),
    )
}

/// From a file to in force.
pub(super) fn load(rows: &[Row]) -> String {
    let time = |row: &Row| format!("{:.0} ms", row.median);
    let title = |nsp: &Row| format!("{} prefixes", short(nsp.size as f64));
    section(
        "From a file to its being in force",
        "nsp apply on a running agent, nft -f and ipset restore into nothing; from the start of the command \
         to its end.",
        &grid(&beside(rows, "load", title, time)),
    )
}

/// A figure for each row of nsp with those of the others beside it. What has one size only is in every
/// figure of its metric.
fn beside(
    rows: &[Row],
    case: &str,
    title: impl Fn(&Row) -> String,
    said: impl Fn(&Row) -> String,
) -> String {
    let of_case = || rows.iter().filter(|row| row.case == case);
    let mut figures = String::new();
    for nsp in of_case().filter(|row| row.subject == "nsp") {
        let belongs = |row: &&Row| {
            row.metric == nsp.metric && (row.size == nsp.size || row.subject == "xdp-filter")
        };
        let mut same: Vec<_> = of_case().filter(belongs).collect();
        // nsp first, then the others by what they need.
        same.sort_by(|one, other| {
            let key = |row: &Row| (row.subject != "nsp", class(row.subject) == "bound");
            key(one).cmp(&key(other)).then(one.median.total_cmp(&other.median))
        });
        let bars: Vec<_> = same.iter().map(|row| bar(rows, row, Some(nsp), &said(row))).collect();
        figures += &figure(&title(nsp), &plot::bars(&bars));
    }
    figures
}

/// Publications.
pub(super) fn swap(rows: &[Row]) -> String {
    let of_case = || rows.iter().filter(|row| row.case == "swap");
    let mut figures = String::new();
    for subject in distinct(of_case(), |row| row.subject) {
        let bars: Vec<_> = of_case()
            .filter(|row| row.subject == subject)
            .map(|row| {
                let label = format!("{}, {}", short(row.size as f64), row.metric);
                Bar { label, ..bar(rows, row, None, &format!("{:.1} ms", row.median)) }
            })
            .collect();
        figures += &figure(&format!("{subject}, by number of prefixes"), &plot::bars(&bars));
    }
    section(
        "From a compiled policy to its being in force",
        "With nothing else to do, and while every processor judges packets without pause. Most of it is the \
         kernel's grace period.",
        &grid(&figures),
    )
}

/// Memory, a table.
pub(super) fn memory(rows: &[Row]) -> String {
    let of: Vec<_> = rows.iter().filter(|row| row.case == "memory").collect();
    let mut sizes = distinct(of.iter().copied(), |row| row.size);
    sizes.sort_unstable();
    if sizes.is_empty() {
        return String::new();
    }
    let mut table = String::from("<table class=\"sizes\"><tr><th>subject</th><th></th>");
    for size in &sizes {
        let _written = write!(table, "<th>{}</th>", short(*size as f64));
    }
    table.push_str("</tr>");
    for key in distinct(of.iter().copied(), |row| (row.subject, &row.metric, row.unit)) {
        let (subject, metric, unit) = key;
        let _written = write!(
            table,
            "<tr class=\"{}\"><td>{subject}</td><td>{}, {unit}</td>",
            class(subject),
            escaped(metric),
        );
        for size in &sizes {
            let is_it = |it: &&&Row| (it.subject, &it.metric, it.unit) == key && it.size == *size;
            let value = of.iter().find(is_it).map_or_else(String::new, |it| number(it.median));
            let _written = write!(table, "<td class=\"number\">{value}</td>");
        }
        table.push_str("</tr>");
    }
    section(
        "Memory, by number of prefixes",
        "Kernel memory of nsp is all that its address tables take, with two generations in them; that of its \
         trie is of two, and that of the others of one set.",
        &format!("<div class=\"wide\">{table}</table></div>"),
    )
}
