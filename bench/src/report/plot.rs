//! Drawings of the page: bars and lines, as SVG without scripts.

use std::fmt::Write as _;

/// A bar, or a row of its place.
pub(super) struct Bar {
    pub(super) label: String,
    pub(super) value: f64,
    /// From the tenth part of the samples to the ninth.
    pub(super) spread: (f64, f64),
    /// What is written behind it.
    pub(super) said: String,
    /// `nsp`, `peer` or `bound`, as the page's style has them.
    pub(super) class: &'static str,
}

const WIDTH: f64 = 560.0;
/// Where bars begin, and how much is left for what is written behind the longest.
const LABELS: f64 = 118.0;
const SAID: f64 = 170.0;
const ROW: f64 = 27.0;

/// Horizontal bars from zero.
pub(super) fn bars(bars: &[Bar]) -> String {
    let most = bars.iter().map(|bar| bar.value.max(bar.spread.1)).fold(f64::MIN_POSITIVE, f64::max);
    let x = |value: f64| LABELS + value / most * (WIDTH - LABELS - SAID);
    let height = ROW * bars.len() as f64 + 4.0;
    let mut svg = format!("<svg viewBox=\"0 0 {WIDTH} {height}\" role=\"img\">");
    for (at, Bar { label, value, spread, said, class }) in bars.iter().enumerate() {
        let top = ROW * at as f64 + 4.0;
        let middle = top + 9.5;
        let width = (x(*value) - LABELS).max(1.5);
        let (from, to) = (x(spread.0), x(spread.1));
        let end = x(value.max(spread.1)) + 8.0;
        let _written = write!(
            svg,
            "<g class=\"{class}\"><text class=\"label\" x=\"{}\" y=\"{}\">{}</text>\
             <rect x=\"{LABELS}\" y=\"{top}\" width=\"{width:.1}\" height=\"19\" rx=\"2\"/>\
             <path class=\"spread\" d=\"M{from:.1} {middle}H{to:.1}\"/>\
             <text class=\"said\" x=\"{end:.1}\" y=\"{}\">{}</text></g>",
            LABELS - 8.0,
            middle + 4.5,
            escaped(label),
            middle + 4.5,
            escaped(said),
        );
    }
    svg + "</svg>"
}

/// A line of a plot: size, median, and spread.
pub(super) struct Line {
    pub(super) label: String,
    pub(super) points: Vec<(f64, f64, (f64, f64))>,
    /// `nsp`, `peer` or `bound`.
    pub(super) class: &'static str,
}

const HEIGHT: f64 = 250.0;
const LEFT: f64 = 52.0;
const RIGHT: f64 = 112.0;
const TOP: f64 = 12.0;
const BOTTOM: f64 = 34.0;

/// Lines over the logarithm of a size, from zero.
pub(super) fn lines(lines: &[Line]) -> String {
    let all = || lines.iter().flat_map(|line| &line.points);
    let sizes = || all().map(|point| point.0.log10());
    let (least, most) = (sizes().fold(f64::MAX, f64::min), sizes().fold(f64::MIN, f64::max));
    let step = step(all().map(|point| point.2.1.max(point.1)).fold(1.0, f64::max));
    let top = step * (all().map(|point| point.2.1.max(point.1)).fold(1.0, f64::max) / step).ceil();
    let x = |size: f64| {
        LEFT + (size.log10() - least) / (most - least).max(0.1) * (WIDTH - LEFT - RIGHT)
    };
    let y = |value: f64| HEIGHT - BOTTOM - value / top * (HEIGHT - TOP - BOTTOM);
    let mut svg = format!("<svg viewBox=\"0 0 {WIDTH} {HEIGHT}\" role=\"img\">");
    let mut put = |text: String| svg.push_str(&text);
    let mut tick = 0.0;
    while tick <= top * 1.001 {
        let at = y(tick);
        put(format!(
            "<path class=\"grid\" d=\"M{LEFT} {at:.1}H{:.1}\"/><text class=\"tick end\" x=\"{}\" y=\"{:.1}\">{tick}</text>",
            WIDTH - RIGHT,
            LEFT - 7.0,
            at + 4.0
        ));
        tick += step;
    }
    let mut marked: Vec<f64> = all().map(|point| point.0).collect();
    marked.sort_by(f64::total_cmp);
    marked.dedup();
    for size in marked {
        put(format!(
            "<text class=\"tick middle\" x=\"{:.1}\" y=\"{}\">{}</text>",
            x(size),
            HEIGHT - BOTTOM + 18.0,
            short(size)
        ));
    }
    put(format!(
        "<text class=\"tick middle\" x=\"{:.1}\" y=\"{}\">prefixes</text>",
        LEFT + (WIDTH - LEFT - RIGHT) / 2.0,
        HEIGHT - 3.0
    ));
    let mut label_at = ends(lines, y);
    for Line { label, points, class } in lines {
        #[expect(clippy::type_complexity, reason = "a point with its spread, named here alone")]
        let path = |value: &dyn Fn(&(f64, f64, (f64, f64))) -> f64, reversed: bool| {
            let one = |point: &(f64, f64, (f64, f64))| {
                format!("{:.1} {:.1}", x(point.0), y(value(point)))
            };
            let mut places: Vec<String> = points.iter().map(one).collect();
            if reversed {
                places.reverse();
            }
            places.join("L")
        };
        put(format!(
            "<g class=\"{class}\"><path class=\"band\" d=\"M{}L{}Z\"/><path class=\"line\" d=\"M{}\"/>",
            path(&|point| point.2.0, false),
            path(&|point| point.2.1, true),
            path(&|point| point.1, false),
        ));
        for (size, value, _) in points {
            put(format!(
                "<circle cx=\"{:.1}\" cy=\"{:.1}\" r=\"3\"><title>{}: {value:.1} ns at {}</title></circle>",
                x(*size),
                y(*value),
                escaped(label),
                short(*size)
            ));
        }
        let last = points.last().map_or(0.0, |point| point.1);
        put(format!(
            "<text class=\"name\" x=\"{:.1}\" y=\"{:.1}\">{} {last:.0}</text></g>",
            WIDTH - RIGHT + 8.0,
            label_at.remove(0) + 4.0,
            escaped(label)
        ));
    }
    svg + "</svg>"
}

/// Where the names of lines go: at their ends, but never one over another.
fn ends(lines: &[Line], y: impl Fn(f64) -> f64) -> Vec<f64> {
    const APART: f64 = 15.0;
    let mut wanted: Vec<(usize, f64)> = lines
        .iter()
        .map(|line| y(line.points.last().map_or(0.0, |point| point.1)))
        .enumerate()
        .collect();
    // From the bottom up, each at least a line of text above the one before.
    wanted.sort_by(|one, other| other.1.total_cmp(&one.1));
    for at in 1..wanted.len() {
        wanted[at].1 = wanted[at].1.min(wanted[at - 1].1 - APART);
    }
    wanted.sort_by_key(|(line, _)| *line);
    wanted.into_iter().map(|(_, at)| at).collect()
}

/// A round distance between four to eight marks.
fn step(most: f64) -> f64 {
    let power = 10_f64.powf((most / 4.0).log10().floor());
    let steps = [1.0, 2.0, 5.0, 10.0].map(|it| it * power);
    *steps.iter().rev().find(|step| most / **step >= 4.0).unwrap_or(&power)
}

/// A number of prefixes in short.
pub(super) fn short(size: f64) -> String {
    match size {
        1e6.. => format!("{}M", size / 1e6),
        1e3.. => format!("{}k", size / 1e3),
        _ => format!("{size}"),
    }
}

/// Text that is no markup.
pub(super) fn escaped(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;").replace('"', "&quot;")
}
