//! The tables of the kernel as one.

use std::collections::{BTreeMap, BTreeSet};

use ipnet::IpNet;

use super::{Route, RouteEntry};

type Tables = BTreeMap<u32, BTreeSet<u32>>;

/// Merges the routes of all tables: for each prefix that some table has, the union of what each
/// table answers for it, which is what its longest prefix that covers it says. The result is in
/// the order of prefixes.
///
/// Default routes are apart, as policy routing has them (`suppress_prefixlength 0`): one answers
/// only for what no table knows better. Without this the full-tunnel table of a VPN would make
/// every private network of the host reachable through the tunnel.
pub fn merge(routes: Vec<Route>) -> Vec<RouteEntry> {
    let mut by_prefix: BTreeMap<IpNet, Tables> = BTreeMap::new();
    for Route { table, prefix, interfaces } in routes {
        let tables = by_prefix.entry(prefix.trunc()).or_default();
        tables.entry(table).or_default().extend(interfaces);
    }
    // In this order a prefix comes after all that cover it, so those are a stack.
    let mut covering: Vec<(&IpNet, &Tables)> = Vec::new();
    let mut entries = Vec::with_capacity(by_prefix.len());
    for (prefix, tables) in &by_prefix {
        while covering.last().is_some_and(|(shorter, _)| !shorter.contains(prefix)) {
            covering.pop();
        }
        covering.push((prefix, tables));
        let interfaces = answers(&covering);
        entries.push(RouteEntry { prefix: *prefix, interfaces });
    }
    entries
}

/// What the tables answer for the last of these prefixes, each of which covers the next.
fn answers(covering: &[(&IpNet, &Tables)]) -> BTreeSet<u32> {
    let (mut answered, mut interfaces) = (BTreeSet::new(), BTreeSet::new());
    for (position, (prefix, tables)) in covering.iter().enumerate().rev() {
        let own = position + 1 == covering.len();
        if prefix.prefix_len() == 0 && !own {
            break;
        }
        for (table, devices) in *tables {
            if answered.insert(*table) {
                interfaces.extend(devices);
            }
        }
    }
    interfaces
}

#[cfg(test)]
mod tests {
    use super::*;

    const MAIN: u32 = 254;
    const VPN: u32 = 51820;

    fn merged(routes: &[(u32, &str, &[u32])]) -> Vec<(String, Vec<u32>)> {
        let route = |(table, prefix, interfaces): &(u32, &str, &[u32])| Route {
            table: *table,
            prefix: prefix.parse().unwrap(),
            interfaces: interfaces.iter().copied().collect(),
        };
        merge(routes.iter().map(route).collect())
            .into_iter()
            .map(|entry| (entry.prefix.to_string(), entry.interfaces.into_iter().collect()))
            .collect()
    }

    fn expect(actual: &[(String, Vec<u32>)], expected: &[(&str, &[u32])]) {
        let expected: Vec<(String, Vec<u32>)> =
            expected.iter().map(|(prefix, devices)| ((*prefix).into(), devices.to_vec())).collect();
        assert_eq!(actual, expected);
    }

    #[test]
    fn a_longer_prefix_of_a_table_replaces_the_shorter_one() {
        let routes = merged(&[
            (MAIN, "0.0.0.0/0", &[2]),
            (MAIN, "10.0.0.0/8", &[3]),
            (MAIN, "10.1.0.0/16", &[4]),
        ]);
        expect(&routes, &[("0.0.0.0/0", &[2]), ("10.0.0.0/8", &[3]), ("10.1.0.0/16", &[4])]);
    }

    #[test]
    fn equal_prefixes_are_united_within_a_table_and_across() {
        let routes = merged(&[
            (MAIN, "fe80::/64", &[2]),
            (MAIN, "fe80::/64", &[3]),
            (100, "fe80::/64", &[4]),
        ]);
        expect(&routes, &[("fe80::/64", &[2, 3, 4])]);
    }

    #[test]
    fn default_routes_of_all_tables_are_united() {
        let routes = merged(&[(MAIN, "0.0.0.0/0", &[2]), (100, "0.0.0.0/0", &[3])]);
        expect(&routes, &[("0.0.0.0/0", &[2, 3])]);
    }

    #[test]
    fn a_full_tunnel_does_not_lead_to_the_networks_of_the_host() {
        let routes = merged(&[(MAIN, "192.168.1.0/24", &[2]), (VPN, "0.0.0.0/0", &[7])]);
        expect(&routes, &[("0.0.0.0/0", &[7]), ("192.168.1.0/24", &[2])]);
    }

    #[test]
    fn a_longer_prefix_of_another_table_adds_and_does_not_hide() {
        let routes = merged(&[(MAIN, "10.0.0.0/8", &[2]), (100, "10.1.0.0/16", &[3])]);
        expect(&routes, &[("10.0.0.0/8", &[2]), ("10.1.0.0/16", &[2, 3])]);
    }

    #[test]
    fn a_table_that_refuses_a_prefix_hides_its_shorter_ones_and_no_others() {
        let routes = merged(&[
            (MAIN, "10.0.0.0/8", &[2]),
            (MAIN, "10.1.0.0/16", &[]),
            (100, "10.0.0.0/8", &[3]),
        ]);
        expect(&routes, &[("10.0.0.0/8", &[2, 3]), ("10.1.0.0/16", &[3])]);
    }

    #[test]
    fn neighbours_and_families_do_not_cover_each_other() {
        let routes = merged(&[
            (MAIN, "10.0.0.0/16", &[2]),
            (100, "10.1.0.0/16", &[3]),
            (MAIN, "::/0", &[4]),
            (MAIN, "0.0.0.0/0", &[5]),
        ]);
        expect(
            &routes,
            &[("0.0.0.0/0", &[5]), ("10.0.0.0/16", &[2]), ("10.1.0.0/16", &[3]), ("::/0", &[4])],
        );
    }
}
