//! A perimeter that admits whole clouds, by their real address lists.

use std::{
    collections::BTreeMap,
    fs,
    net::IpAddr,
    path::Path,
    time::{Duration, Instant},
};

use ipnet::IpNet;
use nsp_tests::{agent::Agent, data::shared_file, netns::World, packet::Party};
use serde_json::{Value, json};

use crate::seen;

/// The time in which `nsp check` is to be done with it; a build for debugging takes its own time.
const CHECK_TIME_MAX: Duration = Duration::from_secs(if cfg!(debug_assertions) { 6 } else { 2 });

#[test]
fn clouds_that_are_let_in_are_let_in_and_nobody_else_is() {
    let (Some(azure), Some(aws)) =
        (shared_file("azure_ServiceTags_Public_2025-09.json"), shared_file("aws-ip-ranges.json"))
    else {
        println!("skipped: the address lists of the clouds are not beside the workspace");
        return;
    };
    let policy = format!(
        "[perimeter]\nname = \"clouds\"\n\
         [sources]\nservice_tags = {azure:?}\naws_ip_ranges = {aws:?}\n\
         [profile.web.inbound.a-aws]\nservice_tags = [\"aws:AMAZON\"]\n\
         [profile.web.inbound.b-azure]\nservice_tags = [\"AzureCloud\"]\n\
         [resource.web]\nports = [\"443/tcp\"]\nprofile = \"web\"\naccess_mode = \"enforced\"\n"
    );
    let world = World::builder().clients(&[Party::Office]).build();
    let agent = Agent::builder(world.server()).policy(&policy).start();

    let took = check_time(&agent);
    println!("nsp check took {took:?}");
    assert!(took < CHECK_TIME_MAX, "nsp check took {took:?}");

    let cases = [
        ("a-aws", both_families(&aws_prefixes(&aws))),
        ("b-azure", both_families(&azure_prefixes(&azure))),
    ];
    for (rule, addresses) in cases {
        for address in addresses {
            let said = explain(&agent, address);
            let expected = json!({
                "verdict": "allow",
                "wouldDeny": false,
                "rule": rule,
                "resource": "web",
                "category": "NspPublicInboundPerimeterRulesAllowed",
            });
            assert!(seen::has(&said, &expected), "{address}: {said:#} is not {expected:#}");
        }
    }
    // Reserved for documentation: nobody's.
    for address in ["203.0.113.9", "2001:db8:100::9"] {
        let said = explain(&agent, address.parse().expect("a constant"));
        let expected = json!({
            "verdict": "deny",
            "rule": null,
            "reason": "no rule",
            "resource": "web",
            "category": "NspPublicInboundPerimeterRulesDenied",
        });
        assert!(seen::has(&said, &expected), "{address}: {said:#} is not {expected:#}");
    }
}

/// How long the command takes, by the wall: the shortest of three, as other tests run beside it.
fn check_time(agent: &Agent) -> Duration {
    let policy = agent.home().policy();
    let policy = policy.to_str().expect("a temporary directory of ours");
    let once = |_| {
        let started = Instant::now();
        agent.nsp_ok(&["check", policy]);
        started.elapsed()
    };
    (0..3).map(once).min().expect("three times")
}

fn explain(agent: &Agent, from: IpAddr) -> Value {
    let from = from.to_string();
    let said = agent.nsp_ok(&["explain", "--json", "--interface", "up0", &from, "443/tcp"]);
    serde_json::from_str(&said).expect("JSON")
}

/// The first address of the first prefix of each family.
fn both_families(prefixes: &[IpNet]) -> [IpAddr; 2] {
    [true, false].map(|v4| {
        let prefix = prefixes.iter().find(|prefix| prefix.addr().is_ipv4() == v4);
        prefix.expect("a cloud has both families").network()
    })
}

fn json_of(path: &Path) -> Value {
    let text = fs::read_to_string(path).unwrap_or_else(|it| panic!("{}: {it}", path.display()));
    serde_json::from_str(&text).expect("vendors write JSON")
}

fn aws_prefixes(path: &Path) -> Vec<IpNet> {
    let file = json_of(path);
    let lists = [("prefixes", "ip_prefix"), ("ipv6_prefixes", "ipv6_prefix")];
    let of = |(list, key): (&str, &'static str)| {
        let entries = file[list].as_array().cloned().unwrap_or_default();
        entries.into_iter().filter(|it| it["service"] == "AMAZON").map(move |it| prefix(&it[key]))
    };
    lists.into_iter().flat_map(of).collect()
}

fn azure_prefixes(path: &Path) -> Vec<IpNet> {
    let file = json_of(path);
    let tags = file["values"].as_array().expect("Azure's file has values");
    let tags: BTreeMap<_, _> = tags.iter().map(|tag| (tag["name"].as_str(), tag)).collect();
    let list = &tags[&Some("AzureCloud")]["properties"]["addressPrefixes"];
    list.as_array().expect("a tag has prefixes").iter().map(prefix).collect()
}

fn prefix(text: &Value) -> IpNet {
    text.as_str().and_then(|text| text.parse().ok()).unwrap_or_else(|| panic!("{text}: a prefix"))
}
