//! What gets out of the host, and what comes back.

use std::{net::SocketAddr, process::Command, time::Duration};

use nsp_tests::{
    agent::Agent,
    deadline::Deadline,
    netns::World,
    packet::{BOTH, Family, Party, eth, tcp},
    sockets::{Delivered, Outcome, still_echoes},
};
use serde_json::json;

use crate::{
    cgroup::{Cgroup, Transport},
    seen, service,
};

const HTTPS: u16 = 443;

/// Only the office may be reached, by `resource`.
fn policy(resource: &str) -> String {
    format!(
        r#"
        [perimeter]
        name = "payments"
        [profile.backups.outbound.office]
        address_prefixes = ["203.0.113.0/24", "2001:db8:100::/40"]
        ports = ["443/tcp"]
        [resource.sender]
        profile = "backups"
        access_mode = "enforced"
        {resource}
        "#
    )
}

fn world() -> World {
    World::builder().clients(&[Party::Office, Party::Stranger]).build()
}

#[test]
fn enforced_host_reaches_what_its_rules_name_and_nothing_else() {
    let world = world();
    let _office = service::tcp(world.host(Party::Office), HTTPS);
    let stranger = service::tcp(world.host(Party::Stranger), HTTPS);
    let _other_port = service::tcp(world.host(Party::Office), 8443);
    let agent = Agent::builder(world.server()).policy(&policy("host = true")).start();
    for family in BOTH {
        let stream = service::open_out(&world, Party::Office, family, HTTPS);
        assert!(still_echoes(&stream), "answers come back");
        seen::record(
            &agent,
            &json!({
                "Category": "NspPublicOutboundPerimeterRulesAllowed",
                "SourceIpAddress": Party::Server.address(family),
                "DestinationIpAddress": Party::Office.address(family),
                "DestinationPort": HTTPS,
                "DestinationFqdn": null,
                "MatchedRule": {"accessRule": "office"},
                "Profile": "backups",
                "ResultDirection": "Outbound",
            }),
        );
        for (party, port) in [(Party::Stranger, HTTPS), (Party::Office, 8443)] {
            assert_denied(service::connect_out(&world, party, family, port));
            seen::record(
                &agent,
                &json!({
                    "Category": "NspPublicOutboundPerimeterRulesDenied",
                    "DestinationIpAddress": party.address(family),
                    "DestinationPort": port,
                    "MatchedRule": null,
                    "Reason": "no rule",
                    "ResultAction": "Denied",
                }),
            );
        }
    }
    assert_eq!(stranger.served().arrivals, 0);
    seen::no_record(&agent, &json!({"ResultDirection": "Inbound"}));
    assert!(seen::packets(&agent, "no rule", "Outbound", "deny") >= 4);
}

#[test]
fn syn_ack_that_nobody_asked_for_does_not_get_in() {
    let world = world();
    let agent = Agent::builder(world.server()).policy(&policy("host = true")).start();
    let wire = world.wire();
    for family in BOTH {
        let delivered = Delivered::open(world.server(), family, 6);
        let ip = || family.ip(Party::Office, Party::Server);
        wire.send(eth() / ip() / tcp(HTTPS, 40001).syn_ack());
        assert!(!delivered.arrives(Duration::from_millis(300), |_| true));
        seen::record(
            &agent,
            &json!({
                "SourceIpAddress": Party::Office.address(family),
                "ResultAction": "Denied",
                "Reason": "no open conversation",
                "Packets": 1,
            }),
        );
    }
    assert_eq!(seen::packets(&agent, "no open conversation", "Inbound", "deny"), 2);
}

#[test]
fn traffic_of_no_resource_is_left_alone() {
    let world = world();
    let _stranger = service::tcp(world.host(Party::Stranger), HTTPS);
    let _ssh = service::tcp(world.server(), 22);
    let resource = "ports = [\"5432/tcp\"]";
    let agent = Agent::builder(world.server()).policy(&policy(resource)).start();
    for family in BOTH {
        let outcome = service::connect_out(&world, Party::Stranger, family, HTTPS);
        assert_eq!(outcome, Outcome::Connected);
        assert_eq!(world.connect(Party::Stranger, family, 22), Outcome::Connected);
    }
    seen::no_record(&agent, &json!({}));
    assert!(seen::packets(&agent, "no associated resource", "Outbound", "allow") >= 2);
    assert!(seen::packets(&agent, "no associated resource", "Inbound", "allow") >= 2);
}

#[test]
fn enforced_cgroup_is_held_while_the_host_is_not() {
    let world = world();
    let _office = service::tcp(world.host(Party::Office), HTTPS);
    let _stranger = service::tcp(world.host(Party::Stranger), HTTPS);
    let cgroup = Cgroup::new("job");
    let resource = format!("cgroup = \"{}\"", cgroup.name());
    let agent = Agent::builder(world.server()).policy(&policy(&resource)).start();
    for family in BOTH {
        assert!(from_inside(&world, &cgroup, Party::Office, family));
        assert!(!from_inside(&world, &cgroup, Party::Stranger, family));
        let outside = service::connect_out(&world, Party::Stranger, family, HTTPS);
        assert_eq!(outside, Outcome::Connected, "the host itself is not enforced");
        seen::record(
            &agent,
            &json!({
                "Category": "NspPublicOutboundPerimeterRulesDenied",
                "DestinationIpAddress": Party::Stranger.address(family),
                "ServiceResourceId": "/perimeters/payments/resources/sender",
            }),
        );
        seen::record(
            &agent,
            &json!({
                "Category": "NspPublicOutboundPerimeterRulesAllowed",
                "DestinationIpAddress": Party::Office.address(family),
                "MatchedRule": {"accessRule": "office"},
            }),
        );
    }
}

#[test]
fn unit_that_restarts_under_a_new_cgroup_id_is_still_held() {
    let world = world();
    let _stranger = service::tcp(world.host(Party::Stranger), HTTPS);
    let cgroup = Cgroup::new("job.service");
    let unit = cgroup.name().trim_start_matches('/').to_owned();
    let resource = format!("unit = \"{unit}\"");
    let agent = Agent::builder(world.server()).policy(&policy(&resource)).start();
    let inside = |cgroup: &Cgroup| from_inside(&world, cgroup, Party::Stranger, Family::V4);
    assert!(!inside(&cgroup));
    let first = cgroup.id();
    let cgroup = cgroup.renew();
    assert_ne!(cgroup.id(), first, "a new cgroup has a new id");
    let held = Deadline::after(Duration::from_secs(2)).poll(|| (!inside(&cgroup)).then_some(()));
    assert!(held.is_some(), "the new cgroup is not held after two seconds");
    assert!(!inside(&cgroup), "and stays held");
    seen::record(
        &agent,
        &json!({
            "Category": "NspPublicOutboundPerimeterRulesDenied",
            "Unit": unit,
        }),
    );
}

#[test]
fn port_that_a_unit_listens_on_is_the_units() {
    let world = world();
    let cgroup = Cgroup::new("dns.service");
    let unit = cgroup.name().trim_start_matches('/').to_owned();
    let policy = format!(
        "{}\n[profile.backups.inbound.office]\n\
         address_prefixes = [\"203.0.113.0/24\", \"2001:db8:100::/40\"]\n",
        policy(&format!("unit = \"{unit}\"")),
    );
    let agent = Agent::builder(world.server()).policy(&policy).start();
    // Any program that listens will do; this one is needed elsewhere as well.
    let mut command = Command::new("bash");
    let script = r#"
        echo $$ > "$0/cgroup.procs" || exit 9
        exec dnsmasq --keep-in-foreground --conf-file=/dev/null --no-resolv --no-hosts \
            --user=root --pid-file= --port=5353
    "#;
    command.args(["-c", script]).arg(cgroup.path());
    let _listener = world.server().spawn(&mut command);
    for family in BOTH {
        let denied = Deadline::after(Duration::from_secs(4)).poll(|| {
            let outcome = world.connect(Party::Stranger, family, 5353);
            (outcome == Outcome::TimedOut).then_some(())
        });
        assert!(denied.is_some(), "{family:?}: the port is not the unit's\n{}", agent.stderr());
        assert_eq!(world.connect(Party::Office, family, 5353), Outcome::Connected);
        for (party, action) in [(Party::Stranger, "Denied"), (Party::Office, "Approved")] {
            seen::record(
                &agent,
                &json!({
                    "SourceIpAddress": party.address(family),
                    "DestinationPort": 5353,
                    "ResultAction": action,
                    "Unit": unit,
                }),
            );
        }
    }
}

/// What a blocked program meets: a refusal at once, or silence.
#[track_caller]
pub(crate) fn assert_denied(outcome: Outcome) {
    assert!(matches!(outcome, Outcome::PermissionDenied | Outcome::TimedOut), "{outcome:?}");
}

/// Whether a process in a cgroup reaches the HTTPS port of a party.
fn from_inside(world: &World, cgroup: &Cgroup, to: Party, family: Family) -> bool {
    let to = SocketAddr::new(to.address(family), HTTPS);
    cgroup.reaches(world.server(), Transport::Tcp, to)
}
