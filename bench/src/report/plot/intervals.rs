//! Ratios with the bounds that they lie between, around 100 %.

use std::fmt::Write as _;

use super::{WIDTH, escaped, step, width_of};

/// A ratio, in percent.
pub(in crate::report) struct Interval {
    pub(in crate::report) label: String,
    pub(in crate::report) value: f64,
    /// With 95 % confidence.
    pub(in crate::report) bounds: (f64, f64),
    /// What is written behind it.
    pub(in crate::report) said: String,
    pub(in crate::report) class: &'static str,
}

const ROW: f64 = 27.0;
const AXIS: f64 = 22.0;

/// All of them below each other. What is aimed at is drawn besides 100 %.
pub(in crate::report) fn intervals(intervals: &[Interval], aim: Option<f64>) -> String {
    let widest = |text: fn(&Interval) -> &str| {
        intervals.iter().map(|it| width_of(text(it))).fold(0.0, f64::max)
    };
    let left = widest(|it| &it.label) + 14.0;
    let right = WIDTH - widest(|it| &it.said) - 14.0;
    let least = intervals.iter().map(|it| it.bounds.0).fold(90.0, f64::min) - 2.0;
    let most = intervals.iter().map(|it| it.bounds.1).fold(110.0, f64::max) + 2.0;
    let x = |value: f64| left + (value - least) / (most - least) * (right - left);
    let bottom = ROW * intervals.len() as f64 + 2.0;
    let mut svg = format!("<svg viewBox=\"0 0 {WIDTH} {}\" role=\"img\">", bottom + AXIS);
    let step = step(most - least);
    let mut mark = (least / step).ceil() * step;
    while mark <= most {
        let at = x(mark);
        let class = if (mark - 100.0).abs() < 0.01 { "all" } else { "grid" };
        let _written = write!(
            svg,
            "<path class=\"{class}\" d=\"M{at:.1} 0V{bottom:.1}\"/>\
             <text class=\"tick middle\" x=\"{at:.1}\" y=\"{:.1}\">{mark:.0} %</text>",
            bottom + 15.0
        );
        mark += step;
    }
    if let Some(at) = aim.map(x) {
        let _written = write!(svg, "<path class=\"aim\" d=\"M{at:.1} 0V{bottom:.1}\"/>");
    }
    for (row, Interval { label, value, bounds, said, class }) in intervals.iter().enumerate() {
        let middle = ROW * row as f64 + ROW / 2.0 + 1.0;
        let base = middle + 4.5;
        let _written = write!(
            svg,
            "<g class=\"{class}\"><text class=\"label\" x=\"{:.1}\" y=\"{base:.1}\">{}</text>\
             <path class=\"whisker\" d=\"M{:.1} {middle}H{:.1}\"/>\
             <circle cx=\"{:.1}\" cy=\"{middle}\" r=\"4.5\"/>\
             <text class=\"said\" x=\"{:.1}\" y=\"{base:.1}\">{}</text></g>",
            left - 10.0,
            escaped(label),
            x(bounds.0),
            x(bounds.1),
            x(*value),
            right + 12.0,
            escaped(said),
        );
    }
    svg + "</svg>"
}
