//! An independent judge: nftables, by a ruleset made from the same policy, on the same frames. It shares no
//! line of code with NSP, so that what both get wrong in the same way is unlikely.
//!
//! The ruleset says what a stateless one can: prefixes and ports of inbound rules, and what is not IP
//! passes. Each frame goes over a real cable, and what nftables accepts is put on another, where it is
//! counted; the kernel program judges the same bytes in a test run. Where they differ, [`EXPECTED`] has to
//! say why.

mod frames;
mod judge;
mod policy;

use std::{collections::BTreeMap, env};

use nsp_common::{
    explain::Question,
    verdict::{
        Reason,
        Verdict::{self, Drop, Pass},
    },
};
use nsp_tests::prog::{Entries, Entry, Lab, random::Random};

use self::{frames::frame, judge::Nftables};

const SEED: u64 = 0x6e66_7400;
/// Frames on the cable at a time: no queue on the way holds fewer.
const BATCH: usize = 64;

/// What NSP does and for which reason (or whichever), in which frames, and why nftables does not.
type Difference = (Verdict, Option<Reason>, fn(&[u8]) -> bool, &'static str);

/// Where nftables and NSP may differ, and nowhere else.
const EXPECTED: [Difference; 18] = [
    (Drop, Some(Reason::NoFlow), any, "no ruleset without state knows that nobody asked"),
    (Drop, Some(Reason::BadTcpFlags), any, "the ruleset does not look at TCP flags"),
    (
        Drop,
        Some(Reason::SourceRoute),
        any,
        "the ruleset looks at no options and no routing headers",
    ),
    (Drop, Some(Reason::TooManyHeaders), any, "nftables walks any number of headers"),
    (
        Drop,
        Some(Reason::TruncatedTransport),
        any,
        "a rule for all ports asks for no transport header",
    ),
    (Drop, Some(Reason::TinyFragment), any, "a rule asks for ports, which are there, and no flags"),
    (Drop, Some(Reason::OrphanFragment), any, "a rule for all ports asks for no head"),
    (Drop, Some(Reason::IcmpForbidden), any, "the ruleset does not look at ICMP types"),
    (Drop, Some(Reason::IcmpUnrelated), any, "the ruleset knows of no conversations"),
    (Drop, Some(Reason::IcmpBadMtu), any, "the ruleset does not look at an MTU"),
    (Drop, Some(Reason::BadIpv4), any, "nftables reads less of the header"),
    (Drop, Some(Reason::BadIpv6), any, "nftables reads less of the header"),
    (Drop, None, has_two_tags, "nftables looks behind one VLAN tag, and what is there is not IP"),
    (Pass, None, is_authenticated, "nftables does not look behind an authentication header"),
    (
        Pass,
        Some(Reason::Fragment),
        any,
        "its head has passed, which a ruleset without state forgets",
    ),
    (
        Pass,
        None,
        is_icmp_of_the_other_family,
        "`icmp` is one word for the protocols of both families, which no host reads in the other one",
    ),
    (Pass, Some(Reason::Igmp), any, "needs no rule, and the ruleset has none for it"),
    (Pass, Some(Reason::Multicast), any, "needs no rule, and the ruleset has none for it"),
];

const fn any(_: &[u8]) -> bool {
    true
}

fn ethertype(frame: &[u8], at: usize) -> u16 {
    frame.get(at..at + 2).map_or(0, |it| u16::from_be_bytes([it[0], it[1]]))
}

const fn is_tag(ethertype: u16) -> bool {
    matches!(ethertype, 0x8100 | 0x88a8 | 0x9100)
}

fn has_two_tags(frame: &[u8]) -> bool {
    is_tag(ethertype(frame, 12)) && is_tag(ethertype(frame, 16))
}

fn is_icmp_of_the_other_family(frame: &[u8]) -> bool {
    let ip = if is_tag(ethertype(frame, 12)) { 18 } else { 14 };
    match ethertype(frame, ip - 2) {
        0x0800 => frame[ip + 9] == 58,
        0x86dd => frame[ip + 6] == 1,
        _ => false,
    }
}

/// Whether an authentication header follows the header of IPv6, behind others or at once.
fn is_authenticated(frame: &[u8]) -> bool {
    let ip = if is_tag(ethertype(frame, 12)) { 18 } else { 14 };
    let (mut next, mut at) = (frame[ip + 6], ip + 40);
    while matches!(next, 0 | 43 | 44 | 60) && at + 2 < frame.len() {
        let length = if next == 44 { 8 } else { (usize::from(frame[at + 1]) + 1) * 8 };
        (next, at) = (frame[at], at + length);
    }
    ethertype(frame, ip - 2) == 0x86dd && next == 51
}

#[test]
fn an_nftables_ruleset_of_the_same_policy_agrees() {
    let frames = if env::var_os("NSP_TEST_FULL").is_some() { 100_000 } else { 6_000 };
    let mut random = Random::seeded(SEED);
    let text = policy::text(&mut random);
    let mut lab = Lab::load();
    lab.put_in_force(&text);
    let entries = Entries::of(&lab.datapath);
    let policy = lab.generation.as_ref().expect("it is in force").policy.clone();
    let nftables = Nftables::of(&policy);

    let mut alike = BTreeMap::<Verdict, usize>::new();
    let mut differences = [0; EXPECTED.len()];
    let mut too_short = 0;
    let mut done = 0;
    while done < frames {
        let batch: Vec<_> = (0..BATCH).map(|_| frame(&policy, &mut random)).collect();
        done += batch.len();
        let bytes: Vec<_> = batch.iter().map(|it| it.bytes.clone()).collect();
        let accepted = nftables.judge(&bytes);
        for (number, frame) in batch.iter().enumerate() {
            let entry = random.of(&[Entry::Xdp, Entry::Ingress]);
            let reason = reason(&lab, entry, &frame.bytes);
            let Some(ours) = entries.judge(entry, &frame.bytes) else {
                too_short += 1;
                continue;
            };
            let theirs = if accepted.contains(&number) { Pass } else { Drop };
            if ours == theirs {
                *alike.entry(ours).or_default() += 1;
                continue;
            }
            let expected = EXPECTED.iter().position(|(verdict, why, is_such, _)| {
                *verdict == ours && why.is_none_or(|why| why == reason) && is_such(&frame.bytes)
            });
            let Some(expected) = expected else {
                panic!(
                    "frame {} ({:?} by {entry:?}): nftables {theirs:?}, NSP {ours:?} for {reason:?}: \
                     {:02x?}",
                    done - batch.len() + number,
                    frame.kind,
                    frame.bytes,
                );
            };
            differences[expected] += 1;
        }
    }
    for ((verdict, reason, _, why), count) in EXPECTED.iter().zip(&differences) {
        let reason = reason.map_or("any", Reason::name);
        println!("  {count:>6}  NSP {verdict:?} ({reason}): {why}");
    }
    println!(
        "independent: {done} frames, {} passed and {} dropped by both, {} differ as listed, \
         {too_short} too short to be run, seed {SEED:#x}: 0 differ otherwise",
        alike[&Pass],
        alike[&Drop],
        differences.iter().sum::<usize>(),
    );
    assert!(alike.values().all(|count| *count >= frames / 5), "{alike:?}: one verdict is rare");
    if frames >= 100_000 {
        let idle: Vec<_> =
            EXPECTED.iter().zip(&differences).filter(|(_, count)| **count == 0).collect();
        assert!(idle.is_empty(), "listed, and did not come up: {:?}", idle.len());
    }
}

/// What the programs go by; asked before they judge, for that may open a conversation.
fn reason(lab: &Lab, entry: Entry, bytes: &[u8]) -> Reason {
    let question = Question { cgroups: [0; 8], packet: entry.parsed(bytes) };
    let answer = lab.datapath.explain(&question).expect("an answer");
    Reason::from_number(answer.reason).expect("a reason")
}
