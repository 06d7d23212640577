//! Whether answers to this host's questions can be seen, and what a policy may not ask for where they
//! cannot. Below a wildcard nothing is admitted but what an answer taught.
//!
//! What the host is comes from files alone, so that `nsp check` says the same without privileges.

use std::{
    fmt, fs,
    net::IpAddr,
    path::{Path, PathBuf},
};

use crate::{
    host::{
        cgroups,
        resolvers::{self, ResolverFiles},
    },
    policy::{
        Diagnostic, Loaded, PolicyErrors, Severity,
        model::{AccessMode, Fqdn, OutboundRule, Policy, PublicNetworkAccess, Selector},
    },
};

/// What the host says of how its programs resolve names.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Sight {
    /// Resolvers on this host that programs ask.
    pub stubs: Vec<IpAddr>,
    /// Whether it is known whom these ask.
    pub knows_upstreams: bool,
    /// Whether the kernel's hooks at cgroups, which see what a stub answers, can be had.
    pub has_cgroups: bool,
    /// Whether programs may ask systemd-resolved without a DNS message (`nss-resolve`).
    pub nss_resolve: bool,
    /// Whether systemd-resolved may ask by DNS over TLS.
    pub over_tls: bool,
}

/// Where the host says it.
#[derive(Clone, Debug)]
pub struct Files {
    /// What programs read.
    pub resolv_conf: PathBuf,
    /// The directory of `nsswitch.conf` and `systemd/resolved.conf`.
    pub etc: PathBuf,
}

/// Why answers cannot be seen.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Blind {
    /// A stub answers, and the hook that sees its answers cannot be had.
    NoHook(IpAddr),
    /// No DNS message is sent at all, and none leaves the host that can be read.
    Encrypted,
    /// A resolver of this host whose own questions would be denied.
    Recursive(IpAddr),
}

impl fmt::Display for Blind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NoHook(stub) => {
                write!(f, "programs ask a resolver on this host ({stub}), and there is no cgroup2 to see its answers by")
            }
            Self::Encrypted => f.write_str(
                "programs ask systemd-resolved without DNS messages (nss-resolve), and it asks by DNS over TLS",
            ),
            Self::Recursive(stub) => {
                write!(f, "programs ask a resolver on this host ({stub}), and what it asks itself would be denied")
            }
        }
    }
}

impl Blind {
    fn cure(self) -> &'static str {
        match self {
            Self::NoHook(_) => {
                "mount cgroup2, or list the names one by one; or [dns] accept_blind = true"
            }
            Self::Encrypted => {
                "take `resolve` out of nsswitch.conf, or list the names one by one; or [dns] accept_blind = true"
            }
            Self::Recursive(_) => {
                "[dns] resolvers = [\"…\"], those that it asks; or recursive_unit = \"….service\", if it asks the world itself; or accept_blind = true"
            }
        }
    }
}

impl Sight {
    /// Looks at the host's files.
    pub fn read(files: &Files) -> Self {
        let Files { resolv_conf, etc } = files;
        let text = |path: &Path| fs::read_to_string(path).unwrap_or_default();
        // Without any resolver (before the network is up) nothing is resolved at all.
        let names_one =
            text(resolv_conf).lines().any(|line| line.trim_start().starts_with("nameserver"));
        let found = ResolverFiles { resolv_conf: resolv_conf.clone(), ..ResolverFiles::default() };
        let found = resolvers::read(&found).unwrap_or_default();
        let stubs = found.local().filter(|_| names_one).map(|it| it.address).collect();
        let parts = fs::read_dir(etc.join("systemd/resolved.conf.d")).into_iter().flatten();
        let mut parts: Vec<PathBuf> = parts.flatten().map(|entry| entry.path()).collect();
        parts.retain(|path| path.extension().is_some_and(|it| it == "conf"));
        parts.sort();
        let main = etc.join("systemd/resolved.conf");
        let settings: Vec<String> = [main].iter().chain(&parts).map(|path| text(path)).collect();
        Self {
            stubs,
            knows_upstreams: found.remote().next().is_some(),
            has_cgroups: cgroups::mount_point().is_ok(),
            nss_resolve: asks_resolved(&text(&etc.join("nsswitch.conf"))),
            over_tls: is_over_tls(&settings),
        }
    }

    /// Why answers cannot be seen, if they cannot.
    pub fn blind(&self, policy: &Policy) -> Option<Blind> {
        if self.nss_resolve && self.over_tls {
            return Some(Blind::Encrypted);
        }
        let stub = *self.stubs.first()?;
        if !self.has_cgroups {
            return Some(Blind::NoHook(stub));
        }
        let is_told = self.knows_upstreams
            || !policy.dns.resolvers.is_empty()
            || policy.dns.recursive_unit.is_some();
        (!is_told && denies_questions(policy)).then_some(Blind::Recursive(stub))
    }
}

/// Whether names come from systemd-resolved by its own way.
fn asks_resolved(nsswitch: &str) -> bool {
    let hosts = nsswitch.lines().filter_map(|line| line.trim_start().strip_prefix("hosts:"));
    let mut words = hosts.flat_map(|line| line.split('#').next().unwrap_or("").split_whitespace());
    words.any(|word| word == "resolve")
}

/// Whether systemd-resolved uses DNS over TLS, always or where it can: the last word counts.
fn is_over_tls(settings: &[String]) -> bool {
    let lines = settings.iter().flat_map(|text| text.lines());
    let values = lines.filter_map(|line| line.trim().strip_prefix("DNSOverTLS"));
    let last = values.filter_map(|rest| rest.trim_start().strip_prefix('=')).next_back();
    last.is_some_and(|value| {
        matches!(
            value.trim().to_ascii_lowercase().as_str(),
            "yes" | "true" | "1" | "on" | "opportunistic"
        )
    })
}

/// Whether a resolver of this host that no resource is about may not ask whom it likes.
fn denies_questions(policy: &Policy) -> bool {
    let host = policy.resources.values().find(|it| it.selector == Selector::Host);
    let Some(host) = host else {
        return policy.perimeter.public_network_access == PublicNetworkAccess::SecuredByPerimeter;
    };
    let by_address =
        policy.profile_of(host).outbound.values().any(|rule| !rule.prefixes.is_empty());
    host.outbound_mode == AccessMode::Enforced && !by_address
}

/// The rules with a wildcard that a resource uses, and whether one enforces them.
fn wildcards(policy: &Policy) -> Vec<(&OutboundRule, bool)> {
    let has_wildcard = |rule: &&OutboundRule| rule.fqdns.iter().any(Fqdn::is_wildcard);
    let rules = policy.profiles.iter().flat_map(|(name, profile)| {
        let used = || policy.resources.values().filter(move |it| it.profile == *name);
        let is_enforced = used().any(|it| it.outbound_mode == AccessMode::Enforced);
        let is_used = used().next().is_some();
        let rules = profile.outbound.values().filter(has_wildcard);
        rules.filter(move |_| is_used).map(move |rule| (rule, is_enforced))
    });
    rules.collect()
}

/// What is to be said of a policy here: refusals, or warnings.
fn diagnose(policy: &Policy, sight: &Sight) -> Vec<Diagnostic> {
    let Some(blind) = sight.blind(policy) else { return Vec::new() };
    let said = wildcards(policy).into_iter().map(|(rule, is_enforced)| {
        let is_error = is_enforced && !policy.dns.accept_blind;
        let wildcard = rule.fqdns.iter().find(|it| it.is_wildcard());
        let name = wildcard.map(ToString::to_string).unwrap_or_default();
        Diagnostic {
            severity: if is_error { Severity::Error } else { Severity::Warning },
            position: rule.position.clone(),
            what: format!("`{name}` may admit nothing"),
            why: blind.to_string(),
            cure: (!policy.dns.accept_blind).then(|| blind.cure().to_owned()),
            snippet: None,
        }
    });
    said.collect()
}

/// Refuses a policy that enforces a wildcard where answers cannot be seen, unless it says
/// `accept_blind`; warns of what else would admit nothing. A policy without wildcards asks nothing of
/// the host.
///
/// # Errors
/// The rules that are refused.
pub fn judge(mut loaded: Loaded, files: &Files) -> Result<Loaded, PolicyErrors> {
    if wildcards(&loaded.policy).is_empty() {
        return Ok(loaded);
    }
    let said = diagnose(&loaded.policy, &Sight::read(files));
    let (errors, notes): (Vec<_>, Vec<_>) =
        said.into_iter().partition(|it| it.severity == Severity::Error);
    if errors.is_empty() {
        loaded.notes.extend(notes);
        return Ok(loaded);
    }
    Err(PolicyErrors { errors, suppressed: 0 })
}

#[cfg(test)]
mod tests;
