//! What is let through: streams and questions with a filter, by what they are without.

use super::{
    super::{
        Row,
        plot::{self, Interval},
    },
    class, distinct, figure, grid, number,
};

/// A figure for each thing that was measured of a case, and each family.
fn intervals_of(rows: &[Row], case: &str, aims: &[(&str, f64)]) -> String {
    const OF_NONE: &str = ", of none";
    let of_case = || rows.iter().filter(|row| row.case == case);
    let whole = |row: &Row| row.metric.trim_end_matches(", few pairs").to_owned();
    let metrics = distinct(of_case(), whole);
    let mut figures = String::new();
    for (family, metric) in metrics.iter().flat_map(|metric| ["v4", "v6"].map(|it| (it, metric))) {
        let Some(what) = metric.strip_suffix(OF_NONE) else { continue };
        let find = |subject: &str, metric: &str| {
            of_case()
                .find(|row| (row.subject, row.family) == (subject, family) && whole(row) == metric)
        };
        let mut found = Vec::new();
        for subject in distinct(of_case(), |row| row.subject) {
            let bound = |which: &str| find(subject, &format!("{metric}, {which} 95 %"));
            if let (Some(ratio), Some(low), Some(high), Some(with), Some(without)) = (
                find(subject, metric),
                bound("lower"),
                bound("upper"),
                find(subject, what),
                find("none", what),
            ) {
                found.push(Interval {
                    label: subject.to_owned(),
                    value: ratio.median,
                    bounds: (low.median, high.median),
                    said: format!(
                        "{} by {} {}",
                        number(with.median),
                        number(without.median),
                        with.unit
                    ),
                    class: class(subject),
                });
            }
        }
        if !found.is_empty() {
            let aim = aims.iter().find(|(metric, _)| *metric == what).map(|(_, aim)| *aim);
            let family = if family == "v4" { "IPv4" } else { "IPv6" };
            figures += &figure(&format!("{case} {what}, {family}"), &plot::intervals(&found, aim));
        }
    }
    figures
}

/// Streams and questions.
pub(super) fn section(rows: &[Row]) -> String {
    const STREAMS: &[(&str, f64)] = &[("in", 95.0), ("out", 95.0)];
    const QUESTIONS: &[(&str, f64)] = &[("p50", 105.0), ("p50, one processor", 105.0)];
    let body =
        intervals_of(rows, "throughput", STREAMS) + &intervals_of(rows, "latency", QUESTIONS);
    super::section(
        "What is let through, by what it is without a filter",
        "Pairs of a run with and a run without over veth, in the order A B B A; medians of the pairs' ratios \
         with 95 % bounds. The dashed line is the aim. Native XDP on veth takes the peer's segmentation \
         offload, whoever's program it is.",
        &grid(&body),
    )
}
