//! A policy of a hundred thousand names.

use std::{fmt::Write as _, net::IpAddr, time::Instant};

use nsp_agent::{compile::Sizes, datapath::Capacities};
use nsp_common::{link::endpoint, verdict::Verdict};
use nsp_tests::{
    packet::{
        Family::V4,
        Packet,
        Party::Server,
        dns::{self, A},
        eth, tcp, udp,
    },
    prog::{DEVICE, Lab},
};

use crate::names::{HOME, RESOLVER};

const NAMES: usize = 100_000;

#[test]
fn hundred_thousand_names_are_loaded_and_each_can_be_learned() {
    let mut fqdns = String::new();
    for number in 0..NAMES / 2 {
        let _written =
            write!(fqdns, "\"n{number}.exact.example.com\",\n\"*.w{number}.below.example.net\",\n");
    }
    let policy = format!(
        r#"
        [perimeter]
        name = "lab"
        [profile.p.outbound.names]
        fqdns = [{fqdns}]
        ports = ["443/tcp"]
        [resource.host]
        host = true
        profile = "p"
        access_mode = "enforced"
        "#
    );
    let room = Capacities { names: NAMES + 1, ..Capacities::for_sizes(&Sizes::default()) };
    let mut lab = Lab::with(room);
    let start = Instant::now();
    lab.put_in_force(&policy);
    println!("{NAMES} names read, compiled and in force in {:?}", start.elapsed());
    let resolver: IpAddr = RESOLVER.0.parse().expect("a constant");
    lab.datapath.set_endpoints(&[(resolver.into(), endpoint::RESOLVER)]).expect("it fits");
    let passes = |program: &str, frame: Packet| {
        let code = lab.datapath.run(program, &frame.bytes(), DEVICE).expect("it runs");
        // TC_ACT_UNSPEC or XDP_PASS, as a number.
        if code == u32::MAX || code == 2 && program == "nsp_xdp" {
            Verdict::Pass
        } else {
            Verdict::Drop
        }
    };
    let last = NAMES / 2 - 1;
    for (id, name, verdict) in [
        (1, "n0.exact.example.com".to_owned(), Verdict::Pass),
        (2, format!("n{last}.exact.example.com"), Verdict::Pass),
        (3, format!("a.b.w{last}.below.example.net"), Verdict::Pass),
        (4, format!("w{last}.below.example.net"), Verdict::Drop),
        (5, format!("n{}.exact.example.com", last + 1), Verdict::Drop),
    ] {
        let home: IpAddr = HOME.0.parse().expect("a constant");
        lab.forget_names();
        let query = dns::query(id, &name, A);
        let ask = eth() / (V4.ip(Server, RESOLVER) / udp(40_000 + id, 53) / query.clone());
        assert_eq!(passes("nsp_egress", ask), Verdict::Pass);
        let answer = query.response().pointed(12, home, 60);
        let answer = eth() / (V4.ip(RESOLVER, Server) / udp(53, 40_000 + id) / answer);
        assert_eq!(passes("nsp_xdp", answer), Verdict::Pass);
        let syn = eth() / (V4.ip(Server, HOME) / tcp(30_000 + id, 443).syn());
        assert_eq!(passes("nsp_egress", syn), verdict, "{name}");
    }
}
