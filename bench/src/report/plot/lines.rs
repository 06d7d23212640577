//! Lines over the logarithm of a number of prefixes, from zero.

use std::fmt::Write as _;

use super::{WIDTH, escaped, short, step, width_of};

/// A line.
pub(in crate::report) struct Line {
    pub(in crate::report) label: String,
    pub(in crate::report) points: Vec<Point>,
    /// `nsp`, `peer` or `bound`.
    pub(in crate::report) class: &'static str,
}

/// A point of it.
#[derive(Clone, Copy)]
pub(in crate::report) struct Point {
    pub(in crate::report) size: f64,
    pub(in crate::report) value: f64,
    pub(in crate::report) spread: (f64, f64),
}

const HEIGHT: f64 = 260.0;
const LEFT: f64 = 56.0;
const TOP: f64 = 26.0;
const BOTTOM: f64 = 36.0;
/// What names of lines are apart at least.
const APART: f64 = 15.0;

/// Where values are drawn.
struct Axes {
    sizes: (f64, f64),
    right: f64,
    /// The highest mark, and how far marks are apart.
    top: f64,
    step: f64,
}

impl Axes {
    fn of(lines: &[Line]) -> Self {
        let points = || lines.iter().flat_map(|line| &line.points);
        let sizes = || points().map(|point| point.size.log10());
        let most = points().map(|point| point.spread.1.max(point.value)).fold(1.0, f64::max);
        let step = step(most);
        let names = lines.iter().map(|line| width_of(&name(line))).fold(0.0, f64::max);
        Self {
            sizes: (sizes().fold(f64::MAX, f64::min), sizes().fold(f64::MIN, f64::max)),
            right: names + 14.0,
            top: step * (most / step).ceil(),
            step,
        }
    }

    fn x(&self, size: f64) -> f64 {
        let (least, most) = self.sizes;
        let part = (size.log10() - least) / (most - least).max(0.1);
        LEFT + part * (WIDTH - LEFT - self.right)
    }

    fn y(&self, value: f64) -> f64 {
        HEIGHT - BOTTOM - value / self.top * (HEIGHT - TOP - BOTTOM)
    }
}

/// What is written at a line's end.
fn name(Line { label, points, .. }: &Line) -> String {
    format!("{label} {:.0}", points.last().map_or(0.0, |point| point.value))
}

/// All of them; `unit` is what the values are in.
pub(in crate::report) fn lines(lines: &[Line], unit: &str) -> String {
    let axes = Axes::of(lines);
    let mut svg = format!("<svg viewBox=\"0 0 {WIDTH} {HEIGHT}\" role=\"img\">");
    marks(&mut svg, &axes, lines, unit);
    let names = names(lines, &axes);
    for (line, name_y) in lines.iter().zip(names) {
        let Line { label, points, class } = line;
        let path = |value: fn(&Point) -> f64| {
            let at =
                |point: &Point| format!("{:.1} {:.1}", axes.x(point.size), axes.y(value(point)));
            points.iter().map(at).collect::<Vec<_>>()
        };
        let mut band = path(|point| point.spread.0);
        band.extend(path(|point| point.spread.1).into_iter().rev());
        let _written = write!(
            svg,
            "<g class=\"{class}\"><path class=\"band\" d=\"M{}Z\"/><path class=\"line\" d=\"M{}\"/>",
            band.join("L"),
            path(|point| point.value).join("L"),
        );
        for Point { size, value, .. } in points {
            let _written = write!(
                svg,
                "<circle cx=\"{:.1}\" cy=\"{:.1}\" r=\"3\"><title>{}: {value:.1} {unit} at {}</title></circle>",
                axes.x(*size),
                axes.y(*value),
                escaped(label),
                short(*size)
            );
        }
        let _written = write!(
            svg,
            "<text class=\"name\" x=\"{:.1}\" y=\"{:.1}\">{}</text></g>",
            WIDTH - axes.right + 9.0,
            name_y + 4.0,
            escaped(&name(line))
        );
    }
    svg + "</svg>"
}

fn marks(svg: &mut String, axes: &Axes, lines: &[Line], unit: &str) {
    let end = WIDTH - axes.right;
    let mut mark = 0.0;
    while mark <= axes.top * 1.001 {
        let at = axes.y(mark);
        let _written = write!(
            svg,
            "<path class=\"grid\" d=\"M{LEFT} {at:.1}H{end:.1}\"/>\
             <text class=\"tick end\" x=\"{}\" y=\"{:.1}\">{mark}</text>",
            LEFT - 8.0,
            at + 4.0
        );
        mark += axes.step;
    }
    let _written =
        write!(svg, "<text class=\"tick end\" x=\"{}\" y=\"11\">{unit}</text>", LEFT - 8.0);
    let mut sizes: Vec<f64> =
        lines.iter().flat_map(|line| &line.points).map(|point| point.size).collect();
    sizes.sort_by(f64::total_cmp);
    sizes.dedup();
    for size in sizes {
        let _written = write!(
            svg,
            "<text class=\"tick middle\" x=\"{:.1}\" y=\"{}\">{}</text>",
            axes.x(size),
            HEIGHT - BOTTOM + 18.0,
            short(size)
        );
    }
    let _written = write!(
        svg,
        "<text class=\"tick middle\" x=\"{:.1}\" y=\"{}\">prefixes</text>",
        f64::midpoint(LEFT, end),
        HEIGHT - 3.0
    );
}

/// Where the names of lines go: at their ends, but never one over another.
fn names(lines: &[Line], axes: &Axes) -> Vec<f64> {
    let end = |line: &Line| axes.y(line.points.last().map_or(0.0, |point| point.value));
    let mut wanted: Vec<(usize, f64)> = lines.iter().map(end).enumerate().collect();
    // From the bottom up, each at least a line of text above the one before.
    wanted.sort_by(|one, other| other.1.total_cmp(&one.1));
    for at in 1..wanted.len() {
        wanted[at].1 = wanted[at].1.min(wanted[at - 1].1 - APART);
    }
    wanted.sort_by_key(|(line, _)| *line);
    wanted.into_iter().map(|(_, at)| at).collect()
}
