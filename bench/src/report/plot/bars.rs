//! Horizontal bars from zero.

use std::fmt::Write as _;

use super::{WIDTH, escaped, width_of};

/// A bar.
pub(in crate::report) struct Bar {
    pub(in crate::report) label: String,
    pub(in crate::report) value: f64,
    /// What of it is the harness's.
    pub(in crate::report) floor: f64,
    /// From the tenth part of the samples to the ninth.
    pub(in crate::report) spread: (f64, f64),
    /// What is written behind it.
    pub(in crate::report) said: String,
    /// `nsp`, `peer` or `bound`, as the page's style has them.
    pub(in crate::report) class: &'static str,
}

const ROW: f64 = 27.0;
const HEIGHT: f64 = 19.0;

/// All of them below each other.
pub(in crate::report) fn bars(bars: &[Bar]) -> String {
    let widest =
        |text: fn(&Bar) -> &str| bars.iter().map(|bar| width_of(text(bar))).fold(0.0, f64::max);
    let left = widest(|bar| &bar.label).max(60.0) + 10.0;
    // What is written behind the longest must fit as well.
    let room = (WIDTH - left - widest(|bar| &bar.said) - 10.0).max(WIDTH / 4.0);
    let most = bars.iter().map(|bar| bar.value.max(bar.spread.1)).fold(f64::MIN_POSITIVE, f64::max);
    let x = |value: f64| left + value / most * room;
    let height = ROW * bars.len() as f64 + 2.0;
    let mut svg = format!("<svg viewBox=\"0 0 {WIDTH} {height}\" role=\"img\">");
    for (at, Bar { label, value, floor, spread, said, class }) in bars.iter().enumerate() {
        let top = ROW * at as f64 + 4.0;
        let middle = top + HEIGHT / 2.0;
        let base = middle + 4.5;
        let width = (x(*value) - left).max(1.5);
        let _written = write!(
            svg,
            "<g class=\"{class}\"><text class=\"label\" x=\"{:.1}\" y=\"{base:.1}\">{}</text>\
             <rect x=\"{left:.1}\" y=\"{top}\" width=\"{width:.1}\" height=\"{HEIGHT}\" rx=\"2\"/>",
            left - 8.0,
            escaped(label),
        );
        if *floor > 0.0 {
            let width = (x(*floor) - left).min(width);
            let _written = write!(
                svg,
                "<rect class=\"floor\" x=\"{left:.1}\" y=\"{top}\" width=\"{width:.1}\" height=\"{HEIGHT}\"/>"
            );
        }
        let (from, to) = (x(spread.0), x(spread.1));
        let _written = write!(
            svg,
            "<path class=\"spread\" d=\"M{from:.1} {middle}H{to:.1}\"/>\
             <text class=\"said\" x=\"{:.1}\" y=\"{base:.1}\">{}</text></g>",
            x(value.max(spread.1)) + 8.0,
            escaped(said),
        );
    }
    svg + "</svg>"
}
