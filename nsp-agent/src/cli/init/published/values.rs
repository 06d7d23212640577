//! Values in nft's JSON (libnftables-json(5)): ports, addresses, where a rule leads.

use std::net::IpAddr;

use ipnet::IpNet;
use serde_json::Value;

/// The ranges that a value on the right of a match on a port stands for; `None` where it is not
/// understood. `elements` gives those of a named set.
pub(super) fn ports<'a>(value: &'a Value, elements: &Elements<'a>) -> Option<Vec<(u16, u16)>> {
    if let Some(port) = port(value) {
        return Some(vec![(port, port)]);
    }
    if let Some(range) = value.get("range") {
        return Some(vec![(port(&range[0])?, port(&range[1])?)]);
    }
    let listed = listed(value, elements)?;
    let ranges = listed.iter().map(|element| ports(key_of(element), &|_| None));
    Some(ranges.collect::<Option<Vec<_>>>()?.concat())
}

/// An element of a map from ports: the ranges of ports, and what they are mapped to.
pub(super) type Element<'a> = (Vec<(u16, u16)>, &'a Value);

/// The elements of a map from ports.
pub(super) fn mapped<'a>(data: &'a Value, elements: &Elements<'a>) -> Option<Vec<Element<'a>>> {
    let pair = |element: &'a Value| Some((ports(key_of(element), &|_| None)?, element.get(1)?));
    listed(data, elements)?.iter().map(pair).collect()
}

/// Whether a value on the right of a match on the destination is, or may be, one of `own`.
pub(super) fn holds_any<'a>(value: &'a Value, own: &[IpAddr], elements: &Elements<'a>) -> bool {
    if let Some(prefix) = value.get("prefix") {
        let network = prefix["addr"].as_str().zip(prefix["len"].as_u64());
        let network = network.and_then(|(addr, len)| format!("{addr}/{len}").parse::<IpNet>().ok());
        return network.is_none_or(|network| own.iter().any(|address| network.contains(address)));
    }
    if let Some(listed) = listed(value, elements) {
        return listed.iter().any(|element| holds_any(key_of(element), own, &|_| None));
    }
    // What is not understood may be one of them.
    let address = value.as_str().and_then(|text| text.parse::<IpAddr>().ok());
    address.is_none_or(|address| own.contains(&address))
}

/// Where a `dnat` or `redirect` leads, in words.
pub(super) fn destination(statement: &Value) -> String {
    let (address, port) = (&statement["addr"], text(&statement["port"]));
    match (text(address), port) {
        (Some(address), Some(port)) => join(&address, &port),
        (Some(address), None) => address,
        (None, _) if !address.is_null() => UNKNOWN.to_owned(),
        (None, Some(port)) => format!("port {port} of this host"),
        (None, None) => "this host".to_owned(),
    }
}

/// Where an element of a map leads, in words.
pub(super) fn destination_of_element(value: &Value) -> String {
    let parts = value.get("concat").and_then(Value::as_array).map(Vec::as_slice);
    match parts {
        Some([address, port]) => match (text(address), text(port)) {
            (Some(address), Some(port)) => join(&address, &port),
            _ => UNKNOWN.to_owned(),
        },
        _ => text(value).unwrap_or_else(|| UNKNOWN.to_owned()),
    }
}

/// What is said of a destination that nft does not tell.
pub(super) const UNKNOWN: &str = "a place that nft does not show";

/// The elements of a set or map, by its name.
pub(super) type Elements<'a> = dyn Fn(&str) -> Option<&'a Value> + 'a;

fn listed<'a>(value: &'a Value, elements: &Elements<'a>) -> Option<&'a [Value]> {
    let named = value.as_str().and_then(|text| text.strip_prefix('@'));
    let listed = match named {
        Some(name) => elements(name)?,
        None => value.get("set")?,
    };
    listed.as_array().map(Vec::as_slice)
}

/// An element's key: alone, before its value, or with a timeout or comment around it.
fn key_of(element: &Value) -> &Value {
    let key = element.get(0).unwrap_or(element);
    key.get("elem").map_or(key, |elem| &elem["val"])
}

fn port(value: &Value) -> Option<u16> {
    value.as_u64().and_then(|number| u16::try_from(number).ok())
}

/// An address or a port, or a range of them.
fn text(value: &Value) -> Option<String> {
    match value {
        Value::String(text) => Some(text.clone()),
        Value::Number(number) => Some(number.to_string()),
        _ => {
            let range = value.get("range")?;
            Some(format!("{}-{}", text(&range[0])?, text(&range[1])?))
        }
    }
}

fn join(address: &str, port: &str) -> String {
    if address.contains(':') { format!("[{address}]:{port}") } else { format!("{address}:{port}") }
}
