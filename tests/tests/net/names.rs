//! Outbound rules by name, with a real DNS server.

use std::{fs, net::SocketAddr, path::PathBuf, process::Command, process::Stdio, time::Duration};

use nsp_tests::{
    agent::Agent,
    deadline::Deadline,
    netns::{Process, World},
    packet::{BOTH, Family, Party},
    sockets::{Outcome, tcp_connect},
};
use serde_json::json;

use crate::{outbound::assert_denied, seen, service};

const HTTPS: u16 = 443;

const POLICY: &str = r#"
    [perimeter]
    name = "payments"
    [profile.backups.outbound.vault]
    fqdns = ["vault.example.com"]
    ports = ["443/tcp"]
    [resource.host]
    host = true
    profile = "backups"
    access_mode = "enforced"
"#;

/// A DNS server that knows one name, the office's, and one that no rule lists, the stranger's.
pub(crate) struct Dns {
    _server: Process,
    directory: tempfile::TempDir,
}

impl Dns {
    /// Starts it at a party.
    ///
    /// # Panics
    /// Without dnsmasq: a test of names that does not run must not look like one that passed.
    pub(crate) fn at(world: &World, party: Party) -> Self {
        let directory = tempfile::tempdir().expect("the temporary directory is writable");
        let names = [("vault.example.com", Party::Office), ("other.example.com", Party::Stranger)];
        let records = names
            .map(|(name, party)| format!("--host-record={name},{},{},2", party.v4(), party.v6()));
        let mut command = Command::new("dnsmasq");
        command
            .args(["--keep-in-foreground", "--no-resolv", "--no-hosts", "--conf-file=/dev/null"])
            .args(["--user=root", "--bind-interfaces", "--pid-file="])
            .args(["--listen-address", &party.v4().to_string()])
            .args(records)
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null());
        let found = Command::new("dnsmasq").arg("--version").stdout(Stdio::null()).status();
        assert!(found.is_ok(), "there is no dnsmasq here: apt-get install dnsmasq-base");
        let server = world.host(party).spawn(&mut command);
        let resolv_conf = format!("nameserver {}\noptions timeout:1\n", party.v4());
        fs::write(directory.path().join("resolv.conf"), resolv_conf).expect("a file of ours");
        fs::write(directory.path().join("hosts"), "").expect("a file of ours");
        Self { _server: server, directory }
    }

    fn file(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }

    /// An agent for the policy of these tests, which asks this server.
    pub(crate) fn agent(&self, world: &World) -> Agent {
        Agent::builder(world.server())
            .interfaces(&["up0", "priv0"])
            .policy(POLICY)
            .argument("--resolv-conf")
            .argument(self.file("resolv.conf"))
            .argument("--hosts")
            .argument(self.file("hosts"))
            .start()
    }
}

/// Waits until both addresses of the name are known.
#[track_caller]
fn learned(agent: &Agent) {
    let all = Deadline::after(Duration::from_secs(10)).poll(|| {
        let status = seen::status(agent);
        let names = status["names"].as_array().expect("a list of names");
        let vault = names.iter().find(|it| it["name"] == "vault.example.com")?;
        (vault["addresses"].as_array()?.len() == 2).then_some(())
    });
    assert!(all.is_some(), "{:#}", seen::status(agent)["names"]);
}

fn name_decides(resolver: Party) {
    let world = World::builder().clients(&[Party::Office, Party::Stranger, Party::Private]).build();
    let _office = service::tcp(world.host(Party::Office), HTTPS);
    let _other_port = service::tcp(world.host(Party::Office), 8443);
    let _stranger = service::tcp(world.host(Party::Stranger), HTTPS);
    let dns = Dns::at(&world, resolver);
    let agent = dns.agent(&world);
    learned(&agent);
    for family in BOTH {
        let reached = service::connect_out(&world, Party::Office, family, HTTPS);
        assert_eq!(reached, Outcome::Connected);
        seen::record(
            &agent,
            &json!({
                "Category": "NspPublicOutboundPerimeterRulesAllowed",
                "DestinationIpAddress": Party::Office.address(family),
                "DestinationFqdn": "vault.example.com",
                "MatchedRule": {"accessRule": "vault"},
                "Reason": "access rule",
            }),
        );
        // What is denied is told by the name that its address was learned for, whatever the rule says.
        let denied =
            [(Party::Stranger, HTTPS, None), (Party::Office, 8443, Some("vault.example.com"))];
        for (party, port, name) in denied {
            assert_denied(service::connect_out(&world, party, family, port));
            seen::record(
                &agent,
                &json!({
                    "Category": "NspPublicOutboundPerimeterRulesDenied",
                    "DestinationIpAddress": party.address(family),
                    "DestinationPort": port,
                    "DestinationFqdn": name,
                }),
            );
        }
    }
    let asked = agent.nsp_ok(&["explain", "out", "vault.example.com:443", "--json"]);
    let asked: serde_json::Value = serde_json::from_str(&asked).expect("JSON");
    let expected = json!({"verdict": "allow", "rule": "vault", "name": "vault.example.com"});
    assert!(seen::has(&asked, &expected), "{asked:#}");
}

#[test]
fn rule_by_name_admits_its_addresses_from_a_private_resolver() {
    name_decides(Party::Private);
}

#[test]
fn rule_by_name_admits_its_addresses_from_a_public_resolver() {
    name_decides(Party::Stranger);
}

#[test]
fn public_resolver_is_reached_for_names_only() {
    let world = World::builder().clients(&[Party::Stranger, Party::Private]).build();
    let dns = Dns::at(&world, Party::Stranger);
    let agent = dns.agent(&world);
    learned(&agent);
    let from = SocketAddr::new(Party::Server.address(Family::V4), 0);
    let to = |port| SocketAddr::new(Party::Stranger.address(Family::V4), port);
    // dnsmasq answers TCP as well.
    let connect = |port| tcp_connect(world.server(), from, to(port), service::PATIENCE);
    assert_eq!(connect(53), Outcome::Connected);
    assert_denied(connect(HTTPS));
    assert!(seen::packets(&agent, "trusted resolver", "Outbound", "allow") > 0);
    seen::no_record(&agent, &json!({"DestinationPort": 53}));
}
