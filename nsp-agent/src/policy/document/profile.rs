//! `[profile.*]` and its access rules, as typed.

use std::collections::BTreeMap;

use super::{Prefixes, Spanned, fields::Fields, tree::Table};
use crate::{
    policy::{
        choice::{MetadataAccess, PrivateAccess},
        diagnose::{Refusal, Report},
        fqdn::Fqdn,
        name::Name,
        ports::PortSpec,
        prefix::parse_prefix,
        text::Span,
    },
    sources::Tag,
};

/// `[profile.*]`.
#[derive(Clone, Debug)]
pub(crate) struct ProfileDocument {
    pub(crate) span: Span,
    pub(crate) private: Option<Spanned<PrivateAccess>>,
    pub(crate) metadata: Option<Spanned<MetadataAccess>>,
    pub(crate) inbound: BTreeMap<Name, RuleDocument>,
    pub(crate) outbound: BTreeMap<Name, RuleDocument>,
}

/// The side that an access rule is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Direction {
    Inbound,
    Outbound,
}

/// `[profile.*.inbound.*]` or `[profile.*.outbound.*]`.
#[derive(Clone, Debug)]
pub(crate) struct RuleDocument {
    pub(crate) span: Span,
    /// How messages call it.
    pub(crate) context: String,
    pub(crate) address_prefixes: Prefixes,
    pub(crate) subscriptions: Vec<Spanned<Name>>,
    pub(crate) service_tags: Vec<Spanned<Tag>>,
    pub(crate) fqdns: Vec<Spanned<Fqdn>>,
    pub(crate) ports: Option<Vec<Spanned<PortSpec>>>,
    pub(crate) allow_any: Option<Spanned<bool>>,
    pub(crate) allow_public_suffix: Option<Spanned<bool>>,
}

impl ProfileDocument {
    /// Reads one profile.
    pub(super) fn read(context: &str, span: Span, table: Table, report: &mut Report) -> Self {
        let mut fields = Fields::new(context, table, report);
        let private = fields.choice("private");
        let metadata = fields.choice("metadata");
        let inbound = fields.tables("inbound");
        let outbound = fields.tables("outbound");
        fields.finish();
        let mut rules = |direction, tables: BTreeMap<Name, (Span, Table)>| {
            let mut rules = BTreeMap::new();
            for (name, (span, table)) in tables {
                let context = format!("access rule `{name}` of {context}");
                rules.insert(name, RuleDocument::read(direction, context, span, table, report));
            }
            rules
        };
        let inbound = rules(Direction::Inbound, inbound);
        let outbound = rules(Direction::Outbound, outbound);
        Self { span, private, metadata, inbound, outbound }
    }

    /// Takes from the defaults what this profile does not say; a rule of the same name stays.
    pub(super) fn or(self, defaults: &Option<Self>) -> Self {
        let Some(defaults) = defaults else { return self };
        let Self { span, private, metadata, mut inbound, mut outbound } = self;
        for (name, rule) in &defaults.inbound {
            inbound.entry(name.clone()).or_insert_with(|| rule.clone());
        }
        for (name, rule) in &defaults.outbound {
            outbound.entry(name.clone()).or_insert_with(|| rule.clone());
        }
        let private = private.or_else(|| defaults.private.clone());
        let metadata = metadata.or_else(|| defaults.metadata.clone());
        Self { span, private, metadata, inbound, outbound }
    }
}

impl RuleDocument {
    fn read(
        direction: Direction,
        context: String,
        span: Span,
        mut table: Table,
        report: &mut Report,
    ) -> Self {
        for (key, why, cure) in misplaced(direction) {
            if let Some((place, _)) = table.take(key) {
                let what = format!("`{key}` in {context}");
                report.error(place, Refusal::new(what, *why).cure(*cure));
            }
        }
        let allow_any_span = table.span_of("allow_any");
        let mut fields = Fields::new(context.as_str(), table, report);
        let mut rule = Self {
            span,
            address_prefixes: fields.list("address_prefixes", parse_prefix).unwrap_or_default(),
            subscriptions: Vec::new(),
            service_tags: fields.list("service_tags", Tag::parse).unwrap_or_default(),
            fqdns: Vec::new(),
            ports: fields.list("ports", PortSpec::parse),
            // A bad value is refused already; what it would have allowed need not be as well.
            allow_any: fields
                .boolean("allow_any")
                .or(allow_any_span.map(|span| Spanned { span, value: true })),
            allow_public_suffix: None,
            context,
        };
        match direction {
            Direction::Inbound => {
                rule.subscriptions = fields.list("subscriptions", str::parse).unwrap_or_default();
            }
            Direction::Outbound => {
                rule.fqdns = fields.list("fqdns", str::parse).unwrap_or_default();
                rule.allow_public_suffix = fields.boolean("allow_public_suffix");
            }
        }
        fields.finish();
        rule
    }
}

/// The keys that only the other direction has, why, and what to use.
fn misplaced(direction: Direction) -> &'static [(&'static str, &'static str, &'static str)] {
    match direction {
        Direction::Inbound => &[
            (
                "fqdns",
                "who comes in is known by address, not by name",
                "address_prefixes, subscriptions or service_tags",
            ),
            (
                "allow_public_suffix",
                "it is about names, which only outbound rules have",
                "leave it out",
            ),
        ],
        Direction::Outbound => &[(
            "subscriptions",
            "a subscription stands for clients, which come in",
            "address_prefixes, service_tags or fqdns",
        )],
    }
}
