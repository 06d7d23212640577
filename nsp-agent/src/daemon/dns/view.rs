//! What `nsp status --dns` shows, from what was read. Pure.

use std::{
    collections::{BTreeMap, HashMap},
    net::IpAddr,
};

use nsp_common::{
    learned::{GRACE_S, Learned, LearnedName, Naming},
    verdict::Lesson,
};
use serde_json::{Value, json};

use super::unit_of;
use crate::{
    host::stubs::Serving,
    names::{blind::Sight, naming, schedule::NameStatus},
    policy::model::{Fqdn, Policy},
};

/// The names of the policy with what is learned for each.
pub(super) fn names(
    fqdns: &[(u32, Fqdn)],
    learned: &[(IpAddr, Learned)],
    naming_of: impl Fn(IpAddr) -> Option<Naming>,
    looked_up: &[NameStatus],
    now_s: u32,
) -> Vec<Value> {
    let mut held: HashMap<u32, Vec<(IpAddr, &LearnedName)>> = HashMap::new();
    for (address, learned) in learned {
        for it in learned.names.iter().filter(|it| it.name != 0 && it.expires_s > now_s) {
            held.entry(it.name).or_default().push((*address, it));
        }
    }
    let statuses: HashMap<u32, &NameStatus> =
        looked_up.iter().map(|status| (status.identity, status)).collect();
    let sorted: BTreeMap<String, (u32, &Fqdn)> =
        fqdns.iter().map(|(identity, fqdn)| (fqdn.to_string(), (*identity, fqdn))).collect();
    let name = |(text, (identity, fqdn)): (String, (u32, &Fqdn))| {
        let mut addresses = held.remove(&identity).unwrap_or_default();
        addresses.sort_by_key(|(address, _)| *address);
        let status = statuses.get(&identity);
        let addresses: Vec<Value> = addresses
            .into_iter()
            .map(|(address, it)| {
                let naming = naming_of(address).filter(|naming| naming.unit == it.name);
                let exact = (!fqdn.is_wildcard()).then_some(text.as_str());
                self::address(address, it, naming.as_ref(), exact, now_s)
            })
            .collect();
        json!({
            "name": text,
            "wildcard": fqdn.is_wildcard(),
            "quota": unit_of(identity, fqdn).quota,
            "inGrace": addresses.iter().filter(|it| it["inGrace"] == true).count(),
            "addresses": addresses,
            "lookup": status.map(|it| json!({
                "answeredSecondsAgo": it.answered_s_ago,
                "nextLookupSeconds": it.next_lookup_s,
                "failures": it.failures,
                "lastError": it.last_error,
                "refusedForbidden": it.refused_forbidden,
                "refusedOverQuota": it.refused_over_quota,
            })),
        })
    };
    sorted.into_iter().map(name).collect()
}

fn address(
    address: IpAddr,
    held: &LearnedName,
    naming: Option<&Naming>,
    exact: Option<&str>,
    now_s: u32,
) -> Value {
    let left = held.expires_s.saturating_sub(now_s);
    let asked = naming.and_then(naming::text).or_else(|| exact.map(str::to_owned));
    json!({
        "address": address,
        "asked": asked,
        "source": naming.map(|it| naming::source(it.source)),
        "ageSeconds": naming.map(|it| now_s.saturating_sub(it.at_s)),
        "remainingSeconds": left.saturating_sub(GRACE_S),
        "graceSeconds": left.min(GRACE_S),
        "inGrace": left <= GRACE_S,
    })
}

/// What a counter means to who reads it.
pub(super) fn meaning(lesson: Lesson) -> &'static str {
    const MEANINGS: &[(Lesson, &str)] = &[
        (Lesson::Learned, "addresses learned for a name, or their time prolonged"),
        (Lesson::Asked, "questions to trusted resolvers that were sent"),
        (Lesson::Late, "answers after another one, or after 30 s: a forgery, or a slow resolver"),
        (Lesson::Mismatched, "answers to another question, or by another link: most likely forged"),
        (Lesson::Truncated, "answers that did not fit: the agent asks again by TCP"),
        (Lesson::Malformed, "answers that are no DNS message"),
        (Lesson::Negative, "answers that there is no such name, or that something failed"),
        (Lesson::Forbidden, "private, special or own addresses, which no name may stand for"),
        (Lesson::OverQuota, "addresses of a name that has as many live ones as it may"),
        (
            Lesson::NoRoom,
            "addresses that have as many live names as they may; or the table is full",
        ),
        (Lesson::Unasked, "answers to no open question: late, doubled or made up"),
        (Lesson::Segmented, "answers in pieces, or larger than is read: the agent asks again"),
        (Lesson::Untold, "names that the agent was not told to ask for: its ring was full"),
        (Lesson::Unlisted, "answers about names that no rule has"),
        (
            Lesson::TooMany,
            "answers with more addresses or aliases than are followed: the agent asks again",
        ),
    ];
    MEANINGS.iter().find(|(it, _)| *it == lesson).map_or("", |(_, meaning)| meaning)
}

/// What decides about what is seen.
pub(super) struct Visible<'a> {
    pub(super) policy: &'a Policy,
    pub(super) serving: &'a Serving,
    pub(super) sight: &'a Sight,
    pub(super) hooks: Result<(), &'a str>,
    pub(super) resolving_error: Option<&'a str>,
}

/// What cannot be seen here, in sentences.
pub(super) fn not_visible(visible: &Visible<'_>) -> Vec<String> {
    let Visible { policy, serving, sight, hooks, resolving_error } = *visible;
    let mut said = Vec::new();
    if let Some(blind) = sight.blind(policy) {
        said.push(format!("{blind}: names below a wildcard are not learned"));
    }
    if let (Err(why), false) = (hooks, serving.stubs.is_empty()) {
        said.push(format!(
            "the answers of this host's own resolver: there are no hooks at cgroups ({why})"
        ));
    }
    for stub in &serving.stubs {
        let address = stub.address;
        if !stub.listens {
            said.push(format!("programs ask {address}, and nobody listens there"));
        } else if stub.cgroups.is_empty() {
            said.push(format!(
                "who answers at {address} cannot be told from the rest of the host (no cgroup of its own): its answers teach nothing, and what it asks teaches as anybody's question does"
            ));
        }
    }
    let is_told = sight.knows_upstreams || !policy.dns.resolvers.is_empty();
    if !serving.stubs.is_empty() && !is_told && serving.recursive.is_none() {
        said.push(
            "whom the resolver on this host asks is not known: name them in [dns] resolvers"
                .to_owned(),
        );
    }
    if serving.recursive.as_ref().is_some_and(|it| !it.is_matched) {
        said.push("[dns] recursive_unit matches nothing on this host now".to_owned());
    }
    if let Some(why) = resolving_error {
        said.push(format!("the kernel does not know the resolvers of this host: {why}"));
    }
    if sight.over_tls && !sight.nss_resolve && !serving.stubs.is_empty() {
        said.push(
            "systemd-resolved asks by DNS over TLS: only what it answers to programs is seen"
                .to_owned(),
        );
    }
    if !serving.stubs.is_empty() {
        said.push(
            "answers that this host's resolver gave before the agent came, until programs ask it again"
                .to_owned(),
        );
    }
    said.push("answers that programs keep themselves, or got by TCP, DoT or DoH".to_owned());
    said
}

#[cfg(test)]
mod tests {
    use nsp_common::learned::{QUOTA_BELOW, QUOTA_EXACT};

    use super::*;
    use crate::policy;

    const NOW_S: u32 = 1000;

    fn learned(address: &str, names: &[(u32, u32)]) -> (IpAddr, Learned) {
        let mut learned = Learned::default();
        for (place, (name, expires_s)) in learned.names.iter_mut().zip(names) {
            *place = LearnedName { name: *name, expires_s: *expires_s };
        }
        (address.parse().unwrap(), learned)
    }

    #[test]
    fn names_have_their_addresses_with_what_was_asked_for() {
        let fqdns =
            [(1, "vault.example.com".parse().unwrap()), (2, "*.example.com".parse().unwrap())];
        let table = [
            learned("198.51.100.7", &[(2, NOW_S + GRACE_S + 60), (1, NOW_S + 10)]),
            learned("198.51.100.8", &[(2, NOW_S)]),
            learned("198.51.100.9", &[(9, NOW_S + 500)]),
        ];
        let naming = |_| naming::remembered("www.example.com", 2, 2, NOW_S - 30);
        let shown = names(&fqdns, &table, naming, &[], NOW_S);
        let [below, vault] = &shown[..] else { panic!("{shown:#?}") };
        assert_eq!(
            (&below["name"], &below["quota"]),
            (&json!("*.example.com"), &json!(QUOTA_BELOW))
        );
        let expected = json!([{
            "address": "198.51.100.7",
            "asked": "www.example.com",
            "source": "stub",
            "ageSeconds": 30,
            "remainingSeconds": 60,
            "graceSeconds": GRACE_S,
            "inGrace": false,
        }]);
        assert_eq!(below["addresses"], expected);
        assert_eq!(
            (&vault["name"], &vault["quota"]),
            (&json!("vault.example.com"), &json!(QUOTA_EXACT))
        );
        // The address was learned for another name last: of this one no more is known than that it holds.
        let expected = json!([{
            "address": "198.51.100.7",
            "asked": "vault.example.com",
            "source": null,
            "ageSeconds": null,
            "remainingSeconds": 0,
            "graceSeconds": 10,
            "inGrace": true,
        }]);
        assert_eq!(vault["addresses"], expected);
        assert_eq!(vault["inGrace"], 1);
    }

    #[test]
    fn every_counter_has_a_meaning() {
        for lesson in Lesson::ALL {
            assert_ne!(meaning(*lesson), "", "{lesson:?}");
        }
    }

    fn said(sight: &Sight, hooks: Result<(), &str>, dns: &str) -> String {
        let directory = tempfile::tempdir().unwrap();
        let file = directory.path().join("policy.toml");
        std::fs::write(&file, format!("[perimeter]\nname = \"p\"\n[dns]\n{dns}\n")).unwrap();
        let policy = policy::load(&file).unwrap().policy;
        let resolvers = crate::host::resolvers::Resolvers {
            all: sight
                .stubs
                .iter()
                .map(|address| crate::host::resolvers::Resolver {
                    address: *address,
                    zone: None,
                    file: "a".into(),
                })
                .collect(),
        };
        let serving = Serving::of(&crate::host::stubs::Host {
            resolvers: &resolvers,
            own: &Default::default(),
            listeners: &[],
            tree: None,
            recursive: None,
        });
        let visible =
            Visible { policy: &policy, serving: &serving, sight, hooks, resolving_error: None };
        not_visible(&visible).join("\n")
    }

    #[test]
    fn what_cannot_be_seen_is_said() {
        let direct = Sight { has_cgroups: true, knows_upstreams: true, ..Sight::default() };
        assert_eq!(said(&direct, Ok(()), "").lines().count(), 1);
        let stub = Sight { stubs: vec!["127.0.0.1".parse().unwrap()], ..direct.clone() };
        let text = said(&stub, Err("no cgroup2"), "");
        assert!(text.contains("no hooks at cgroups (no cgroup2)"), "{text}");
        assert!(text.contains("nobody listens there"), "{text}");
        assert!(text.contains("before the agent came"), "{text}");
        let unknown = Sight { knows_upstreams: false, ..stub.clone() };
        assert!(said(&unknown, Ok(()), "").contains("[dns] resolvers"));
        assert!(
            !said(&unknown, Ok(()), "resolvers = [\"192.0.2.53\"]").contains("[dns] resolvers")
        );
        let encrypted = Sight { over_tls: true, nss_resolve: true, ..stub };
        assert!(said(&encrypted, Ok(()), "").contains("nss-resolve"));
    }
}
