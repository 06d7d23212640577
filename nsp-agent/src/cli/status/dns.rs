//! `nsp status --dns`: names, for people.

use serde_json::Value;

use super::{each, text};

/// Addresses of one name that are shown; `--json` has all.
const ADDRESSES_SHOWN: usize = 20;

pub(super) fn print(status: &Value) {
    println!("names");
    if status["names"].as_array().is_none_or(Vec::is_empty) {
        println!("  none: no outbound rule has fqdns");
    }
    for name in each(&status["names"]) {
        print_name(name);
    }
    println!("lessons");
    for it in each(&status["lessons"]).filter(|it| it["count"] != 0) {
        let (lesson, meaning) = (text(&it["lesson"]), text(&it["meaning"]));
        println!("  {:>12}  {lesson} ({meaning})", it["count"].to_string());
    }
    println!("resolvers");
    for it in each(&status["resolvers"]) {
        let trusted = if it["trusted"] == true { "trusted" } else { "asked" };
        println!("  {}: {trusted} ({})", text(&it["address"]), text(&it["why"]));
    }
    for it in each(&status["stubs"]) {
        let cgroups: Vec<&str> = each(&it["cgroups"]).map(text).collect();
        let who =
            if cgroups.is_empty() { "nobody that is known".to_owned() } else { cgroups.join(", ") };
        let only = if it["onlyItTeaches"] == true {
            "; only its questions teach, and the agent's"
        } else {
            ""
        };
        println!("  {}: answered here by {who}{only}", text(&it["address"]));
    }
    if let Some(unit) = status["recursive"]["unit"].as_str() {
        let matched = if status["recursive"]["matched"] == true {
            ""
        } else {
            ": matches nothing on this host now"
        };
        println!("  recursive unit {unit}{matched}");
    }
    let wanted = &status["wanted"];
    if wanted["wanted"] != 0 {
        println!(
            "asked by the agent, for the kernel could not read the answer: {} names wanted, {} answered, {} failed, {} repeated, {} dropped; {} addresses learned, {} refused",
            wanted["wanted"],
            wanted["answered"],
            wanted["failed"],
            wanted["repeated"],
            wanted["dropped"],
            wanted["addressesTaught"],
            wanted["addressesRefused"]
        );
    }
    let remembered = &status["remembered"];
    if remembered["restored"] != 0 || remembered["leftOut"] != 0 {
        println!(
            "from before this start: {} addresses restored, {} left out",
            remembered["restored"], remembered["leftOut"]
        );
    }
    println!("not visible");
    for it in each(&status["notVisible"]) {
        println!("  {}", text(it));
    }
}

fn print_name(name: &Value) {
    let addresses = name["addresses"].as_array().map_or(&[][..], Vec::as_slice);
    let grace = match name["inGrace"].as_u64() {
        None | Some(0) => String::new(),
        Some(count) => format!(", {count} over their time and in grace"),
    };
    println!(
        "  {}: {} of {} addresses{grace}",
        text(&name["name"]),
        addresses.len(),
        name["quota"]
    );
    for it in addresses.iter().take(ADDRESSES_SHOWN) {
        let left = if it["inGrace"] == true {
            format!("in grace, {} s left", it["graceSeconds"])
        } else {
            format!("{} s left", it["remainingSeconds"])
        };
        let age = it["ageSeconds"].as_u64().map(|age| format!(", {age} s ago"));
        println!(
            "    {}  {}, {}{}, {left}",
            text(&it["address"]),
            text(&it["asked"]),
            text(&it["source"]),
            age.unwrap_or_default()
        );
    }
    if addresses.len() > ADDRESSES_SHOWN {
        println!("    and {} more (--json)", addresses.len() - ADDRESSES_SHOWN);
    }
    if let Some(error) = name["lookup"]["lastError"].as_str() {
        println!("    last lookup failed: {error}");
    }
}
