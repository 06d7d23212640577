//! What was aimed at and what came of it, first of all.

use std::fmt::Write as _;

use super::super::{
    Row,
    plot::escaped,
    target::{Aim, Judged, judged},
    targets::Target,
};

/// All targets, by what they are about.
pub(super) fn section(rows: &[Row]) -> String {
    let judged = judged(rows);
    let is = |wanted| judged.iter().filter(|it| it.is_met() == Some(wanted)).count();
    let (met, missed) = (is(true), is(false));
    if met + missed == 0 {
        return String::new();
    }
    let mut groups = String::new();
    for of_one in judged.chunk_by(|one, other| one.target.about == other.target.about) {
        if of_one.iter().all(|it| it.measured.is_none()) {
            continue;
        }
        let tiles: String = of_one.iter().map(tile).collect();
        let about = escaped(of_one[0].target.about);
        let _written = write!(
            groups,
            "<div style=\"--tiles:{}\"><h3>{about}</h3><ul class=\"targets\">{tiles}</ul></div>",
            of_one.len()
        );
    }
    let not_run = judged.len() - met - missed;
    let rest =
        if not_run == 0 { String::new() } else { format!(", {not_run} not measured in this run") };
    format!(
        "<section><h2>Targets: {met} met, {missed} missed{rest}</h2><div class=\"groups\">{groups}</div></section>"
    )
}

fn tile(judged: &Judged) -> String {
    let Target { what, aim, .. } = judged.target;
    let (Some(is_met), Some((value, unit))) = (judged.is_met(), &judged.measured) else {
        return format!(
            "<li class=\"absent\"><b>–</b><span>{}</span><em>{aim}: not measured</em></li>",
            escaped(what)
        );
    };
    let (class, word) = if is_met { ("met", "met") } else { ("missed", "missed") };
    let digits = if value.abs() < 20.0 { 1 } else { 0 };
    let (times, unit) = unit.strip_prefix('×').map_or(("", &**unit), |subject| ("×", subject));
    format!(
        "<li class=\"{class}\"><b>{value:.digits$}{times}</b> <i>{}</i>{}<span>{}</span>\
         <em>{aim}: {word}</em></li>",
        escaped(unit.trim()),
        gauge(*value, *aim),
        escaped(what),
    )
}

/// How far a value is from its aim, which is two thirds of the way.
fn gauge(value: f64, aim: Aim) -> String {
    const AIM: f64 = 66.7;
    let (Aim::AtLeast(aim) | Aim::AtMost(aim)) = aim;
    let part = (value / aim * AIM).clamp(0.5, 100.0);
    format!(
        "<svg class=\"gauge\" viewBox=\"0 0 100 8\" preserveAspectRatio=\"none\" aria-hidden=\"true\">\
         <rect class=\"track\" width=\"100\" y=\"2\" height=\"4\"/>\
         <rect class=\"part\" width=\"{part:.1}\" y=\"2\" height=\"4\"/>\
         <rect class=\"mark\" x=\"{AIM}\" width=\"0.8\" height=\"8\"/></svg>"
    )
}
