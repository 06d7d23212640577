//! Where nsp loses, the machine, and every row.

use std::fmt::Write as _;

use super::{
    super::{
        Report, Row,
        compare::{self, Comparison},
        machine,
        plot::escaped,
    },
    class, number, section,
};

/// Where nsp loses.
pub(super) fn losses(rows: &[Row]) -> String {
    let compared = compare::all(rows);
    let lost: Vec<_> = compared.iter().flat_map(Comparison::lost).collect();
    let items: String = lost.iter().map(|it| format!("<li>{}</li>", escaped(it))).collect();
    let body =
        if lost.is_empty() { String::new() } else { format!("<ul class=\"lost\">{items}</ul>") };
    section("Where nsp loses", "In the rows of this run.", &body)
}

/// The machine, and what must be known of the rows.
pub(super) fn machine(report: &Report) -> String {
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

/// Every row.
pub(super) fn all(rows: &[Row]) -> String {
    let mut table = String::from(
        "<details><summary>Every row</summary><div class=\"wide\"><table><tr><th>case</th><th>subject</th>\
         <th>size</th><th>family</th><th>metric</th><th>unit</th><th>median</th><th>p10</th><th>p90</th>\
         <th>runs</th></tr>",
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
    table + "</table></div></details>"
}
