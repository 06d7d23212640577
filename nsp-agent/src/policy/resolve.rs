//! From what was typed to what is meant: names are looked up, sources read, conflicts refused.

mod names;
mod resources;
mod rules;

use std::{
    collections::{BTreeMap, BTreeSet},
    path::{Path, PathBuf},
};

use ipnet::IpNet;

use self::rules::Rules;
use super::{
    diagnose::{Refusal, Report},
    document::{DnsDocument, Document, LoggingDocument, PerimeterDocument, Prefixes, Spanned},
    failsafe::Failsafe,
    input::Reader,
    model::{Dns, Logging, Member, Perimeter, Policy},
};
use crate::sources::{Catalog, SourceInfo};

/// Azure's bounds, which NSP does not have; past them a policy cannot move to Azure as it is.
const AZURE_PROFILES_MAX: usize = 200;
const AZURE_RESOURCES_MAX: usize = 1000;

/// Makes the policy of a document. `None` when something is wrong; what, is in the report.
pub(crate) fn resolve(
    document: &Document,
    reader: &mut Reader,
    report: &mut Report,
) -> Option<(Policy, Vec<SourceInfo>)> {
    let Document {
        perimeter,
        sources,
        private_prefixes,
        profiles,
        resources,
        members,
        dns,
        logging,
        failsafe,
    } = document;
    let wanted = rules::wanted_tags(profiles);
    let catalog = Catalog::load(sources, &wanted, reader, report);
    let ways_in = failsafe.iter().filter_map(|it| it.prefixes.as_ref());
    let lists = private_prefixes.iter().chain(members.values().map(|member| &member.value));
    for prefixes in lists.chain(ways_in) {
        warn_of_covered(prefixes, report);
    }
    for subscription in sources.subscriptions.values() {
        warn_of_covered(&subscription.value, report);
    }

    let perimeter = perimeter.as_ref().and_then(|perimeter| resolve_perimeter(perimeter, report));
    let dns = resolve_dns(dns);
    let mut rules = Rules::new(&catalog, &sources.subscriptions, dns.strict);
    resources::warn_of_unused(profiles, resources, report);
    let mut profiles: BTreeMap<_, _> = profiles
        .iter()
        .map(|(name, profile)| (name.clone(), rules.profile(name, profile, report)))
        .collect();
    rules.note_unused(sources, report);
    let mut resolved = resources::resolve(resources, &profiles, report);
    let failsafe = failsafe.as_ref().and_then(|typed| {
        let failsafe = Failsafe::resolve(typed, report)?;
        let access = perimeter.as_ref()?.public_network_access;
        failsafe.join(typed.span, access, &mut profiles, &mut resolved, report);
        Some(failsafe)
    });
    note_azure_limits(document, report);
    let members = members.iter().map(|(name, Spanned { span, value })| {
        let position = report.texts.position(*span);
        (name.clone(), Member { addresses: values(value).collect(), position })
    });
    let policy = Policy {
        members: members.collect(),
        private_prefixes: private_prefixes.as_ref().map(|prefixes| values(prefixes).collect()),
        profiles,
        resources: resolved,
        dns,
        logging: resolve_logging(logging, report),
        failsafe,
        perimeter: perimeter?,
    };
    (!report.has_errors()).then(|| (policy, catalog.into_infos()))
}

fn resolve_perimeter(perimeter: &PerimeterDocument, report: &Report) -> Option<Perimeter> {
    let PerimeterDocument {
        span,
        name,
        guid,
        location,
        public_network_access,
        forwarded,
        platform,
    } = perimeter;
    Some(Perimeter {
        name: name.as_ref()?.value.clone(),
        guid: guid.as_ref().map(|guid| guid.value),
        location: location.as_ref().map(|location| location.value.clone()),
        public_network_access: value_or_default(public_network_access),
        forwarded: value_or_default(forwarded),
        platform: value_or_default(platform),
        position: report.texts.position(*span),
    })
}

fn resolve_dns(dns: &DnsDocument) -> Dns {
    let DnsDocument { resolvers, recursive_unit, strict, accept_blind } = dns;
    let mut seen = BTreeSet::new();
    Dns {
        resolvers: resolvers.iter().map(|it| it.value).filter(|it| seen.insert(*it)).collect(),
        recursive_unit: recursive_unit.as_ref().map(|it| it.value.clone()),
        strict: value_or_default(strict),
        accept_blind: value_or_default(accept_blind),
    }
}

fn resolve_logging(logging: &LoggingDocument, report: &Report) -> Logging {
    let LoggingDocument { enabled_log_categories, file } = logging;
    let mut resolved = Logging::default();
    if let Some(categories) = enabled_log_categories {
        resolved.enabled_log_categories =
            categories.iter().flat_map(|categories| &categories.value).copied().collect();
    }
    resolved.file = file.as_ref().map(|Spanned { span, value }| -> PathBuf {
        let policy = report.texts.path(*span);
        policy.parent().unwrap_or(Path::new("")).join(value)
    });
    resolved
}

fn value_or_default<T: Copy + Default>(typed: &Option<Spanned<T>>) -> T {
    typed.as_ref().map(|typed| typed.value).unwrap_or_default()
}

fn values(prefixes: &Prefixes) -> impl Iterator<Item = IpNet> {
    prefixes.iter().map(|prefix| prefix.value)
}

/// Warns of prefixes that another one of the same list covers; they are accepted once.
fn warn_of_covered(prefixes: &Prefixes, report: &mut Report) {
    let mut sorted: Vec<&Spanned<IpNet>> = prefixes.iter().collect();
    // Whatever covers a prefix comes before it, and of two equal ones the first typed.
    sorted.sort_unstable_by_key(|prefix| (prefix.value, prefix.span));
    let mut kept: Option<&Spanned<IpNet>> = None;
    for prefix in sorted {
        let Some(covering) = kept.filter(|kept| kept.value.contains(&prefix.value)) else {
            kept = Some(prefix);
            continue;
        };
        if report.notes_full() {
            return;
        }
        let what = if covering.value == prefix.value {
            format!("`{}` is there twice", prefix.value)
        } else {
            format!("`{}` is already covered by `{}`", prefix.value, covering.value)
        };
        report.warning(prefix.span, Refusal::new(what, "it is accepted once"));
    }
}

fn note_azure_limits(document: &Document, report: &mut Report) {
    let Some(perimeter) = &document.perimeter else { return };
    let counts = [
        ("profiles", document.profiles.len(), AZURE_PROFILES_MAX),
        ("resources", document.resources.len(), AZURE_RESOURCES_MAX),
    ];
    for (things, count, max) in counts {
        if count > max {
            let what = format!("the perimeter has {count} {things}");
            let why = format!("Azure recommends at most {max}; NSP has no such limit");
            report.note(perimeter.span, Refusal::new(what, why));
        }
    }
    if document.resources.is_empty() {
        let why = "no traffic is judged by a profile";
        report.note(perimeter.span, Refusal::new("the perimeter has no resource", why));
    }
}
