//! The kernel programs against the pure decision: random and mutated packets, on every way in, and what
//! each packet comes to is the same on both sides, or there is a difference.
//!
//! What decides beside the packet is the same on both. It is told to both by the same code where the agent
//! tells it (policy, selectors, resolvers, learned names, routes, overlay), and where packets make it
//! (conversations, heads of fragments, budgets of ICMP errors) the model keeps its own: were it to read the
//! maps, a program that writes the wrong entry would agree with itself. At the end of each policy the
//! conversations of both are compared too.

mod frames;
mod sides;
mod tally;

use std::env;

use nsp_common::verdict::Reason;

use self::{sides::Sides, tally::Tally};
use crate::host::MANY;

/// Packets of a story, which has programs, maps and a seed of its own.
const STORY: u64 = 50_000;
/// Stories of the long form: a million packets.
const STORIES: u64 = 20;
const SEED: u64 = 0x6e73_7000;
/// Policies are in force in turn, so many times.
const TURNS: u64 = 2;

/// What no packet of a test run comes to, and why.
const UNREACHED: [(Reason, &str); 4] = [
    (Reason::Loopback, "nothing decides so: loopback devices have no program"),
    (Reason::Cross, "the policy cannot say so: links between perimeters are refused"),
    (Reason::FlowTableFull, "nothing decides so: a full table is a counted loss"),
    (Reason::StrictDns, "is said after the decision, of what a message asks; net::strict_dns"),
];

/// Every kind of selector and every mode; public access in its three kinds; a host that routes and has a
/// recursive resolver; and a host as a whole, which is tolerated first and enforced then.
fn policies() -> [String; 6] {
    let host = |mode: &str| {
        format!(
            "\n[resource.host]\nhost = true\nprofile = \"database\"\naccess_mode = \"{mode}\"\n"
        )
    };
    let public = |access: &str| {
        MANY.replace(
            "public_network_access = \"transition\"",
            &format!("public_network_access = \"{access}\"\nforwarded = \"pass\""),
        ) + "[dns]\nrecursive_unit = \"unbound.service\"\n"
    };
    let other = MANY
        .replace("public_network_access = \"transition\"", "")
        .replace("[profile.database.inbound.a-narrow]", "[profile.database.inbound.z-other]");
    let narrowed = MANY.replace("203.0.113.0/24", "203.0.113.64/26");
    [
        MANY.to_owned(),
        public("secured-by-perimeter"),
        narrowed.clone() + &host("enforced"),
        public("enabled"),
        other + &host("transition"),
        MANY.to_owned() + &host("enforced"),
    ]
}

#[test]
fn programs_and_the_pure_decision_agree() {
    let seeds: Vec<u64> = match env::var("NSP_DIFFERENTIAL_SEED") {
        Ok(seed) => vec![parsed_seed(&seed)],
        Err(_) if env::var_os("NSP_TEST_FULL").is_some() => (SEED..SEED + STORIES).collect(),
        Err(_) => vec![SEED],
    };
    let mut tally = Tally::default();
    for seed in &seeds {
        tell(*seed, &mut tally);
    }
    tally.print();
    println!(
        "differential: {} packets in {} stories from seed {:#x} on, {}",
        tally.packets,
        seeds.len(),
        seeds[0],
        tally.summary(),
    );
    tally.check(&UNREACHED);
}

/// One story. It can be told again by its seed.
fn tell(seed: u64, tally: &mut Tally) {
    let policies = policies();
    let mut sides = Sides::seeded(seed);
    sides.without_policy(&policies[0], STORY / 400, tally);
    let rounds = TURNS * policies.len() as u64;
    for round in 0..rounds {
        let policy = &policies[round as usize % policies.len()];
        sides.under(policy, round, STORY / rounds, tally);
    }
}

fn parsed_seed(text: &str) -> u64 {
    let parsed = match text.strip_prefix("0x") {
        Some(digits) => u64::from_str_radix(digits, 16),
        None => text.parse(),
    };
    parsed.unwrap_or_else(|error| panic!("NSP_DIFFERENTIAL_SEED={text}: {error}"))
}
