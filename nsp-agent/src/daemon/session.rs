//! Sessions of `nsp exec`: the part of the policy that each one adds, for as long as it lives. Pure.
//!
//! A session is merged into every policy that is compiled, and is in no file: `apply`, `mode` and
//! SIGHUP leave it as it is, and a policy that runs with sessions is still what its file says.

use std::{borrow::Cow, collections::BTreeMap};

use crate::{
    host::cgroups::leaf::Leaf,
    policy::{
        Position, Refusal,
        allow::Allowed,
        model::{
            AccessMode, CgroupPath, MetadataAccess, Name, OnDeny, OutboundRule, Part, Policy,
            PrivateAccess, Process, Profile, Resource, Selector,
        },
    },
};

/// Sessions at a time.
pub(super) const SESSIONS_MAX: u16 = 64;
/// Of one user who is not root.
pub(super) const SESSIONS_OF_USER_MAX: usize = 8;
/// Destinations of one session.
pub(super) const ALLOWED_MAX: usize = 256;

/// A name that the policy and a session both have.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0} is the name of a session of nsp exec that runs now; give yours another")]
pub struct NameTaken(Name);

/// One session, as the policy sees it.
#[derive(Clone, Debug)]
pub(super) struct Session {
    /// Its name, and that of its profile and its resource.
    pub(super) name: Name,
    /// Where it may go.
    pub(super) rules: BTreeMap<Name, OutboundRule>,
    /// In transition: nothing is refused.
    pub(super) learn: bool,
    /// Its processes.
    pub(super) leaf: Leaf,
}

impl Session {
    fn profile(&self) -> Profile {
        Profile {
            private: PrivateAccess::Rules,
            metadata: MetadataAccess::Deny,
            inbound: BTreeMap::new(),
            outbound: self.rules.clone(),
            strict_dns: !self.learn,
            alone: true,
            position: Position::default(),
        }
    }

    fn resource(&self, cgroup: CgroupPath) -> Resource {
        Resource {
            selector: Selector::Part(Part {
                process: Some(Process::Cgroup(cgroup)),
                ..Part::default()
            }),
            profile: self.name.clone(),
            inbound_mode: AccessMode::Transition,
            outbound_mode: match self.learn {
                true => AccessMode::Transition,
                false => AccessMode::Enforced,
            },
            on_deny: OnDeny::Reject,
            position: Position::default(),
        }
    }
}

/// The rules that `--allow` stands for.
///
/// # Errors
/// What is wrong with the first bad one.
pub(super) fn rules(allow: &[String]) -> Result<BTreeMap<Name, OutboundRule>, Refusal> {
    if allow.len() > ALLOWED_MAX {
        let what = format!("{} destinations are allowed", allow.len());
        return Err(Refusal::new(what, format!("one session has {ALLOWED_MAX} at most")));
    }
    allow.iter().map(|text| Allowed::parse(text).map(|allowed| allowed.rule())).collect()
}

/// The first name that none of the policies and no session has.
pub(super) fn free_number<T>(policies: &[&Policy], taken: &BTreeMap<u16, T>) -> Option<u16> {
    (1..=SESSIONS_MAX).find(|number| {
        let name = Name::of_session(*number);
        let has = |policy: &&Policy| {
            policy.resources.contains_key(&name) || policy.profiles.contains_key(&name)
        };
        !taken.contains_key(number) && !policies.iter().any(has)
    })
}

/// The policy with the sessions in it.
///
/// # Errors
/// When the policy has a session's name.
pub(super) fn merged<'a, 'b>(
    policy: &'a Policy,
    sessions: impl Iterator<Item = &'b Session>,
) -> Result<Cow<'a, Policy>, NameTaken> {
    let mut merged = Cow::Borrowed(policy);
    for session in sessions {
        let name = &session.name;
        if policy.resources.contains_key(name) || policy.profiles.contains_key(name) {
            return Err(NameTaken(name.clone()));
        }
        // A path that can be no selector is the root's, and a leaf is never the root.
        let Ok(cgroup) = session.leaf.path.parse() else { continue };
        let policy = merged.to_mut();
        policy.profiles.insert(name.clone(), session.profile());
        policy.resources.insert(name.clone(), session.resource(cgroup));
    }
    Ok(merged)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        compile::{compile, identities::Identities},
        policy,
    };
    use nsp_common::generation::{association, flags};

    const POLICY: &str = r#"
        [perimeter]
        name = "payments"
        [profile.database.inbound.office]
        address_prefixes = ["203.0.113.0/24"]
        [resource.database]
        ports = ["5432/tcp"]
        profile = "database"
    "#;

    fn read(text: &str) -> Policy {
        let directory = tempfile::tempdir().unwrap();
        let file = directory.path().join("policy.toml");
        std::fs::write(&file, text).unwrap();
        policy::load(&file).unwrap().policy
    }

    fn session(number: u16, allow: &[&str], learn: bool) -> Session {
        let mount = tempfile::tempdir().unwrap();
        let allow: Vec<String> = allow.iter().map(ToString::to_string).collect();
        Session {
            name: Name::of_session(number),
            rules: rules(&allow).unwrap(),
            learn,
            leaf: Leaf::make(mount.path(), "/", "x").unwrap(),
        }
    }

    #[test]
    fn without_sessions_a_policy_is_itself() {
        let policy = read(POLICY);
        assert!(matches!(merged(&policy, [].iter()), Ok(Cow::Borrowed(_))));
    }

    #[test]
    fn a_session_is_enforced_and_alone_and_leaves_the_others_as_they_are() {
        let policy = read(POLICY);
        let mut identities = Identities::default();
        let before = compile(&policy, &mut identities).unwrap();
        let session = session(1, &["github.com:443/tcp", "192.0.2.0/24"], false);
        let all = merged(&policy, [session].iter()).unwrap();
        let after = compile(&all, &mut identities).unwrap();
        let bits = |name: &str| {
            after.resources.iter().find(|it| it.name.as_str() == name).map(|it| it.bits).unwrap()
        };
        let has = |bit: u16| bits("exec-1") & bit != 0;
        assert!(has(association::ENFORCED_OUTBOUND) && !has(association::ENFORCED_INBOUND));
        assert!(has(association::PRIVATE_BY_RULES) && has(association::METADATA_DENIED));
        assert!(has(association::ALONE) && has(association::STRICT_DNS));
        assert_eq!(bits("database"), before.resources[0].bits);
        // Of packets without ports nobody is suspected who is not in the session's cgroup.
        assert_eq!(after.header.flags & flags::ENFORCED_OUTBOUND_ANYWHERE, 0);
        assert_eq!(after.fqdns.len(), 1);
    }

    #[test]
    fn a_session_that_learns_refuses_nothing() {
        let policy = read(POLICY);
        let session = session(2, &[], true);
        let all = merged(&policy, [session].iter()).unwrap();
        let compiled = compile(&all, &mut Identities::default()).unwrap();
        let bits = compiled.resources.iter().map(|it| it.bits).max().unwrap();
        assert_eq!(bits & (association::ENFORCED_OUTBOUND | association::STRICT_DNS), 0);
    }

    #[test]
    fn a_name_is_never_shared_with_the_policy() {
        let taken = POLICY.replace("resource.database", "resource.exec-1");
        let policy = read(&taken);
        assert_eq!(free_number(&[&policy], &BTreeMap::from([(2, ())])), Some(3));
        // One is in force, and the other comes back when nobody confirms it.
        let other = read(&POLICY.replace("resource.database", "resource.exec-2"));
        for both in [[&policy, &other], [&other, &policy]] {
            assert_eq!(free_number(&both, &BTreeMap::<_, ()>::new()), Some(3));
        }
        let session = session(1, &[], false);
        let error = merged(&policy, [session].iter()).unwrap_err().to_string();
        assert!(error.starts_with("exec-1 is the name of a session"), "{error}");
    }

    #[test]
    fn too_much_is_refused() {
        let many: Vec<String> = (0..=ALLOWED_MAX).map(|at| format!("h{at}.example.com")).collect();
        assert!(rules(&many).unwrap_err().why.contains("256 at most"));
        assert!(rules(&many[1..]).is_ok());
    }
}
