//! From a policy to one generation: pure, nothing here touches the kernel.
//!
//! ```text
//! rules ──numbers──► pairs (prefix, rule) ──sweep──► classes ─┐
//! rules' ports ─────► port classes ───────────────────────────┴─matrix─► cells, rows
//! resources ────────► associations (by interned identity)
//! ```
//!
//! Because it is pure, `check`, `plan` and `explain` come free, and a policy that does not fit is
//! refused before anything is published.

pub mod identities;
pub mod limits;
mod longest;
mod matrix;
mod names;
pub mod oracle;
pub mod overlay;
mod ports;
mod ranges;
mod sets;
mod sweep;

use ipnet::IpNet;
use nsp_common::{
    class::{Cell, Class, PortEntry, flags as class_flags},
    generation::{Association, Generation, PublicAccess, association, flags},
    learned::Unit,
    name::NameKey,
    ranges::{NEAR_PAGES, Page},
    verdict::Direction,
};

use crate::policy::model::{
    AccessMode, Forwarded, Fqdn, MetadataAccess, Name, OnDeny, Policy, PortSet, PrefixSet,
    PrivateAccess, PublicNetworkAccess, Selector,
};
use identities::Identities;
pub use limits::{BudgetError, Sizes};

/// The private ranges when the policy gives none: RFC 1918, RFC 6598, link-local, ULA.
pub const PRIVATE_PREFIXES: [&str; 7] = [
    "10.0.0.0/8",
    "172.16.0.0/12",
    "192.168.0.0/16",
    "100.64.0.0/10",
    "169.254.0.0/16",
    "fc00::/7",
    "fe80::/10",
];

/// One compiled policy: exactly what the maps of one slot will hold, and what the words of the log
/// need beside it.
pub struct Compiled {
    /// The header; its number is set when it is published.
    pub header: Generation,
    /// Associations by identity.
    pub associations: Vec<Association>,
    /// Port classes, and the listeners whose ports the policy names, laid out as
    /// [`nsp_common::class::PortTable`].
    pub ports: Vec<PortEntry>,
    /// Classes by number.
    pub classes: Vec<Class>,
    /// The comb.
    pub cells: Vec<Cell>,
    /// Rows of rule numbers.
    pub rows: Vec<u32>,
    /// Identities of rules by number; the first is none.
    pub rules: Vec<u32>,
    /// Classes of names by identity.
    pub names: Vec<u32>,
    /// Keys of names, and what addresses are held by that are learned for them.
    pub name_units: Vec<(NameKey, Unit)>,
    /// Address classes by prefix: a prefix stands for what no longer one covers. Sorted: IPv4 first, by
    /// address, and outer before inner.
    pub prefixes: Vec<(IpNet, u32)>,
    /// The same as a range table.
    pub pages: Vec<Page>,
    /// The names of outbound rules, with their identities.
    pub fqdns: Vec<(u32, Fqdn)>,
    /// The resources, with their associations' identities.
    pub resources: Vec<BoundResource>,
    /// What it takes.
    pub sizes: Sizes,
}

/// A resource and its association.
#[derive(Clone, Debug)]
pub struct BoundResource {
    /// Its name.
    pub name: Name,
    /// Identity of the association.
    pub association: u16,
    /// What on this host it is.
    pub selector: Selector,
    /// Bits of [`nsp_common::generation::association`].
    pub bits: u16,
}

/// One access rule on its way to a number.
struct NumberedRule<'a> {
    lane: u32,
    identity: u32,
    ports: &'a PortSet,
    prefixes: &'a PrefixSet,
    fqdns: &'a [Fqdn],
}

/// Compiles a policy.
///
/// # Errors
/// [`BudgetError`] names the table that would be too large and the limit it breaks.
pub fn compile(policy: &Policy, identities: &mut Identities) -> Result<Compiled, BudgetError> {
    compile_with(policy, identities, &[])
}

/// Compiles a policy, and names that entries of the live overlay are about: addresses are learned for
/// these too.
///
/// # Errors
/// As [`compile`].
pub fn compile_with(
    policy: &Policy,
    identities: &mut Identities,
    temporary: &[Fqdn],
) -> Result<Compiled, BudgetError> {
    let rules = number_rules(policy, identities);
    if rules.len() >= limits::RULES_MAX {
        return Err(BudgetError::new("rules", rules.len() + 1, limits::RULES_MAX));
    }
    let port_classes = ports::PortClasses::of(rules.iter().map(|rule| rule.ports))?;
    let private: PrefixSet = private_prefixes(policy).collect();
    let endpoints: PrefixSet =
        policy.perimeter.platform.endpoints().iter().map(|text| constant(text)).collect();
    let members = policy.members.values().map(|member| (&member.addresses, sweep::MEMBER));
    let pairs = sweep::Pairs::of(
        rules
            .iter()
            .zip(1..)
            .map(|(rule, number)| (rule.prefixes, number))
            .chain([(&private, sweep::PRIVATE), (&endpoints, sweep::PLATFORM)])
            .chain(members),
    );
    let prefix_count = pairs.len();
    let mut sweep = sweep::Sweep::default();
    let prefixes = sweep.prefixes(pairs);
    let pages = ranges::build(&prefixes);

    let names::Names { classes: name_classes, fqdns, units } =
        names::compile(&rules, temporary, identities, &mut sweep);

    let none = matrix::RuleOf { lane: 0, ports: &PortSet::Any };
    let rules_by_number: Vec<matrix::RuleOf<'_>> = std::iter::once(none)
        .chain(rules.iter().map(|rule| matrix::RuleOf { lane: rule.lane, ports: rule.ports }))
        .collect();
    let matrix = matrix::Matrix::build(sweep.sets(), &rules_by_number, &port_classes)?;
    let classes = matrix
        .first_cells
        .iter()
        .zip(sweep.sets().iter())
        .map(|(cells, set)| Class { cells: *cells, flags: class_bits(set), _pad: 0 })
        .collect();
    let rule_identities =
        std::iter::once(0).chain(rules.iter().map(|rule| rule.identity)).collect::<Vec<u32>>();

    let mut compiled = Compiled {
        header: Generation { row_length: port_classes.count(), ..header(policy) },
        associations: Vec::new(),
        ports: port_classes.table(),
        classes,
        cells: matrix.cells,
        rows: matrix.rows,
        rules: rule_identities,
        names: name_classes,
        name_units: units,
        prefixes,
        pages,
        fqdns,
        resources: Vec::new(),
        sizes: Sizes::default(),
    };
    if !compiled.fqdns.is_empty() {
        compiled.header.flags |= flags::BY_NAME;
    }
    if compiled.pages.len() > NEAR_PAGES as usize {
        compiled.header.flags |= flags::FAR;
    }
    associate(policy, identities, &mut compiled);
    if !compiled.resources.is_empty() {
        // What is denied is told by its name, also where no rule has names.
        compiled.header.flags |= flags::BY_DNS;
    }
    compiled.sizes = Sizes::of(&compiled, prefix_count, port_classes.count());
    compiled.sizes.check()?;
    Ok(compiled)
}

/// The private ranges in force.
pub fn private_prefixes(policy: &Policy) -> impl Iterator<Item = IpNet> {
    let given = policy.private_prefixes.iter().flat_map(PrefixSet::iter);
    let built_in = policy.private_prefixes.is_none().then_some(PRIVATE_PREFIXES);
    given.chain(built_in.into_iter().flatten().map(constant))
}

fn constant(prefix: &str) -> IpNet {
    prefix.parse().expect("a constant prefix")
}

/// Rules in the order of their numbers: profile, direction, name. The maps are ordered already.
fn number_rules<'a>(policy: &'a Policy, identities: &mut Identities) -> Vec<NumberedRule<'a>> {
    let mut rules = Vec::new();
    for (index, (profile_name, profile)) in policy.profiles.iter().enumerate() {
        let profile_number = index as u16;
        for (name, rule) in &profile.inbound {
            rules.push(NumberedRule {
                lane: nsp_common::class::lane(profile_number, false),
                identity: identities.rule(profile_name, Direction::Inbound, name),
                ports: &rule.ports,
                prefixes: &rule.prefixes,
                fqdns: &[],
            });
        }
        for (name, rule) in &profile.outbound {
            rules.push(NumberedRule {
                lane: nsp_common::class::lane(profile_number, true),
                identity: identities.rule(profile_name, Direction::Outbound, name),
                ports: &rule.ports,
                prefixes: &rule.prefixes,
                fqdns: &rule.fqdns,
            });
        }
    }
    rules
}

fn class_bits(set: &[u32]) -> u16 {
    let mut bits = 0;
    if set.contains(&sweep::PRIVATE) {
        bits |= class_flags::PRIVATE;
    }
    if set.contains(&sweep::MEMBER) {
        bits |= class_flags::MEMBER;
    }
    if set.contains(&sweep::PLATFORM) {
        bits |= class_flags::PLATFORM;
    }
    bits
}

/// The part of the header that the perimeter's own keys give.
fn header(policy: &Policy) -> Generation {
    let public_access = match policy.perimeter.public_network_access {
        PublicNetworkAccess::Enabled => PublicAccess::Enabled,
        PublicNetworkAccess::Transition => PublicAccess::Transition,
        PublicNetworkAccess::SecuredByPerimeter => PublicAccess::SecuredByPerimeter,
    };
    Generation {
        flags: match policy.perimeter.forwarded {
            Forwarded::Host => 0,
            Forwarded::Pass => flags::PASS_FORWARDED,
        } | match policy.dns.recursive_unit {
            None => 0,
            Some(_) => flags::RECURSIVE,
        },
        public_access: public_access as u8,
        ..Generation::default()
    }
}

/// Gives every resource its association and the ports that the policy names their listeners.
fn associate(policy: &Policy, identities: &mut Identities, compiled: &mut Compiled) {
    for (name, resource) in &policy.resources {
        let identity = identities.association(name);
        let profile_number =
            policy.profiles.keys().position(|profile| *profile == resource.profile).unwrap_or(0);
        let profile = policy.profile_of(resource);
        let mut bits = association::PRESENT;
        let (anywhere_inbound, anywhere_outbound) = concerns_anything(&resource.selector);
        if resource.inbound_mode == AccessMode::Enforced {
            bits |= association::ENFORCED_INBOUND;
            compiled.header.flags |= flags::ENFORCED_INBOUND;
            if anywhere_inbound {
                compiled.header.flags |= flags::ENFORCED_INBOUND_ANYWHERE;
            }
        }
        if resource.outbound_mode == AccessMode::Enforced {
            bits |= association::ENFORCED_OUTBOUND;
            compiled.header.flags |= flags::ENFORCED_OUTBOUND;
            // What processes with a perimeter of their own send is known by its cgroup, with ports or
            // without; nobody else's packet is theirs.
            if anywhere_outbound && !profile.alone {
                compiled.header.flags |= flags::ENFORCED_OUTBOUND_ANYWHERE;
            }
        }
        if profile.strict_dns && resource.outbound_mode == AccessMode::Enforced {
            bits |= association::STRICT_DNS;
            compiled.header.flags |= flags::STRICT_DNS;
        }
        if profile.private == PrivateAccess::Rules {
            bits |= association::PRIVATE_BY_RULES;
        }
        if profile.metadata == MetadataAccess::Deny {
            bits |= association::METADATA_DENIED;
        }
        if profile.alone {
            bits |= association::ALONE;
            compiled.header.flags |= flags::ALONE;
        }
        if resource.on_deny == OnDeny::Drop {
            bits |= association::DENIED_SILENTLY;
        }
        let at = usize::from(identity);
        if compiled.associations.len() <= at {
            compiled.associations.resize(at + 1, Association::default());
        }
        compiled.associations[at] = Association {
            cut_before_ns: identities.cut_before_ns(identity),
            profile: profile_number as u16,
            flags: bits,
            profile_identity: identities.profile(&resource.profile),
            _pad: 0,
        };
        select(&resource.selector, identity, compiled);
        compiled.resources.push(BoundResource {
            name: name.clone(),
            association: identity,
            selector: resource.selector.clone(),
            bits,
        });
    }
}

/// Whether a packet whose ports are not known may concern the resource at every local address and
/// device: inbound, and outbound, where a unit's packets may have any address.
fn concerns_anything(selector: &Selector) -> (bool, bool) {
    match selector {
        Selector::Host => (true, true),
        Selector::Part(part) => {
            let anywhere = part.address.is_none() && part.interface.is_none();
            (anywhere, anywhere || part.process.is_some())
        }
    }
}

/// The part of a selector that needs no knowledge of the host.
fn select(selector: &Selector, identity: u16, compiled: &mut Compiled) {
    let part = match selector {
        Selector::Host => {
            compiled.header.host = identity;
            return;
        }
        Selector::Part(part) => part,
    };
    if part.address.is_some() {
        compiled.header.flags |= flags::BY_ADDRESS;
    }
    if part.interface.is_some() {
        compiled.header.flags |= flags::BY_INTERFACE;
    }
    if part.process.is_some() {
        compiled.header.flags |= flags::BY_CGROUP;
    }
    if part.address.is_none() {
        for range in &part.ports {
            ports::listen(&mut compiled.ports, range, identity);
        }
    }
}
