//! Statements in nft's JSON: of which ports a match or a map speaks, and what iptables hides.

use serde_json::Value;

use super::values;
use crate::policy::model::{PortRange, Transport};

/// The transports that a match on the protocol of a packet names.
pub(super) fn transports_of(it: &Value) -> Option<Vec<Transport>> {
    let left = &it["left"];
    let names_protocol = left["meta"]["key"] == "l4proto"
        || left["payload"]["field"] == "protocol"
        || left["payload"]["field"] == "nexthdr";
    if !names_protocol || it["op"] == "!=" {
        return None;
    }
    let right = &it["right"];
    let words: Vec<&Value> = match right["set"].as_array() {
        Some(set) => set.iter().collect(),
        None => vec![right],
    };
    // nft writes the number where the host has no /etc/protocols.
    let named = |word: &Value| {
        let fits = |it: &Transport| word == it.as_str() || word == it.number();
        Transport::ALL.into_iter().find(fits)
    };
    Some(words.into_iter().filter_map(named).collect())
}

/// The ports that a match on the destination port names.
pub(super) fn ports_of<'a>(
    it: &'a Value,
    transports: &[Transport],
    elements: &values::Elements<'a>,
) -> Option<Vec<PortRange>> {
    let transports = key_transports(&it["left"], transports)?;
    let known = it["op"] == "==" || it["op"] == "in";
    let ranges = known.then(|| values::ports(&it["right"], elements)).flatten()?;
    Some(with_transports(&ranges, &transports))
}

/// The elements of a map whose key is the destination port.
pub(super) fn by_port<'a>(
    map: &'a Value,
    transports: &[Transport],
    elements: &values::Elements<'a>,
) -> Vec<(Vec<PortRange>, &'a Value)> {
    let mapped = key_transports(&map["key"], transports)
        .and_then(|transports| Some((transports, values::mapped(&map["data"], elements)?)));
    let Some((transports, mapped)) = mapped else { return Vec::new() };
    let element = |(ranges, to): (Vec<_>, _)| (with_transports(&ranges, &transports), to);
    mapped.into_iter().map(element).collect()
}

/// Of which transports an expression is the destination port.
fn key_transports(expression: &Value, transports: &[Transport]) -> Option<Vec<Transport>> {
    let payload = expression.get("payload").filter(|payload| payload["field"] == "dport")?;
    match payload["protocol"].as_str()? {
        "th" => Some(transports.to_vec()),
        word => Transport::from_word(word).map(|transport| vec![transport]),
    }
}

fn with_transports(ranges: &[(u16, u16)], transports: &[Transport]) -> Vec<PortRange> {
    let of = |transport: &Transport| {
        let transport = *transport;
        // Nobody is sent to port 0, and a policy does not have it.
        let named = ranges.iter().filter(|(_, last)| *last > 0);
        named.map(move |&(first, last)| PortRange { transport, first: first.max(1), last })
    };
    transports.iter().flat_map(of).collect()
}

/// Whether a part of a rule of iptables, which nft shows by name only, rewrites the destination.
/// Before version 1.0.6 nft does not even give the name: the last part of a rule is its target.
pub(super) fn rewrites(xt: &Value, is_last: bool) -> bool {
    match xt["name"].as_str() {
        Some(name) => xt["type"] == "target" && (name == "DNAT" || name == "REDIRECT"),
        None => xt.is_null() && is_last,
    }
}
