//! Following the rules of nftables from prerouting to where they rewrite a destination.

use std::{
    collections::{BTreeMap, BTreeSet},
    net::IpAddr,
};

use serde_json::Value;

use super::{
    Published,
    statements::{by_port, ports_of, rewrites, transports_of},
    values,
};
use crate::policy::model::{PortRange, Transport};

/// How deep the kernel lets chains jump (`NFT_JUMP_STACK_SIZE`).
const JUMPS_MAX: usize = 16;

/// What a ruleset publishes.
pub(super) fn published(json: &Value, own: &[IpAddr]) -> Published {
    let ruleset = Ruleset::read(json);
    let mut walk =
        Walk { ruleset: &ruleset, own, seen: BTreeSet::new(), found: Published::default() };
    for chain in &ruleset.prerouting {
        walk.chain(*chain, &None, 0);
    }
    walk.found
}

/// A table's family, its name, and the name of a chain or set in it.
type Key<'a> = (&'a str, &'a str, &'a str);

/// The parts of a ruleset that matter here.
#[derive(Default)]
struct Ruleset<'a> {
    prerouting: Vec<Key<'a>>,
    rules: BTreeMap<Key<'a>, Vec<&'a [Value]>>,
    elements: BTreeMap<Key<'a>, &'a Value>,
}

impl<'a> Ruleset<'a> {
    fn read(json: &'a Value) -> Self {
        let mut ruleset = Self::default();
        for object in json["nftables"].as_array().into_iter().flatten() {
            if let Some(chain) = object.get("chain") {
                let rewrites = chain["type"] == "nat" && chain["hook"] == "prerouting";
                if rewrites && routes(&chain["family"]) {
                    ruleset.prerouting.extend(key(chain, "name"));
                }
            } else if let Some(rule) = object.get("rule") {
                if let (Some(key), Some(statements)) = (key(rule, "chain"), rule["expr"].as_array())
                {
                    ruleset.rules.entry(key).or_default().push(statements);
                }
            } else if let Some(set) = object.get("set").or_else(|| object.get("map"))
                && let (Some(key), Some(elements)) = (key(set, "name"), set.get("elem"))
            {
                ruleset.elements.insert(key, elements);
            }
        }
        ruleset
    }
}

/// Whether packets of this family are rewritten on their way to the host; not those of a bridge.
fn routes(family: &Value) -> bool {
    ["ip", "ip6", "inet"].iter().any(|it| family == it)
}

fn key<'a>(object: &'a Value, name: &str) -> Option<Key<'a>> {
    Some((object["family"].as_str()?, object["table"].as_str()?, object[name].as_str()?))
}

/// The ports that got as far as a rule; `None` is every one.
type Ports = Option<Vec<PortRange>>;

struct Walk<'a> {
    ruleset: &'a Ruleset<'a>,
    own: &'a [IpAddr],
    /// Chains that were followed, and for which ports: many rules may lead to one.
    seen: BTreeSet<(Key<'a>, Ports)>,
    found: Published,
}

impl<'a> Walk<'a> {
    fn chain(&mut self, chain: Key<'a>, ports: &Ports, jumps: usize) {
        if jumps > JUMPS_MAX || !self.seen.insert((chain, ports.clone())) {
            return;
        }
        for statements in self.ruleset.rules.get(&chain).into_iter().flatten() {
            self.rule(chain, statements, ports.clone(), jumps);
        }
    }

    /// One rule: its statements narrow down what the next ones see.
    fn rule(&mut self, chain: Key<'a>, statements: &'a [Value], mut ports: Ports, jumps: usize) {
        let (family, table, _) = chain;
        let ruleset = self.ruleset;
        let elements = move |name: &str| ruleset.elements.get(&(family, table, name)).copied();
        // What `th dport` means was said by a match before it.
        let mut transports = vec![Transport::Tcp, Transport::Udp];
        for (index, statement) in statements.iter().enumerate() {
            if let Some(it) = statement.get("match") {
                if self.is_for_others(it, &elements) {
                    return;
                }
                if let Some(named) = transports_of(it) {
                    if named.is_empty() {
                        // It is about a protocol that has no ports.
                        return;
                    }
                    transports = named;
                }
                if let Some(named) = ports_of(it, &transports, &elements) {
                    ports = Some(named);
                }
            } else if let Some(it) = statement.get("jump").or_else(|| statement.get("goto")) {
                self.jump(chain, it, &ports, jumps);
            } else if let Some(it) = statement.get("vmap") {
                for (named, verdict) in by_port(it, &transports, &elements) {
                    if let Some(it) = verdict.get("jump").or_else(|| verdict.get("goto")) {
                        self.jump(chain, it, &Some(named), jumps);
                    }
                }
            } else if let Some(it) = statement.get("dnat").or_else(|| statement.get("redirect")) {
                self.rewrite(chain, it, ports.as_deref(), &transports, &elements);
            } else if let Some(it) = statement.get("xt")
                && rewrites(it, index + 1 == statements.len())
            {
                let tool = if family == "ip6" { "ip6tables-save" } else { "iptables-save" };
                let to = format!("a place that only `{tool} -t nat` shows");
                self.publish(chain, ports.as_deref(), &to);
            }
        }
    }

    fn jump(&mut self, (family, table, _): Key<'a>, jump: &'a Value, ports: &Ports, jumps: usize) {
        if let Some(target) = jump["target"].as_str() {
            self.chain((family, table, target), ports, jumps + 1);
        }
    }

    /// A destination is rewritten: to one place, or by a map from ports.
    fn rewrite(
        &mut self,
        chain: Key<'a>,
        statement: &'a Value,
        ports: Option<&[PortRange]>,
        transports: &[Transport],
        elements: &values::Elements<'a>,
    ) {
        let Some(map) = statement["addr"].get("map") else {
            return self.publish(chain, ports, &values::destination(statement));
        };
        let by_port = by_port(map, transports, elements);
        if by_port.is_empty() {
            self.publish(chain, ports, values::UNKNOWN);
        }
        for (named, to) in by_port {
            self.publish(chain, Some(&named), &values::destination_of_element(to));
        }
    }

    fn publish(&mut self, (family, table, chain): Key<'_>, ports: Option<&[PortRange]>, to: &str) {
        let Some(ports) = ports else {
            self.found.notes.insert(format!(
                "a rule in chain {chain} of table {family} {table} leads to {to} and does not say \
                 by tcp or udp dport for which ports: none is listed for it"
            ));
            return;
        };
        for range in ports {
            self.found.ports.entry(*range).or_default().insert(to.to_owned());
        }
    }

    /// Whether a match excludes what the outside sends to this host.
    fn is_for_others(&self, it: &'a Value, elements: &values::Elements<'a>) -> bool {
        let Value::String(operator) = &it["op"] else { return false };
        let (left, right) = (&it["left"], &it["right"]);
        if operator != "==" && operator != "in" {
            return false;
        }
        if left["payload"]["field"] == "daddr" {
            return !values::holds_any(right, self.own, elements);
        }
        let device = &left["meta"]["key"];
        (device == "iifname" || device == "iif") && right == "lo"
    }
}

#[cfg(test)]
mod tests;
