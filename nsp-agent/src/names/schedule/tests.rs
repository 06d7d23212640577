use std::{
    net::{IpAddr, Ipv4Addr},
    time::Duration,
};

use rstest::rstest;

use super::{
    ADDRESSES_PER_NAME, Batch, GRACE_S, HOLD_S, LearnedUpdate, Lookup, RETRY_S_MAX, Removal,
    STALE_S_MAX, Schedule, TTL_S_MAX,
};
use crate::names::{
    forbidden::{Forbidden, Why},
    resolve::{Answer, ResolveError},
};

const NAME: u32 = 7;

fn ip(text: &str) -> IpAddr {
    text.parse().unwrap()
}

fn answer(addresses: &[&str], ttl_s: u64) -> Answer {
    Answer {
        addresses: addresses.iter().map(|text| ip(text)).collect(),
        ttl: Duration::from_secs(ttl_s),
        incomplete: None,
    }
}

fn update(address: &str, expires_s: u64) -> LearnedUpdate {
    LearnedUpdate { address: ip(address), name: NAME, expires_s }
}

fn removal(address: &str) -> Removal {
    Removal { address: ip(address), name: NAME }
}

/// A schedule with one name, at second 1000.
fn schedule() -> Schedule {
    let forbidden = Forbidden::new(vec!["10.0.0.0/8".parse().unwrap()], [ip("192.0.2.1")]);
    let mut schedule = Schedule::new(forbidden);
    let batch = schedule.set_names(&[(NAME, "api.example.com".into())], 1000);
    assert_eq!(batch, Batch::default());
    schedule
}

/// Asks for the one name, which must be due.
fn ask(schedule: &mut Schedule, now_s: u64) -> Lookup {
    let due = schedule.due(now_s, 64);
    assert_eq!(due.len(), 1, "the name is not due at {now_s}");
    due[0].clone()
}

fn answered(schedule: &mut Schedule, answer: &Answer, now_s: u64) -> Batch {
    let lookup = ask(schedule, now_s);
    schedule.answered(&lookup, answer, now_s)
}

fn failed(schedule: &mut Schedule, error: &ResolveError, now_s: u64) {
    let lookup = ask(schedule, now_s);
    schedule.failed(&lookup, error, now_s);
}

#[rstest]
#[case::ordinary(300, 1000 + 240, 1000 + 300)]
#[case::zero_has_a_floor(0, 1000 + 4, 1000 + 5)]
#[case::one_has_a_floor(1, 1000 + 4, 1000 + 5)]
#[case::floor(5, 1000 + 4, 1000 + 5)]
#[case::above_the_floor(6, 1000 + 4, 1000 + 6)]
#[case::ceiling(TTL_S_MAX, 1000 + TTL_S_MAX / 5 * 4, 1000 + TTL_S_MAX)]
#[case::beyond_the_ceiling(TTL_S_MAX + 1, 1000 + TTL_S_MAX / 5 * 4, 1000 + TTL_S_MAX)]
fn ttl(#[case] ttl_s: u64, #[case] due_s: u64, #[case] valid_until_s: u64) {
    let mut schedule = schedule();
    let batch = answered(&mut schedule, &answer(&["198.51.100.7", "2001:db8::7"], ttl_s), 1000);
    let expires_s = valid_until_s + GRACE_S;
    assert_eq!(
        batch.updates,
        [update("198.51.100.7", expires_s), update("2001:db8::7", expires_s)]
    );
    assert_eq!(batch.removals, []);
    assert_eq!(schedule.next_s(), Some(due_s));
    assert_eq!(schedule.due(due_s - 1, 64), []);
    assert_eq!(schedule.due(due_s, 64).len(), 1);
}

#[test]
fn an_address_that_vanishes_stays_until_its_own_expiry_and_grace() {
    let mut schedule = schedule();
    answered(&mut schedule, &answer(&["198.51.100.7", "198.51.100.8"], 100), 1000);
    let batch = answered(&mut schedule, &answer(&["198.51.100.8"], 100), 1080);
    assert_eq!(batch.updates, [update("198.51.100.8", 1180 + GRACE_S)]);
    assert_eq!(batch.removals, []);
    let over_s = 1100 + GRACE_S;
    answered(&mut schedule, &answer(&["198.51.100.8"], 1000), 1160);
    assert_eq!(schedule.tick(over_s - 1), Batch::default());
    assert_eq!(schedule.next_s(), Some(over_s));
    assert_eq!(schedule.tick(over_s).removals, [removal("198.51.100.7")]);
}

#[test]
fn retries_back_off_to_a_minute_and_recover_at_once() {
    let mut schedule = schedule();
    let mut now_s = 1000;
    for pause_s in [1, 2, 4, 8, 16, 32, RETRY_S_MAX, RETRY_S_MAX, RETRY_S_MAX] {
        failed(&mut schedule, &ResolveError::Timeout, now_s);
        assert_eq!(schedule.next_s(), Some(now_s + pause_s));
        assert_eq!(schedule.due(now_s + pause_s - 1, 64), []);
        now_s += pause_s;
    }
    answered(&mut schedule, &answer(&["198.51.100.7"], 100), now_s);
    failed(&mut schedule, &ResolveError::Timeout, now_s + 80);
    assert_eq!(schedule.next_s(), Some(now_s + 81), "the back-off starts again");
}

#[test]
fn a_long_outage_never_shifts_out_of_range() {
    let mut schedule = schedule();
    for round in 0..200 {
        failed(&mut schedule, &ResolveError::Timeout, 1000 + round * RETRY_S_MAX);
    }
    assert_eq!(schedule.next_s(), Some(1000 + 200 * RETRY_S_MAX));
}

#[test]
fn failures_keep_the_last_known_addresses_for_a_day() {
    let mut schedule = schedule();
    answered(&mut schedule, &answer(&["198.51.100.7"], 60), 1000);
    let mut expires_s = 1060 + GRACE_S;
    let mut now_s = 1048;
    let mut prolonged = 0;
    while now_s < 1000 + STALE_S_MAX {
        failed(&mut schedule, &ResolveError::Code("SERVFAIL".into()), now_s);
        let batch = schedule.tick(now_s);
        assert_eq!(batch.removals, [], "taken away at {now_s}");
        for LearnedUpdate { expires_s: later_s, .. } in batch.updates {
            assert!(later_s > expires_s && later_s <= now_s + HOLD_S);
            expires_s = later_s;
            prolonged += 1;
        }
        assert!(expires_s > now_s + 1, "a hole at {now_s}");
        now_s = schedule.next_s().unwrap().max(now_s + 1);
        while schedule.due(now_s, 0).is_empty() && now_s < due_s(&schedule, now_s) {
            now_s = due_s(&schedule, now_s);
        }
    }
    assert!(prolonged > 100);
    assert!(expires_s <= 1000 + STALE_S_MAX);
    assert_eq!(schedule.tick(1000 + STALE_S_MAX).removals, [removal("198.51.100.7")]);
}

fn due_s(schedule: &Schedule, now_s: u64) -> u64 {
    now_s + schedule.status(now_s)[0].next_lookup_s.unwrap()
}

#[rstest]
#[case::no_such_name(ResolveError::NoName)]
#[case::no_address(ResolveError::NoAddress)]
fn an_answer_without_addresses_lets_them_expire(#[case] error: ResolveError) {
    let mut schedule = schedule();
    answered(&mut schedule, &answer(&["198.51.100.7"], 60), 1000);
    failed(&mut schedule, &error, 1048);
    assert_eq!(schedule.tick(1060 + GRACE_S - 1), Batch::default());
    assert_eq!(schedule.tick(1060 + GRACE_S).removals, [removal("198.51.100.7")]);
}

#[test]
fn a_lookup_that_does_not_come_back_keeps_the_addresses() {
    let mut schedule = schedule();
    answered(&mut schedule, &answer(&["198.51.100.7"], 5), 1000);
    ask(&mut schedule, 1004);
    assert_eq!(schedule.tick(1065), Batch::default(), "a minute is left");
    assert_eq!(schedule.next_s(), Some(1066));
    assert_eq!(schedule.tick(1066).updates, [update("198.51.100.7", 1066 + HOLD_S)]);
}

#[test]
fn half_an_answer_takes_nothing_away_and_is_asked_again() {
    let mut schedule = schedule();
    answered(&mut schedule, &answer(&["198.51.100.7", "2001:db8::7"], 60), 1000);
    let half = Answer { incomplete: Some(ResolveError::Timeout), ..answer(&["198.51.100.7"], 60) };
    let batch = answered(&mut schedule, &half, 1048);
    assert_eq!(batch.updates, [update("198.51.100.7", 1108 + GRACE_S)]);
    assert_eq!(schedule.next_s(), Some(1049));
    ask(&mut schedule, 1049);
    let batch = schedule.tick(1060 + GRACE_S - 30);
    assert_eq!(batch.updates, [update("2001:db8::7", 1060 + GRACE_S - 30 + HOLD_S)]);
}

#[test]
fn forbidden_addresses_are_refused_and_counted() {
    let mut schedule = schedule();
    let rebinding = ["10.0.0.1", "192.0.2.1", "::ffff:10.0.0.1", "127.0.0.1", "198.51.100.7"];
    let batch = answered(&mut schedule, &answer(&rebinding, 60), 1000);
    assert_eq!(batch.updates, [update("198.51.100.7", 1060 + GRACE_S)]);
    let status = &schedule.status(1000)[0];
    assert_eq!(status.refused_forbidden, 4);
    assert_eq!(status.last_forbidden, Some((ip("127.0.0.1"), Why::Loopback)));
}

#[test]
fn what_becomes_forbidden_is_removed() {
    let mut schedule = schedule();
    answered(&mut schedule, &answer(&["198.51.100.7", "198.51.100.8"], 60), 1000);
    let batch = schedule.set_forbidden(Forbidden::new(Vec::new(), [ip("198.51.100.8")]));
    assert_eq!(batch.removals, [removal("198.51.100.8")]);
    assert_eq!(batch.updates, []);
}

#[test]
fn a_mapped_address_is_learned_as_the_ipv4_address_it_is() {
    let mut schedule = schedule();
    let twice = answer(&["::ffff:198.51.100.7", "198.51.100.7"], 60);
    let batch = answered(&mut schedule, &twice, 1000);
    assert_eq!(batch.updates, [update("198.51.100.7", 1060 + GRACE_S)]);
}

fn many(network: u8, count: usize) -> Answer {
    let addresses = (0..count)
        .map(|at| Ipv4Addr::from_bits(0xc612_0000 | u32::from(network) << 12 | at as u32).into());
    Answer { addresses: addresses.collect(), ttl: Duration::from_secs(60), incomplete: None }
}

#[test]
fn addresses_beyond_the_quota_are_refused_and_counted() {
    let mut schedule = schedule();
    let batch = answered(&mut schedule, &many(0, ADDRESSES_PER_NAME + 3), 1000);
    assert_eq!(batch.updates.len(), ADDRESSES_PER_NAME);
    assert_eq!(schedule.status(1000)[0].refused_over_quota, 3);
    let batch = answered(&mut schedule, &many(1, 2), 1048);
    assert_eq!(batch, Batch::default(), "what is within its TTL does not give way");
    assert_eq!(schedule.status(1048)[0].refused_over_quota, 5);
}

#[test]
fn the_oldest_expired_address_gives_way() {
    let mut schedule = schedule();
    answered(&mut schedule, &many(0, 1), 1000);
    answered(&mut schedule, &many(1, ADDRESSES_PER_NAME - 1), 1048);
    answered(&mut schedule, &many(1, 1), 1096);
    let newcomer = answer(&["203.0.113.1", "203.0.113.2"], 60);
    let batch = answered(&mut schedule, &newcomer, 1144);
    let first = many(0, 1).addresses[0];
    let second = many(1, 2).addresses[1];
    let removed: Vec<_> = batch.removals.iter().map(|removal| removal.address).collect();
    assert_eq!(removed, [first, second]);
    assert_eq!(batch.updates.len(), 2);
    assert_eq!(schedule.status(1144)[0].refused_over_quota, 0);
}

#[test]
fn a_policy_change_keeps_what_stays_and_removes_what_goes() {
    let mut schedule = schedule();
    answered(&mut schedule, &answer(&["198.51.100.7"], 60), 1000);
    let both = [(NAME, "api.example.com".to_owned()), (8, "www.example.com".to_owned())];
    assert_eq!(schedule.set_names(&both, 1010), Batch::default());
    let due = schedule.due(1010, 64);
    assert_eq!(due.len(), 1, "only the new name is due");
    let batch = schedule.set_names(&both[1..], 1011);
    assert_eq!(batch.removals, [removal("198.51.100.7")]);
    assert_eq!(schedule.set_names(&[], 1012), Batch::default());
    let late = schedule.answered(&due[0], &answer(&["198.51.100.9"], 60), 1013);
    assert_eq!(late, Batch::default(), "an answer to a name that is gone teaches nothing");
    assert_eq!(schedule.next_s(), None);
}

#[test]
fn an_identity_with_another_name_starts_anew() {
    let mut schedule = schedule();
    let lookup = ask(&mut schedule, 1000);
    schedule.answered(&lookup, &answer(&["198.51.100.7"], 60), 1000);
    let batch = schedule.set_names(&[(NAME, "other.example.com".into())], 1001);
    assert_eq!(batch.removals, [removal("198.51.100.7")]);
    let late = schedule.answered(&lookup, &answer(&["198.51.100.7"], 60), 1002);
    assert_eq!(late, Batch::default());
}

#[test]
fn the_longest_due_come_first_and_never_twice() {
    let mut schedule = Schedule::default();
    let names: Vec<_> = (1..=100).map(|id| (id, format!("n{id}.example.com"))).collect();
    schedule.set_names(&names, 1000);
    let first = schedule.due(1000, 64);
    assert_eq!(
        first.iter().map(|it| it.identity).collect::<Vec<_>>(),
        (1..=64).collect::<Vec<_>>()
    );
    assert_eq!(schedule.due(1000, 64).len(), 36);
    assert_eq!(schedule.due(1000, 64), []);
}

#[test]
fn new_resolvers_make_every_name_due() {
    let mut schedule = schedule();
    answered(&mut schedule, &answer(&["198.51.100.7"], 3600), 1000);
    schedule.refresh_all(1010);
    assert_eq!(schedule.due(1010, 64).len(), 1);
}

#[test]
fn a_later_batch_overrides_an_earlier_one() {
    let mut batch = Batch {
        updates: vec![update("198.51.100.7", 10), update("198.51.100.8", 10)],
        removals: vec![],
    };
    batch.append(Batch {
        updates: vec![update("198.51.100.8", 20)],
        removals: vec![removal("198.51.100.7")],
    });
    assert_eq!(batch.removals, [removal("198.51.100.7")]);
    assert_eq!(batch.updates, [update("198.51.100.8", 10), update("198.51.100.8", 20)]);
}

#[test]
fn status_says_what_is_known() {
    let mut schedule = schedule();
    answered(&mut schedule, &answer(&["198.51.100.7"], 60), 1000);
    failed(&mut schedule, &ResolveError::Timeout, 1048);
    let status = serde_json::to_value(schedule.status(1050)).unwrap();
    let expected = serde_json::json!([{
        "identity": 7,
        "fqdn": "api.example.com",
        "source": "resolved",
        "addresses": [
            { "address": "198.51.100.7", "age_s": 50, "remaining_s": 130, "current": true },
        ],
        "answered_s_ago": 50,
        "next_lookup_s": 0,
        "failures": 1,
        "last_error": "no resolver answered in time",
        "refused_forbidden": 0,
        "last_forbidden": null,
        "refused_over_quota": 0,
    }]);
    assert_eq!(status, expected);
}
