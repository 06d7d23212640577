//! Real service tags: the programs against a containment check that shares no code with the agent.

use std::{
    collections::{BTreeMap, HashSet},
    fmt::Write as _,
    fs,
    net::{IpAddr, Ipv4Addr, Ipv6Addr},
    path::{Path, PathBuf},
    time::{Duration, Instant},
};

use ipnet::IpNet;
use nsp_agent::{
    compile::identities::Identities,
    datapath::{Capacities, Datapath},
};
use nsp_common::{
    address::Address,
    explain::Question,
    net::transport::{protocol, tcp},
    packet::{Packet, flags},
    verdict::{Direction, Verdict},
};
use nsp_tests::{
    data::{shared_data, workspace},
    prog::compiled,
};
use rustix::time::{ClockId, clock_gettime};

/// Time in which such a policy is to be checked; the release build takes a fraction of it.
const CHECK_TIME_MAX: Duration = Duration::from_secs(2);

/// The files, real or the committed samples: Azure's and AWS's.
fn files() -> (PathBuf, PathBuf) {
    match shared_data() {
        Some(data) => {
            (data.join("azure_ServiceTags_Public_2025-09.json"), data.join("aws-ip-ranges.json"))
        }
        None => {
            let samples = workspace().join("tests/fixtures/sources");
            (samples.join("service-tags.json"), samples.join("ip-ranges.json"))
        }
    }
}

/// The tag with the most prefixes that the file in use has.
fn azure_tag() -> &'static str {
    if shared_data().is_some() { "AzureCloud" } else { "Storage" }
}

fn json(path: &Path) -> serde_json::Value {
    let text =
        fs::read_to_string(path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    serde_json::from_str(&text).expect("vendors write JSON")
}

fn texts<'a>(list: &'a serde_json::Value, key: &'a str) -> impl Iterator<Item = &'a str> {
    list.as_array().into_iter().flatten().filter_map(move |entry| match key {
        "" => entry.as_str(),
        key => entry[key].as_str(),
    })
}

fn azure(path: &Path) -> BTreeMap<String, Vec<IpNet>> {
    let file = json(path);
    let tags = file["values"].as_array().expect("Azure's file has values");
    let prefixes = |tag: &serde_json::Value| {
        let list = texts(&tag["properties"]["addressPrefixes"], "");
        list.map(|text| text.parse().expect("a prefix")).collect()
    };
    tags.iter()
        .map(|tag| (tag["name"].as_str().expect("a name").to_owned(), prefixes(tag)))
        .collect()
}

fn aws(path: &Path) -> Vec<IpNet> {
    let file = json(path);
    let v4 = texts(&file["prefixes"], "ip_prefix");
    let v6 = texts(&file["ipv6_prefixes"], "ipv6_prefix");
    v4.chain(v6).map(|text| text.parse().expect("a prefix")).collect()
}

/// Containment by looking a prefix of every length up in a set.
struct Set(HashSet<IpNet>);

impl Set {
    fn of(prefixes: &[IpNet]) -> Self {
        Self(prefixes.iter().map(IpNet::trunc).collect())
    }

    fn contains(&self, address: IpAddr) -> bool {
        let longest = if address.is_ipv4() { 32 } else { 128 };
        (0..=longest).any(|length| {
            self.0.contains(&IpNet::new(address, length).expect("a length of the family").trunc())
        })
    }
}

/// First, last and both neighbours.
fn edges(prefix: &IpNet) -> Vec<IpAddr> {
    match prefix {
        IpNet::V4(net) => {
            let (first, last) = (net.network().to_bits(), net.broadcast().to_bits());
            [Some(first), Some(last), first.checked_sub(1), last.checked_add(1)]
                .into_iter()
                .flatten()
                .map(|bits| IpAddr::V4(Ipv4Addr::from_bits(bits)))
                .collect()
        }
        IpNet::V6(net) => {
            let (first, last) = (net.network().to_bits(), net.broadcast().to_bits());
            [Some(first), Some(last), first.checked_sub(1), last.checked_add(1)]
                .into_iter()
                .flatten()
                .map(|bits| IpAddr::V6(Ipv6Addr::from_bits(bits)))
                .collect()
        }
    }
}

fn asks_for_443(remote: IpAddr) -> Question {
    let mut packet = Packet { direction: Direction::Inbound as u8, ..Packet::EMPTY };
    packet.flags = flags::ADDRESSED | flags::KEYED | flags::PORTS;
    packet.key.remote = Address::from(remote);
    let local: IpAddr =
        if remote.is_ipv4() { "192.0.2.1" } else { "2001:db8:1::1" }.parse().expect("a constant");
    packet.key.local = Address::from(local);
    packet.key.family = if remote.is_ipv4() { 4 } else { 6 };
    packet.key.protocol = protocol::TCP;
    packet.key.remote_port = 40_000;
    packet.key.local_port = 443;
    packet.tcp_flags = tcp::SYN;
    Question { cgroups: [0; 8], packet }
}

fn loaded(text: &str, identities: &mut Identities) -> Datapath {
    nsp_tests::privilege::require();
    let generation = compiled(text, identities);
    let mut datapath = Datapath::load(Capacities::for_sizes(&generation.compiled.sizes))
        .unwrap_or_else(|error| panic!("{:#}", anyhow::Error::from(error)));
    datapath
        .publish(&generation.compiled, &[], &BTreeMap::new())
        .unwrap_or_else(|error| panic!("{:#}", anyhow::Error::from(error)));
    datapath
}

#[test]
fn every_edge_of_azure_cloud_and_aws_is_judged_as_containment_says() {
    let (azure_file, aws_file) = files();
    let tag = azure_tag();
    let text = format!(
        "[perimeter]\nname = \"clouds\"\n[sources]\nservice_tags = {azure_file:?}\n\
         aws_ip_ranges = {aws_file:?}\n\
         [profile.web.inbound.a-aws]\nservice_tags = [\"aws:AMAZON\"]\n\
         [profile.web.inbound.b-azure]\nservice_tags = [{tag:?}]\n\
         [resource.web]\nports = [\"443/tcp\"]\nprofile = \"web\"\naccess_mode = \"enforced\"\n"
    );
    let started = Instant::now();
    let mut identities = Identities::default();
    let datapath = loaded(&text, &mut identities);
    let took = started.elapsed();
    let azure = azure(&azure_file).remove(tag).expect("the tag is in the file");
    let aws = aws(&aws_file);
    let (in_azure, in_aws) = (Set::of(&azure), Set::of(&aws));
    let aws_rule = identities.rule("web", Direction::Inbound, "a-aws");
    let azure_rule = identities.rule("web", Direction::Inbound, "b-azure");
    let mut asked = 0;
    for prefix in azure.iter().chain(&aws) {
        for address in edges(prefix) {
            let answer = datapath.explain(&asks_for_443(address)).expect("the program answers");
            let expected = if in_aws.contains(address) {
                (Verdict::Pass as u8, aws_rule)
            } else if in_azure.contains(address) {
                (Verdict::Pass as u8, azure_rule)
            } else {
                (Verdict::Drop as u8, 0)
            };
            assert_eq!((answer.verdict, answer.rule), expected, "{address}, an edge of {prefix}");
            asked += 1;
        }
    }
    println!("{asked} addresses; parsed, compiled and loaded in {took:?}");
    assert!(asked >= 4 * (azure.len() + aws.len()) - 8);
}

#[test]
fn checking_the_clouds_takes_less_than_two_seconds() {
    let (azure_file, aws_file) = files();
    let tag = azure_tag();
    let text = format!(
        "[perimeter]\nname = \"clouds\"\n[sources]\nservice_tags = {azure_file:?}\n\
         aws_ip_ranges = {aws_file:?}\n\
         [profile.web.inbound.all]\nservice_tags = [\"aws:AMAZON\", {tag:?}]\n\
         [resource.web]\nports = [\"443/tcp\"]\nprofile = \"web\"\n"
    );
    // Time of this thread, not of the wall: other tests run beside it.
    let started = clock_gettime(ClockId::ThreadCPUTime);
    let generation = compiled(&text, &mut Identities::default());
    assert!(generation.compiled.sizes.prefixes > 0);
    let took = clock_gettime(ClockId::ThreadCPUTime) - started;
    let took = Duration::try_from(took).expect("time goes forward");
    assert!(took < CHECK_TIME_MAX, "{took:?}");
}

/// Every tag of Azure's file in one profile, and 200 profiles of 200 rule elements beside it.
fn everything(extra: &str) -> String {
    let (azure_file, _) = files();
    let mut text =
        format!("[perimeter]\nname = \"everything\"\n[sources]\nservice_tags = {azure_file:?}\n");
    for (index, tag) in azure(&azure_file).keys().enumerate() {
        let _written = writeln!(text, "[profile.tags.inbound.t{index}]\nservice_tags = [{tag:?}]");
    }
    for profile in 0..200_u32 {
        let _written =
            writeln!(text, "[profile.p{profile}.inbound.r]\n{extra}\naddress_prefixes = [");
        for element in 0..200_u32 {
            let number = profile * 200 + element;
            let (a, b, c) = (16 + number * 7919 % 200, number * 31 % 256, number * 17 % 256);
            let _written = writeln!(text, "\"{a}.{b}.{c}.0/24\",");
        }
        text.push_str("]\n");
    }
    text.push_str("[resource.web]\nports = [\"443/tcp\"]\nprofile = \"tags\"\n");
    text
}

#[test]
fn two_hundred_profiles_on_top_of_all_tags_are_sized_and_loaded() {
    let mut identities = Identities::default();
    let text = everything("");
    let sizes = compiled(&text, &mut identities).compiled.sizes;
    println!("{sizes:?}, {} KiB", sizes.bytes() / 1024);
    let datapath = loaded(&text, &mut identities);
    assert_eq!(datapath.generation(), Some(1));
}

#[test]
fn a_policy_over_the_budget_is_refused_by_the_name_of_the_table() {
    if shared_data().is_none() {
        // The samples are too small to break a budget.
        return;
    }
    // A rule for everything in each of 200 profiles: every class has 200 cells.
    let mut text = everything("");
    for profile in 0..200 {
        let _written = writeln!(
            text,
            "[profile.p{profile}.inbound.everything]\nallow_any = true\n\
             address_prefixes = [\"0.0.0.0/0\", \"::/0\"]"
        );
    }
    let policy = nsp_tests::prog::loaded(&text);
    let refused = nsp_agent::compile::compile(&policy, &mut Identities::default());
    let error = refused.err().expect("nine million cells do not fit").to_string();
    assert!(error.contains("cells") && error.contains("the limit is"), "{error}");
}
