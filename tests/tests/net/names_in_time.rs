//! Names over time: addresses that rotate, that end, and what lives on.

use std::{
    fs,
    io::{Read as _, Write as _},
    net::{SocketAddr, TcpStream},
    path::Path,
    process::Output,
    thread,
    time::{Duration, Instant},
};

use nsp_tests::{
    netns::World,
    packet::{BOTH, Family, Party},
    sockets::{Outcome, tcp_connect, tcp_counters, tcp_open},
};
use serde_json::Value;

use crate::{
    answering::{Answering, Reply},
    crowd,
    fresh_names::with_files,
    outbound::assert_denied,
    service,
};

const HTTPS: u16 = 443;
/// How long what was learned with the shortest time to live may open conversations: TTL floor and grace.
const OVER: Duration = Duration::from_secs(5 + 120 + 5);

const POLICY: &str = r#"
    [perimeter]
    name = "payments"
    [private]
    prefixes = []
    [profile.job.outbound.pool]
    fqdns = ["*.pool.example.com", "exact.example.com"]
    ports = ["443/tcp"]
    [resource.host]
    host = true
    profile = "job"
    access_mode = "enforced"
"#;

/// The office answers at all addresses there, and the files name its server of names.
fn world(directory: &Path) -> World {
    let world = World::builder().clients(&[Party::Office]).build();
    let v4 = Party::Office.v4();
    crowd::at_the_office(&world);
    let conf = format!("nameserver {v4}\noptions timeout:1 attempts:5\n");
    fs::write(directory.join("resolv.conf"), conf).expect("a file of ours");
    fs::write(directory.join("hosts"), "").expect("a file of ours");
    world
}

/// Resolves and connects by a program of the server: `names` times below the suffix.
fn client(world: &World, directory: &Path, suffix: &str, names: usize) -> Value {
    let mut client = with_files(directory, env!("CARGO_BIN_EXE_fresh_client"));
    client.args([suffix, "0", &names.to_string(), &HTTPS.to_string(), "4"]);
    let Output { stdout, stderr, .. } =
        world.server().output_within(&mut client, Duration::from_secs(60));
    serde_json::from_slice(&stdout)
        .unwrap_or_else(|error| panic!("{error}: {}", String::from_utf8_lossy(&stderr)))
}

/// Eight of two hundred addresses at a time, each answer others, for five seconds each (as object stores
/// do).
#[test]
fn name_that_rotates_through_two_hundred_addresses_never_breaks() {
    const POOL: usize = 200;
    let directory = tempfile::tempdir().expect("the temporary directory is writable");
    let world = world(directory.path());
    let _dns = Answering::at(world.host(Party::Office), Party::Office.v4().into(), |asked| {
        let eight = (0..8).flat_map(|step| {
            let number = (asked.number * 37 + step * 25) % POOL;
            BOTH.map(|family| (5, crowd::address(family, number)))
        });
        Reply { addresses: eight.collect(), ..Reply::default() }
    });
    let office = world.host(Party::Office);
    let _https = service::tcp_of_the_kernel(office, HTTPS, 60_000);
    let _agent = crowd::agent(&world, directory.path(), POLICY);
    let full = std::env::var_os("NSP_TEST_FULL").is_some();
    let until = Instant::now() + Duration::from_secs(if full { 60 } else { 6 });
    let mut connected = 0;
    while Instant::now() < until {
        let seen = client(&world, directory.path(), "pool.example.com", 10);
        assert_eq!((&seen["failures"], &seen["retransmitted"]), (&0.into(), &0.into()), "{seen}");
        connected += seen["connected"].as_u64().expect("a number");
        thread::sleep(Duration::from_millis(200));
    }
    println!("{connected} connections, none of them with a SYN sent again");
    assert!(connected > 500, "{connected}");
}

/// A word there and back.
fn talks(stream: &mut TcpStream) -> bool {
    stream.set_read_timeout(Some(service::PATIENCE)).expect("a socket");
    stream.write_all(b"word").is_ok() && stream.read_exact(&mut [0; 4]).is_ok()
}

#[test]
fn live_connections_outlive_their_names_time_and_end_with_their_rule() {
    let full = std::env::var_os("NSP_TEST_FULL").is_some();
    let directory = tempfile::tempdir().expect("the temporary directory is writable");
    let world = world(directory.path());
    let dns = Answering::at(world.host(Party::Office), Party::Office.v4().into(), |asked| {
        let is_known = asked.name.ends_with("pool.example.com") && asked.number < 2;
        let addresses = BOTH.map(|family| (1, crowd::address(family, 1)));
        Reply {
            addresses: if is_known { addresses.into() } else { Vec::new() },
            ..Reply::default()
        }
    });
    let _https = service::tcp(world.host(Party::Office), HTTPS);
    let exact = "\"exact.example.com\"";
    let policy = POLICY.replace(&format!(", {exact}"), "");
    let agent = crowd::agent(&world, directory.path(), &policy);
    let seen = client(&world, directory.path(), "pool.example.com", 1);
    assert_eq!((&seen["connected"], dns.asked()), (&2.into(), 2), "{seen}");
    let ends = |family: Family| {
        let from = SocketAddr::new(Party::Server.address(family), 0);
        (from, SocketAddr::new(crowd::address(family, 1), HTTPS))
    };
    let connect = |family: Family| {
        let (from, to) = ends(family);
        tcp_connect(world.server(), from, to, service::PATIENCE)
    };
    let open = |family: Family| {
        let (from, to) = ends(family);
        tcp_open(world.server(), from, to, service::PATIENCE).expect("its address was learned")
    };
    let mut live = BOTH.map(open);
    thread::sleep(if full { OVER } else { Duration::from_secs(2) });
    for family in BOTH {
        if full {
            assert_denied(connect(family));
        } else {
            assert_eq!(
                connect(family),
                Outcome::Connected,
                "programs cache for longer than they should"
            );
        }
    }
    let apply = |policy: &str| {
        let path = directory.path().join("next.toml");
        fs::write(&path, policy).expect("a file of ours");
        agent.nsp_ok(&["apply", &path.display().to_string()]);
    };
    let unrelated = "[profile.job.outbound.other]\naddress_prefixes = [\"198.51.100.7\"]";
    apply(&format!("{policy}\n{unrelated}"));
    for stream in &mut live {
        assert!(talks(stream), "after its time and an unrelated change");
        assert_eq!(tcp_counters(stream).retransmitted_total, 0);
    }
    apply(&policy.replace("*.pool.example.com", "*.other.example.com"));
    for stream in &mut live {
        assert!(!talks(stream), "its rule is gone");
    }
    for family in BOTH {
        assert_denied(connect(family));
    }
}
