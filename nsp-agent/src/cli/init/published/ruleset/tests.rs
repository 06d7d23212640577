use rstest::rstest;
use serde_json::json;

use super::*;

const OWN: [&str; 2] = ["192.0.2.1", "2001:db8:1::1"];

/// What is published by these rules of chain `publish`, beside the given sets and chains.
fn found(rules: &[Value], others: &[Value]) -> Published {
    let mut objects = vec![
        json!({"metainfo": {"version": "1.0.6", "json_schema_version": 1}}),
        json!({"table": {"family": "inet", "name": "engine"}}),
        json!({"chain": {"family": "inet", "table": "engine", "name": "publish", "type": "nat",
                         "hook": "prerouting", "prio": -100, "policy": "accept"}}),
    ];
    objects.extend(rules.iter().map(|rule| in_chain("publish", rule)));
    objects.extend_from_slice(others);
    let own: Vec<IpAddr> = OWN.iter().map(|address| address.parse().unwrap()).collect();
    published(&json!({ "nftables": objects }), &own)
}

fn in_chain(chain: &str, statements: &Value) -> Value {
    json!({"rule": {"family": "inet", "table": "engine", "chain": chain, "expr": statements}})
}

fn is(left: &Value, right: &Value) -> Value {
    json!({"match": {"op": "==", "left": left, "right": right}})
}

fn dport(protocol: &str, right: &Value) -> Value {
    is(&json!({"payload": {"protocol": protocol, "field": "dport"}}), right)
}

fn dnat() -> Value {
    json!({"dnat": {"family": "ip", "addr": "172.17.0.2", "port": 80}})
}

/// As `8080/tcp → 172.17.0.2:80`, one line a port.
fn lines(published: &Published) -> Vec<String> {
    let line = |(range, to): (&PortRange, &BTreeSet<String>)| {
        format!("{range} → {}", Vec::from_iter(to.iter().map(String::as_str)).join(", "))
    };
    published.ports.iter().map(line).collect()
}

#[rstest]
#[case::port(json!([dport("tcp", &json!(8080)), dnat()]), &["8080/tcp → 172.17.0.2:80"])]
#[case::with_counter(json!([dport("tcp", &json!(8080)), {"counter": {"packets": 0, "bytes": 0}}, dnat()]),
    &["8080/tcp → 172.17.0.2:80"])]
#[case::v6(json!([dport("udp", &json!(53)), {"dnat": {"family": "ip6", "addr": "fd00:17::2", "port": 5353}}]),
    &["53/udp → [fd00:17::2]:5353"])]
#[case::same_port_inside(json!([dport("tcp", &json!(8080)), {"dnat": {"addr": "172.17.0.2"}}]), &["8080/tcp → 172.17.0.2"])]
#[case::range(json!([dport("tcp", &json!({"range": [9000, 9010]})), dnat()]), &["9000-9010/tcp → 172.17.0.2:80"])]
#[case::range_from_zero(json!([dport("tcp", &json!({"range": [0, 1023]})), dnat()]), &["1-1023/tcp → 172.17.0.2:80"])]
#[case::set(json!([dport("udp", &json!({"set": [53, {"range": [60, 62]}]})), {"redirect": {"port": 1053}}]),
    &["53/udp → port 1053 of this host", "60-62/udp → port 1053 of this host"])]
#[case::named_set(json!([dport("tcp", &json!("@ports")), dnat()]),
    &["1000-1010/tcp → 172.17.0.2:80", "2000/tcp → 172.17.0.2:80"])]
#[case::redirect_to_the_same_port(json!([dport("tcp", &json!(80)), {"redirect": null}]), &["80/tcp → this host"])]
#[case::several_targets(json!([dport("tcp", &json!(80)),
        {"dnat": {"addr": {"range": ["172.17.0.2", "172.17.0.9"]}, "port": {"range": [80, 90]}}}]),
    &["80/tcp → 172.17.0.2-172.17.0.9:80-90"])]
#[case::target_by_chance(json!([dport("tcp", &json!(80)),
        {"dnat": {"addr": {"map": {"key": {"numgen": {"mode": "inc", "mod": 2}}, "data": {"set": [[0, "172.17.0.2"]]}}}, "port": 80}}]),
    &["80/tcp → a place that nft does not show"])]
#[case::map(json!([{"dnat": {"family": "ip", "addr": {"map": {"key": {"payload": {"protocol": "tcp", "field": "dport"}},
        "data": {"set": [[91, {"concat": ["172.17.0.3", 80]}], [92, "172.17.0.4"]]}}}}}]),
    &["91/tcp → 172.17.0.3:80", "92/tcp → 172.17.0.4"])]
#[case::named_map(json!([{"dnat": {"family": "ip", "addr": {"map": {"key": {"payload": {"protocol": "tcp", "field": "dport"}},
        "data": "@targets"}}}}]),
    &["81/tcp → 172.17.0.3:80"])]
#[case::either_transport(json!([is(&json!({"meta": {"key": "l4proto"}}), &json!({"set": ["tcp", "udp"]})),
        dport("th", &json!(7000)), dnat()]),
    &["7000/tcp → 172.17.0.2:80", "7000/udp → 172.17.0.2:80"])]
#[case::transport_by_number(json!([is(&json!({"meta": {"key": "l4proto"}}), &json!(17)), dport("th", &json!(7000)), dnat()]),
    &["7000/udp → 172.17.0.2:80"])]
#[case::for_this_host(json!([is(&json!({"fib": {"result": "type", "flags": ["daddr"]}}), &json!("local")),
        dport("tcp", &json!(8080)), dnat()]), &["8080/tcp → 172.17.0.2:80"])]
#[case::for_its_address(json!([is(&json!({"payload": {"protocol": "ip", "field": "daddr"}}), &json!("192.0.2.1")),
        dport("tcp", &json!(8080)), dnat()]), &["8080/tcp → 172.17.0.2:80"])]
#[case::for_its_network(json!([is(&json!({"payload": {"protocol": "ip6", "field": "daddr"}}),
        &json!({"prefix": {"addr": "2001:db8:1::", "len": 64}})), dport("tcp", &json!(8080)), dnat()]),
    &["8080/tcp → 172.17.0.2:80"])]
#[case::iptables(json!([dport("tcp", &json!(8080)), {"counter": {"packets": 0, "bytes": 0}},
        {"xt": {"type": "target", "name": "DNAT"}}]), &["8080/tcp → a place that only `iptables-save -t nat` shows"])]
#[case::iptables_redirect(json!([dport("tcp", &json!({"range": [1000, 1010]})), {"xt": {"type": "target", "name": "REDIRECT"}}]),
    &["1000-1010/tcp → a place that only `iptables-save -t nat` shows"])]
#[case::iptables_before_1_0_6(json!([dport("tcp", &json!(8080)), {"counter": null}, {"xt": null}]),
    &["8080/tcp → a place that only `iptables-save -t nat` shows"])]
fn is_published(#[case] rule: Value, #[case] expected: &[&str]) {
    let others = [
        json!({"set": {"family": "inet", "name": "ports", "table": "engine", "type": "inet_service",
                       "elem": [{"range": [1000, 1010]}, {"elem": {"val": 2000, "timeout": 60}}]}}),
        json!({"map": {"family": "inet", "name": "targets", "table": "engine", "type": "inet_service",
                       "map": "ipv4_addr . inet_service", "elem": [[81, {"concat": ["172.17.0.3", 80]}]]}}),
    ];
    let found = found(&[rule], &others);
    let mut expected = expected.to_vec();
    expected
        .sort_by_key(|line| found.ports.keys().position(|it| line.starts_with(&format!("{it} "))));
    assert_eq!(lines(&found), expected);
    assert_eq!(found.notes, BTreeSet::new());
}

#[rstest]
#[case::accepted(json!([dport("tcp", &json!(22)), {"accept": null}]))]
#[case::for_loopback(json!([is(&json!({"payload": {"protocol": "ip", "field": "daddr"}}), &json!("127.0.0.1")),
        dport("tcp", &json!(8089)), dnat()]))]
#[case::for_another_host(json!([is(&json!({"payload": {"protocol": "ip", "field": "daddr"}}), &json!("10.96.0.1")),
        dport("tcp", &json!(443)), dnat()]))]
#[case::for_other_hosts(json!([is(&json!({"payload": {"protocol": "ip", "field": "daddr"}}), &json!({"set": ["10.96.0.1", "10.96.0.2"]})),
        dport("tcp", &json!(443)), dnat()]))]
#[case::for_another_network(json!([is(&json!({"payload": {"protocol": "ip", "field": "daddr"}}), &json!({"prefix": {"addr": "10.96.0.0", "len": 12}})),
        dport("tcp", &json!(443)), dnat()]))]
#[case::from_this_host(json!([is(&json!({"meta": {"key": "iifname"}}), &json!("lo")), dport("tcp", &json!(80)), dnat()]))]
#[case::no_ports_at_all(json!([is(&json!({"meta": {"key": "l4proto"}}), &json!("icmp")), {"dnat": {"addr": "172.17.0.3"}}]))]
#[case::other_targets_of_iptables(json!([dport("tcp", &json!(80)), {"xt": {"type": "target", "name": "LOG"}}]))]
#[case::match_of_iptables(json!([dport("tcp", &json!(80)), {"xt": {"type": "match", "name": "DNAT"}}]))]
#[case::match_of_iptables_before_1_0_6(json!([dport("tcp", &json!(80)), {"xt": null}, {"return": null}]))]
fn is_not_published(#[case] rule: Value) {
    assert_eq!(found(&[rule], &[]), Published::default());
}

#[rstest]
#[case::every_port(json!([dnat()]))]
#[case::every_port_of_an_address(json!([is(&json!({"payload": {"protocol": "ip", "field": "daddr"}}), &json!("192.0.2.1")), dnat()]))]
#[case::all_but_one(json!([{"match": {"op": "!=", "left": {"payload": {"protocol": "tcp", "field": "dport"}}, "right": 22}}, dnat()]))]
#[case::unknown_set(json!([dport("tcp", &json!("@gone")), dnat()]))]
#[case::multiport(json!([is(&json!({"meta": {"key": "l4proto"}}), &json!("tcp")), {"xt": {"type": "match", "name": "multiport"}},
        {"xt": {"type": "target", "name": "DNAT"}}]))]
fn is_noted_where_the_ports_are_not_told(#[case] rule: Value) {
    let found = found(&[rule], &[]);
    assert_eq!(lines(&found), [""; 0]);
    let note = found.notes.first().expect("a note");
    assert!(note.starts_with("a rule in chain publish of table inet engine leads to "), "{note}");
}

#[test]
fn one_port_leads_where_each_family_leads() {
    let v4 = json!([dport("tcp", &json!(8080)), dnat()]);
    let v6 = json!([dport("tcp", &json!(8080)), {"dnat": {"family": "ip6", "addr": "fd00:17::2", "port": 80}}]);
    let found = found(&[v4, v6], &[]);
    assert_eq!(lines(&found), ["8080/tcp → 172.17.0.2:80, [fd00:17::2]:80"]);
}

#[test]
fn a_rule_of_ip6tables_is_shown_by_its_own_program() {
    let json = json!({"nftables": [
        {"chain": {"family": "ip6", "table": "nat", "name": "PREROUTING", "type": "nat", "hook": "prerouting"}},
        {"rule": {"family": "ip6", "table": "nat", "chain": "PREROUTING", "expr": [
            dport("tcp", &json!(8080)), {"xt": {"type": "target", "name": "DNAT"}}]}},
    ]});
    let found = published(&json, &[]);
    assert_eq!(lines(&found), ["8080/tcp → a place that only `ip6tables-save -t nat` shows"]);
}

#[test]
fn jumps_are_followed_with_the_ports_that_got_there() {
    let rules = [
        json!([dport("tcp", &json!(8081)), {"jump": {"target": "web"}}]),
        json!([{"vmap": {"key": {"payload": {"protocol": "tcp", "field": "dport"}},
                         "data": {"set": [[22, {"accept": null}], [443, {"goto": {"target": "web"}}]]}}}]),
        json!([is(&json!({"payload": {"protocol": "ip", "field": "daddr"}}), &json!("10.96.0.1")),
               dport("tcp", &json!(8082)), {"jump": {"target": "web"}}]),
    ];
    let web = in_chain("web", &json!([dnat()]));
    let unused = in_chain("unused", &json!([dport("tcp", &json!(1)), dnat()]));
    let found = found(&rules, &[web, unused]);
    assert_eq!(lines(&found), ["443/tcp → 172.17.0.2:80", "8081/tcp → 172.17.0.2:80"]);
}

#[test]
fn chains_in_a_circle_end() {
    let rules =
        [json!([{"jump": {"target": "publish"}}]), json!([dport("tcp", &json!(80)), dnat()])];
    assert_eq!(lines(&found(&rules, &[])), ["80/tcp → 172.17.0.2:80"]);
}

#[rstest]
#[case::output("inet", "nat", "output")]
#[case::filter("inet", "filter", "prerouting")]
#[case::bridge("bridge", "nat", "prerouting")]
fn other_chains_publish_nothing(#[case] family: &str, #[case] kind: &str, #[case] hook: &str) {
    let json = json!({"nftables": [
        {"chain": {"family": family, "table": "t", "name": "c", "type": kind, "hook": hook}},
        {"rule": {"family": family, "table": "t", "chain": "c", "expr": [dport("tcp", &json!(80)), dnat()]}},
    ]});
    assert_eq!(published(&json, &[]), Published::default());
}

#[rstest]
#[case::nothing(json!(null))]
#[case::no_list(json!({"nftables": 1}))]
#[case::odd_objects(json!({"nftables": [1, {}, {"rule": 1}, {"rule": {"expr": 1}}, {"chain": null}, {"set": {"elem": 1}}]}))]
#[case::odd_statements(json!({"nftables": [
    {"chain": {"family": "ip", "table": "t", "name": "c", "type": "nat", "hook": "prerouting"}},
    {"rule": {"family": "ip", "table": "t", "chain": "c", "expr": [1, null, {"match": 1}, {"jump": 1}, {"vmap": 1}, {"xt": 1}]}},
]}))]
fn what_makes_no_sense_publishes_nothing(#[case] json: Value) {
    assert_eq!(published(&json, &[]), Published::default());
}
