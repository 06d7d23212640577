//! A policy of public prefixes and ports, which a ruleset without state can say too.

use std::fmt::Write as _;

use nsp_tests::prog::random::Random;

/// Rules, each with prefixes of both families.
const RULES: u64 = 12;
const PREFIXES: u64 = 40;
const PORTS: [&str; 8] = [
    r#""443/tcp""#,
    r#""5432-5440/tcp", "5432/udp""#,
    r#""53/udp", "53/tcp""#,
    r#""icmp""#,
    r#""proto/47", "22/tcp""#,
    r#""1-1023/udp""#,
    r#""8000-8999/tcp", "icmp", "9000/sctp""#,
    "",
];

/// The whole host, enforced. No private peers and no members: a ruleset would need the routes.
pub(super) fn text(random: &mut Random) -> String {
    let mut text = String::from("[perimeter]\nname = \"independent\"\n[private]\nprefixes = []\n");
    for rule in 0..RULES {
        let mut prefixes = Vec::new();
        for _ in 0..PREFIXES {
            let length = random.of(&[12, 16, 20, 24, 24, 28, 31, 32]);
            let address = public_v4(random) & (u32::MAX << (32 - length));
            prefixes.push(format!("\"{}/{length}\"", std::net::Ipv4Addr::from(address)));
            let length = random.of(&[32, 40, 48, 56, 64, 64, 96, 127, 128]);
            let address = public_v6(random) & (u128::MAX << (128 - length));
            prefixes.push(format!("\"{}/{length}\"", std::net::Ipv6Addr::from(address)));
        }
        let ports = PORTS[rule as usize % PORTS.len()];
        let _written = writeln!(
            text,
            "[profile.p.inbound.r{rule}]\naddress_prefixes = [{}]",
            prefixes.join(", ")
        );
        if !ports.is_empty() {
            let _written = writeln!(text, "ports = [{ports}]");
        }
    }
    text + "[resource.host]\nhost = true\nprofile = \"p\"\naccess_mode = \"enforced\"\n"
}

/// 20.0.0.0/6 and 40.0.0.0/6 are public, every one of them.
pub(super) fn public_v4(random: &mut Random) -> u32 {
    let base = random.of(&[20 << 24, 40 << 24]);
    base | random.number() as u32 & 0x03ff_ffff
}

pub(super) fn public_v6(random: &mut Random) -> u128 {
    let low = u128::from(random.number()) << 64 | u128::from(random.number());
    0x2a00 << 112 | low >> 12
}
