//! Drawings of the page, as SVG without scripts.

mod bars;
mod intervals;
mod lines;

pub(super) use bars::{Bar, bars};
pub(super) use intervals::{Interval, intervals};
pub(super) use lines::{Line, Point, lines};

/// How wide drawings are, in units of their own: the page scales them.
const WIDTH: f64 = 560.0;

/// About how wide a text is, in bold letters.
fn width_of(text: &str) -> f64 {
    text.chars().count() as f64 * 7.6
}

/// A round distance between four to eight marks.
fn step(most: f64) -> f64 {
    let power = 10_f64.powf((most / 4.0).log10().floor());
    let steps = [1.0, 2.0, 5.0, 10.0].map(|it| it * power);
    *steps.iter().rev().find(|step| most / **step >= 4.0).unwrap_or(&power)
}

/// A number of prefixes in short.
pub(super) fn short(size: f64) -> String {
    let tenths = |value: f64| (value * 10.0).round() / 10.0;
    match size {
        1e6.. => format!("{}M", tenths(size / 1e6)),
        1e3.. => format!("{}k", tenths(size / 1e3)),
        _ => format!("{size}"),
    }
}

/// Text that is no markup.
pub(super) fn escaped(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;").replace('"', "&quot;")
}
