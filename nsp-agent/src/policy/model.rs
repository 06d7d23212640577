//! The policy as the rest of the agent sees it: typed, resolved, and only ever right.
//!
//! Every name points at something that exists, every prefix is canonical, every mode is decided.
//! A value of these types comes from [`load`](super::load) (or from a test), never from text
//! directly, and nothing here reads a file.

use std::{
    collections::{BTreeMap, BTreeSet},
    net::IpAddr,
    path::PathBuf,
};

pub use super::{
    category::LogCategory,
    choice::{
        AccessMode, Forwarded, MetadataAccess, OnDeny, PlatformKey, PrivateAccess,
        PublicNetworkAccess,
    },
    diagnose::Position,
    failsafe::Failsafe,
    fqdn::Fqdn,
    name::{Guid, Name},
    ports::{PortRange, PortSet, PortSpec, Transport},
    prefix::PrefixSet,
    selector::{CgroupPath, InterfaceName, Part, Process, Selector, UnitGlob},
};

/// One whole policy: a perimeter, what is inside it and what may cross it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Policy {
    /// The boundary itself.
    pub perimeter: Perimeter,
    /// What counts as private; `None` keeps the built-in list, an empty list means
    /// that nothing is private.
    pub private_prefixes: Option<PrefixSet>,
    /// The profiles, by name.
    pub profiles: BTreeMap<Name, Profile>,
    /// The resources of this host, each with its association, by name.
    pub resources: BTreeMap<Name, Resource>,
    /// The perimeter's resources on other hosts, by name.
    pub members: BTreeMap<Name, Member>,
    /// Names: who is trusted to answer for them, and who may ask for which.
    pub dns: Dns,
    /// What is logged, and where.
    pub logging: Logging,
    /// Who can always come in. Its rule is in the profiles already.
    pub failsafe: Option<Failsafe>,
}

impl Policy {
    /// The profile of a resource of this policy.
    ///
    /// # Panics
    ///
    /// If `resource` comes from another policy: in one policy every association resolves.
    pub fn profile_of(&self, resource: &Resource) -> &Profile {
        &self.profiles[&resource.profile]
    }

    /// Whether an outbound rule lists this very name.
    pub fn lists(&self, name: &Fqdn) -> bool {
        let rules = self.profiles.values().flat_map(|profile| profile.outbound.values());
        rules.flat_map(|rule| &rule.fqdns).any(|listed| listed == name)
    }
}

/// The named boundary.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Perimeter {
    /// Its name.
    pub name: Name,
    /// Its GUID, when the document gives one.
    pub guid: Option<Guid>,
    /// A free label, such as a region.
    pub location: Option<String>,
    /// What happens to the traffic of no associated resource.
    pub public_network_access: PublicNetworkAccess,
    /// Whether forwarded packets are judged as the host's own.
    pub forwarded: Forwarded,
    /// The cloud that the host runs in.
    pub platform: PlatformKey,
    /// Where the document says it.
    pub position: Position,
}

/// A named set of access rules.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Profile {
    /// Whether private peers need a rule.
    pub private: PrivateAccess,
    /// Whether the cloud's own endpoints are reachable.
    pub metadata: MetadataAccess,
    /// Who may come in.
    pub inbound: BTreeMap<Name, InboundRule>,
    /// Where traffic may go.
    pub outbound: BTreeMap<Name, OutboundRule>,
    /// Only names of its outbound rules may be asked for.
    pub strict_dns: bool,
    /// A perimeter of its own, of `nsp exec`: members need a rule too. No document says so.
    pub alone: bool,
    /// Where the document says it.
    pub position: Position,
}

/// An inbound access rule: admits its sources to its ports.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct InboundRule {
    /// Every source admitted: the union of the rule's prefixes, subscriptions, service tags and
    /// prefix files. Empty admits nobody.
    pub prefixes: PrefixSet,
    /// The local ports it admits to.
    pub ports: PortSet,
    /// The document said `allow_any = true`.
    pub allow_any: bool,
    /// Where the document says it.
    pub position: Position,
}

/// An outbound access rule: admits conversations to its destinations.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OutboundRule {
    /// Every destination admitted by address.
    pub prefixes: PrefixSet,
    /// Every destination admitted by name; sorted, without duplicates.
    pub fqdns: Vec<Fqdn>,
    /// The remote ports it admits.
    pub ports: PortSet,
    /// The document said `allow_any = true`.
    pub allow_any: bool,
    /// The document said `allow_public_suffix = true`.
    pub allow_public_suffix: bool,
    /// Where the document says it.
    pub position: Position,
}

/// A resource of this host together with its association.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Resource {
    /// What on this host it is.
    pub selector: Selector,
    /// The profile it is associated with; always a key of [`Policy::profiles`].
    pub profile: Name,
    /// The access mode of what comes in.
    pub inbound_mode: AccessMode,
    /// The access mode of what goes out.
    pub outbound_mode: AccessMode,
    /// How a denied outbound conversation fails.
    pub on_deny: OnDeny,
    /// Where the document says it.
    pub position: Position,
}

/// A resource of the same perimeter on another host, trusted by address.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Member {
    /// Its addresses.
    pub addresses: PrefixSet,
    /// Where the document says it.
    pub position: Position,
}

/// Who is trusted to answer for names, and who may ask for which.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Dns {
    /// Resolvers trusted besides the host's own.
    pub resolvers: Vec<IpAddr>,
    /// The unit of a recursive resolver on this host: it may ask anybody, and what it answers teaches.
    pub recursive_unit: Option<UnitGlob>,
    /// The document said `strict = true`: every profile's `strict_dns`.
    pub strict: bool,
    /// The document said `accept_blind = true`: wildcards may be enforced where answers cannot be seen.
    pub accept_blind: bool,
}

/// What is logged, and where.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Logging {
    /// The categories that are written; an empty set writes none.
    pub enabled_log_categories: BTreeSet<LogCategory>,
    /// The access log's file, absolute or relative to the working directory.
    pub file: Option<PathBuf>,
}

impl Default for Logging {
    /// Every category, to no file.
    fn default() -> Self {
        Self { enabled_log_categories: LogCategory::ALL.into_iter().collect(), file: None }
    }
}
