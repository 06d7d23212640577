//! Programs of others at the same hooks.

use serde_json::Value;

use super::{each, text};
use crate::{daemon::foreign::order::is_nsp, datapath::name_of_program};

/// Fills in names that the agent may not know and the caller may.
pub(super) fn name(programs: &mut Value) {
    for program in programs.as_array_mut().into_iter().flatten() {
        let id = program["program"].as_u64().and_then(|id| u32::try_from(id).ok());
        let (Value::Null, Some(id)) = (&program["name"], id) else { continue };
        // Who may not know prints that.
        if let Ok(name) = name_of_program(id) {
            program["anotherNsp"] = is_nsp(&name).into();
            program["name"] = name.into();
        }
    }
}

pub(super) fn print(status: &Value) {
    let is_before = |program: &&Value| program["place"] == "before";
    for program in each(&status["otherPrograms"]).filter(is_before) {
        println!(
            "  {}: {} comes BEFORE nsp and may take packets past it",
            text(&program["interface"]),
            who(program)
        );
    }
    for program in each(&status["otherPrograms"]).filter(|it| !is_before(it)) {
        println!(
            "  {}: {} comes after nsp and sees what it passed",
            text(&program["interface"]),
            who(program)
        );
    }
    if let Some(why) = status["otherProgramsError"].as_str() {
        println!("  other programs: NOT KNOWN: {why}");
    }
}

/// `another nsp (ingress, tcx, program 61 nsp_ingress)`
fn who(program: &Value) -> String {
    let who = if program["anotherNsp"] == true { "another nsp" } else { "another program" };
    let id = program["program"].as_u64().map(|id| format!(", program {id}")).unwrap_or_default();
    let name = match (program["name"].as_str(), program["program"].as_u64()) {
        (Some(""), _) | (None, None) => String::new(),
        (Some(name), _) => format!(" {name}"),
        (None, Some(_)) => ", whose name takes CAP_SYS_ADMIN".to_owned(),
    };
    format!("{who} ({}, {}{id}{name})", text(&program["side"]), text(&program["how"]))
}
