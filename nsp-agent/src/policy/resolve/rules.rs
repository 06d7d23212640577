//! Access rules: what each one admits in the end, and whether that can be meant.

use std::collections::{BTreeMap, BTreeSet};

use ipnet::IpNet;

use super::{names, value_or_default, values, warn_of_covered};
use crate::{
    policy::{
        diagnose::{Refusal, Report, quoted, suggest},
        document::{Prefixes, ProfileDocument, RuleDocument, SourcesDocument, Spanned},
        fqdn::Fqdn,
        model::{InboundRule, OutboundRule, Profile},
        name::Name,
        ports::PortSet,
        prefix::{PrefixSet, widest},
        text::Span,
    },
    sources::{Catalog, Tag},
};

/// Azure's hard bound on the elements of one profile's rules.
const AZURE_RULE_ELEMENTS_MAX: usize = 200;

/// The service tags that some rule uses.
pub(super) fn wanted_tags(profiles: &BTreeMap<Name, ProfileDocument>) -> BTreeSet<&Tag> {
    let rules = profiles.values().flat_map(all_rules);
    rules.flat_map(|rule| &rule.service_tags).map(|tag| &tag.value).collect()
}

fn all_rules(profile: &ProfileDocument) -> impl Iterator<Item = &RuleDocument> {
    profile.inbound.values().chain(profile.outbound.values())
}

/// What rules can refer to, and what was referred to.
pub(super) struct Rules<'a> {
    catalog: &'a Catalog,
    subscriptions: &'a BTreeMap<Name, Spanned<Prefixes>>,
    subscriptions_used: BTreeSet<&'a Name>,
    files_used: BTreeSet<&'a Name>,
    /// `[dns] strict`.
    strict_dns: bool,
}

impl<'a> Rules<'a> {
    pub(super) fn new(
        catalog: &'a Catalog,
        subscriptions: &'a BTreeMap<Name, Spanned<Prefixes>>,
        strict_dns: bool,
    ) -> Self {
        let (subscriptions_used, files_used) = (BTreeSet::new(), BTreeSet::new());
        Self { catalog, subscriptions, subscriptions_used, files_used, strict_dns }
    }

    /// Resolves one profile.
    pub(super) fn profile(
        &mut self,
        name: &Name,
        document: &'a ProfileDocument,
        report: &mut Report,
    ) -> Profile {
        let elements: usize = all_rules(document).map(element_count).sum();
        if elements > AZURE_RULE_ELEMENTS_MAX {
            let what = format!("profile `{name}` has {elements} rule elements");
            let why = format!(
                "Azure allows {AZURE_RULE_ELEMENTS_MAX} in a profile; NSP has no such limit"
            );
            report.note(document.span, Refusal::new(what, why));
        }
        let ProfileDocument { span, private, metadata, inbound, outbound } = document;
        Profile {
            private: value_or_default(private),
            metadata: value_or_default(metadata),
            inbound: inbound
                .iter()
                .map(|(name, rule)| (name.clone(), self.inbound(rule, report)))
                .collect(),
            outbound: outbound
                .iter()
                .map(|(name, rule)| (name.clone(), self.outbound(rule, report)))
                .collect(),
            strict_dns: self.strict_dns,
            alone: false,
            position: report.texts.position(*span),
        }
    }

    /// Remarks on the sources that no rule uses.
    pub(super) fn note_unused(&self, sources: &SourcesDocument, report: &mut Report) {
        let subscriptions = sources.subscriptions.iter().map(|(name, list)| (name, list.span));
        let files = sources.prefix_files.iter().map(|(name, path)| (name, path.span));
        for (kind, name, span) in subscriptions
            .filter(|(name, _)| !self.subscriptions_used.contains(name))
            .map(|(name, span)| ("subscription", name, span))
            .chain(
                files
                    .filter(|(name, _)| !self.files_used.contains(name))
                    .map(|(name, span)| ("prefix file", name, span)),
            )
        {
            let what = format!("{kind} `{name}` is not used");
            report.note(span, Refusal::new(what, "no access rule names it"));
        }
    }

    fn inbound(&mut self, rule: &'a RuleDocument, report: &mut Report) -> InboundRule {
        let prefixes = self.prefixes(rule, report);
        warn_if_empty(rule, &prefixes, report);
        InboundRule {
            prefixes,
            ports: port_set(rule),
            allow_any: value_or_default(&rule.allow_any),
            position: report.texts.position(rule.span),
        }
    }

    fn outbound(&mut self, rule: &'a RuleDocument, report: &mut Report) -> OutboundRule {
        let prefixes = self.prefixes(rule, report);
        warn_if_empty(rule, &prefixes, report);
        names::judge(rule, report);
        let fqdns: BTreeSet<&Fqdn> = rule.fqdns.iter().map(|fqdn| &fqdn.value).collect();
        OutboundRule {
            prefixes,
            fqdns: fqdns.into_iter().cloned().collect(),
            ports: port_set(rule),
            allow_any: value_or_default(&rule.allow_any),
            allow_public_suffix: value_or_default(&rule.allow_public_suffix),
            position: report.texts.position(rule.span),
        }
    }

    /// The union of everything that a rule names by address.
    fn prefixes(&mut self, rule: &'a RuleDocument, report: &mut Report) -> PrefixSet {
        warn_of_covered(&rule.address_prefixes, report);
        let mut sets = Vec::new();
        let mut wide: Vec<(Span, IpNet, &str)> = Vec::new();
        let mut look = |span: Span, prefix: Option<IpNet>| {
            wide.extend(prefix.and_then(|prefix| Some((span, prefix, widest(prefix)?))));
        };
        if !rule.address_prefixes.is_empty() {
            rule.address_prefixes.iter().for_each(|it| look(it.span, Some(it.value)));
            sets.push(values(&rule.address_prefixes).collect());
        }
        for Spanned { span, value: name } in &rule.subscriptions {
            if let Some(prefixes) = report.keep(*span, self.subscription(name)) {
                look(*span, values(prefixes).find(|prefix| widest(*prefix).is_some()));
                sets.push(values(prefixes).collect());
            }
        }
        for Spanned { span, value: tag } in &rule.service_tags {
            if let Tag::File(name) = tag {
                self.files_used.insert(name);
            }
            if let Some(Some(listed)) = report.keep(*span, self.catalog.prefixes(tag)) {
                look(*span, listed.wide);
                sets.push(listed.set.clone());
            }
        }
        let all = PrefixSet::union(&sets);
        if wide.is_empty() {
            // Two quarters are a half.
            wide.extend(all.joined_widest().map(|(prefix, whom)| (rule.span, prefix, whom)));
        }
        judge_wide(rule, &wide, report);
        all
    }

    fn subscription(&mut self, name: &'a Name) -> Result<&'a Prefixes, Refusal> {
        self.subscriptions_used.insert(name);
        if let Some(prefixes) = self.subscriptions.get(name) {
            return Ok(&prefixes.value);
        }
        let what = format!("unknown subscription {}", quoted(name.as_str()));
        let near = suggest(name.as_str(), self.subscriptions.keys().map(Name::as_str));
        let cure = match near {
            Some(near) => format!("\"{near}\""),
            None => format!("[sources.subscriptions] {name} = [\"203.0.113.0/24\"]"),
        };
        Err(Refusal::new(what, "[sources.subscriptions] does not name it").cure(cure))
    }
}

/// Everybody is admitted only where the rule says that this is meant.
fn judge_wide(rule: &RuleDocument, wide: &[(Span, IpNet, &str)], report: &mut Report) {
    if let Some(Spanned { span, value: true }) = rule.allow_any {
        if wide.is_empty() {
            let what = format!("`allow_any` in {} changes nothing", rule.context);
            report.note(span, Refusal::new(what, "the rule does not admit everybody"));
        }
        return;
    }
    for (span, prefix, whom) in wide {
        let what = format!("`{prefix}` in {} is {whom}", rule.context);
        let why = "a rule that admits so much must say that it is meant";
        report.error(*span, Refusal::new(what, why).cure("allow_any = true"));
    }
}

fn warn_if_empty(rule: &RuleDocument, prefixes: &PrefixSet, report: &mut Report) {
    let why = if prefixes.is_empty() && rule.fqdns.is_empty() {
        "it names no peer, and empty means none"
    } else if port_set(rule).is_none() {
        "its `ports` is empty, and empty means none"
    } else {
        return;
    };
    report.warning(rule.span, Refusal::new(format!("{} admits nothing", rule.context), why));
}

fn port_set(rule: &RuleDocument) -> PortSet {
    match &rule.ports {
        None => PortSet::Any,
        Some(ports) => PortSet::listed(ports.iter().map(|port| port.value)),
    }
}

fn element_count(rule: &RuleDocument) -> usize {
    rule.address_prefixes.len()
        + rule.subscriptions.len()
        + rule.service_tags.len()
        + rule.fqdns.len()
}
