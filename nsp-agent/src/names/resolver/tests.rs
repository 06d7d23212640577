mod server;

use std::{
    net::IpAddr,
    time::{Duration, Instant},
};

use hickory_resolver::proto::{op::ResponseCode, rr::RecordType};
use rstest::rstest;

use self::server::{Reply, Server};
use super::{HOSTS_TTL, HostResolver};
use crate::names::resolve::{Answer, LOOKUP_TIME_MAX, Resolve as _, ResolveError, Upstreams};

fn ip(text: &str) -> IpAddr {
    text.parse().unwrap()
}

fn answer(addresses: &[&str], ttl_s: u64) -> Answer {
    let addresses = addresses.iter().map(|text| ip(text)).collect();
    Answer { addresses, ttl: Duration::from_secs(ttl_s), incomplete: None }
}

/// A resolver that asks only this server.
fn resolver(server: &Server) -> HostResolver {
    let none = "/nonexistent/nsp".into();
    HostResolver::with_files(Upstreams::Servers(vec![server.address()]), "".into(), none)
}

#[tokio::test]
async fn both_families_are_merged_with_the_smaller_ttl() {
    let mut server = Server::start().await;
    server.records("www.example.com", &["A 300 198.51.100.7", "A 300 198.51.100.8"]);
    server.records("www.example.com", &["AAAA 60 2001:db8::7"]);
    let found = resolver(&server).lookup("www.example.com").await;
    assert_eq!(found, Ok(answer(&["198.51.100.7", "198.51.100.8", "2001:db8::7"], 60)));
}

#[tokio::test]
async fn one_family_is_enough() {
    let mut server = Server::start().await;
    server.records("v4.example.com", &["A 300 198.51.100.7"]);
    server.records("v6.example.com", &["AAAA 300 2001:db8::7"]);
    let resolver = resolver(&server);
    assert_eq!(resolver.lookup("v4.example.com").await, Ok(answer(&["198.51.100.7"], 300)));
    assert_eq!(resolver.lookup("v6.example.com").await, Ok(answer(&["2001:db8::7"], 300)));
}

#[tokio::test]
async fn nothing_is_cached() {
    let mut server = Server::start().await;
    server.records("www.example.com", &["A 300 198.51.100.7"]);
    let resolver = resolver(&server);
    for _ in 0..3 {
        resolver.lookup("www.example.com").await.unwrap();
    }
    assert_eq!(server.asked("www.example.com", RecordType::A), 3);
}

#[tokio::test]
async fn a_cname_chain_is_credited_to_the_name_asked_with_its_smallest_ttl() {
    let mut server = Server::start().await;
    server.records(
        "www.example.com",
        &["CNAME 30 edge.example.net", "edge.example.net CNAME 600 pop.example.org"],
    );
    server.add_records("www.example.com", RecordType::A, &["pop.example.org A 300 198.51.100.7"]);
    server.records("pop.example.org", &[]);
    let found = resolver(&server).lookup("www.example.com").await;
    assert_eq!(found, Ok(answer(&["198.51.100.7"], 30)));
}

#[tokio::test]
async fn a_cname_whose_target_is_not_in_the_answer_is_followed() {
    let mut server = Server::start().await;
    server.records("www.example.com", &["CNAME 30 edge.example.net"]);
    server.records("edge.example.net", &["A 300 198.51.100.7"]);
    let found = resolver(&server).lookup("www.example.com").await;
    assert_eq!(found, Ok(answer(&["198.51.100.7"], 30)));
}

#[tokio::test]
async fn records_of_other_names_teach_nothing() {
    let mut server = Server::start().await;
    server.records("www.example.com", &["A 300 198.51.100.7"]);
    server.add_records("www.example.com", RecordType::A, &["evil.example.net A 300 203.0.113.66"]);
    let found = resolver(&server).lookup("www.example.com").await;
    assert_eq!(found, Ok(answer(&["198.51.100.7"], 300)));
}

#[tokio::test]
async fn a_cname_loop_ends() {
    let mut server = Server::start().await;
    server.records(
        "a.example.com",
        &["CNAME 30 b.example.com", "b.example.com CNAME 30 a.example.com"],
    );
    server.records("b.example.com", &["CNAME 30 a.example.com"]);
    let start = Instant::now();
    assert!(resolver(&server).lookup("a.example.com").await.is_err());
    assert!(start.elapsed() < LOOKUP_TIME_MAX);
}

#[tokio::test]
async fn a_ttl_with_its_highest_bit_set_is_zero() {
    let mut server = Server::start().await;
    server.records("odd.example.com", &["A 2147483648 198.51.100.7"]);
    server.records("long.example.com", &["A 2147483647 198.51.100.7"]);
    let resolver = resolver(&server);
    assert_eq!(resolver.lookup("odd.example.com").await, Ok(answer(&["198.51.100.7"], 0)));
    let long = answer(&["198.51.100.7"], 2_147_483_647);
    assert_eq!(resolver.lookup("long.example.com").await, Ok(long));
}

#[rstest]
#[case::nxdomain(ResponseCode::NXDomain, ResolveError::NoName)]
#[case::no_data(ResponseCode::NoError, ResolveError::NoAddress)]
#[case::servfail(ResponseCode::ServFail, ResolveError::Code("Server Failure".into()))]
#[case::refused(ResponseCode::Refused, ResolveError::Code("Query Refused".into()))]
#[tokio::test]
async fn no_address(#[case] code: ResponseCode, #[case] error: ResolveError) {
    let mut server = Server::start().await;
    server.reply("www.example.com", RecordType::A, Reply::Code(code));
    server.reply("www.example.com", RecordType::AAAA, Reply::Code(code));
    assert_eq!(resolver(&server).lookup("www.example.com").await, Err(error));
}

#[tokio::test]
async fn half_an_answer_says_so() {
    let mut server = Server::start().await;
    server.records("www.example.com", &["A 300 198.51.100.7"]);
    server.reply("www.example.com", RecordType::AAAA, Reply::Code(ResponseCode::ServFail));
    let found = resolver(&server).lookup("www.example.com").await.unwrap();
    assert_eq!(found.addresses, [ip("198.51.100.7")]);
    assert_eq!(found.incomplete, Some(ResolveError::Code("Server Failure".into())));
}

#[tokio::test]
async fn a_truncated_answer_is_asked_for_over_tcp() {
    let mut server = Server::start().await;
    let many: Vec<_> = (0..200).map(|at| format!("A 300 198.51.100.{at}")).collect();
    let many: Vec<_> = many.iter().map(String::as_str).collect();
    server.records("pool.example.com", &many);
    let found = resolver(&server).lookup("pool.example.com").await.unwrap();
    assert_eq!(found.addresses.len(), 200);
}

#[tokio::test]
async fn silence_ends_in_time() {
    let mut server = Server::start().await;
    server.reply("www.example.com", RecordType::A, Reply::Silence);
    server.reply("www.example.com", RecordType::AAAA, Reply::Silence);
    let start = Instant::now();
    let found = resolver(&server).lookup("www.example.com").await;
    assert_eq!(found, Err(ResolveError::Timeout));
    assert!(start.elapsed() <= LOOKUP_TIME_MAX + Duration::from_secs(1));
}

#[tokio::test]
async fn a_dead_server_does_not_keep_the_live_one_from_answering() {
    let dead = Server::start().await;
    let mut live = Server::start().await;
    live.records("www.example.com", &["A 300 198.51.100.7"]);
    let servers = Upstreams::Servers(vec![dead.address(), live.address()]);
    let resolver = HostResolver::with_files(servers, "".into(), "".into());
    assert_eq!(resolver.lookup("www.example.com").await, Ok(answer(&["198.51.100.7"], 300)));
}

#[rstest]
#[case::empty_label("a..example.com")]
#[case::long_label(&format!("{}.example.com", "a".repeat(64)))]
#[tokio::test]
async fn a_name_that_is_none_is_not_asked(#[case] name: &str) {
    let server = Server::start().await;
    assert_eq!(resolver(&server).lookup(name).await, Err(ResolveError::BadName));
}

#[tokio::test]
async fn the_hosts_file_comes_first_and_is_read_anew_when_it_changes() {
    let mut server = Server::start().await;
    server.records("www.example.com", &["A 300 198.51.100.7"]);
    let directory = tempfile::tempdir().unwrap();
    let hosts = directory.path().join("hosts");
    std::fs::write(&hosts, b"203.0.113.5 other.example.com # \xff\n").unwrap();
    let servers = Upstreams::Servers(vec![server.address()]);
    let resolver = HostResolver::with_files(servers, "".into(), hosts.clone());
    assert_eq!(resolver.lookup("www.example.com").await, Ok(answer(&["198.51.100.7"], 300)));
    std::fs::write(&hosts, "203.0.113.5 WWW.example.com\n2001:db8::5 www.example.com\n").unwrap();
    let listed = answer(&["203.0.113.5", "2001:db8::5"], HOSTS_TTL.as_secs());
    assert_eq!(resolver.lookup("www.example.com").await, Ok(listed));
    std::fs::remove_file(&hosts).unwrap();
    assert_eq!(resolver.lookup("www.example.com").await, Ok(answer(&["198.51.100.7"], 300)));
}

#[tokio::test]
async fn the_hosts_resolvers_are_read_from_their_file_when_it_changes() {
    let directory = tempfile::tempdir().unwrap();
    let resolv_conf = directory.path().join("resolv.conf");
    let resolver = HostResolver::with_files(Upstreams::Host, resolv_conf.clone(), "".into());
    let missing = resolver.lookup("www.example.com").await.unwrap_err();
    assert!(missing.to_string().contains("resolv.conf"), "{missing}");
    assert!(!missing.is_denial());
    std::fs::write(&resolv_conf, "# none\n").unwrap();
    let empty = resolver.lookup("www.example.com").await.unwrap_err();
    assert!(matches!(empty, ResolveError::NoResolver(_)), "{empty}");
    std::fs::write(&resolv_conf, "nameserver 127.0.0.1\nsearch example.com\n").unwrap();
    assert!(resolver.current().0.is_ok());
}
