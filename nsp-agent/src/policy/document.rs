//! A policy as it was typed: every value of the right kind, nothing looked up yet.
//!
//! The keys of the format live here and nowhere else. What needs a second look, at another table
//! or at a file, is left to [`resolve`](super::resolve).

mod association;
mod dns;
mod failsafe;
mod fields;
mod profile;
mod tree;

use std::{collections::BTreeMap, path::Path};

use ipnet::IpNet;

use self::fields::{Fields, THE_TOP};
pub(crate) use self::{
    association::ResourceDocument,
    dns::DnsDocument,
    failsafe::FailsafeDocument,
    fields::Spanned,
    profile::{ProfileDocument, RuleDocument},
    tree::{Table, parse},
};
use super::{
    category::{LogCategory, parse_categories},
    choice::{Forwarded, PlatformKey, PublicNetworkAccess},
    diagnose::{Refusal, Report, quoted},
    name::{Guid, Name},
    prefix::{parse_prefix, widest},
    text::Span,
};

/// A list of prefixes as typed.
pub(crate) type Prefixes = Vec<Spanned<IpNet>>;

/// A whole policy as typed, defaults applied.
#[derive(Debug, Default)]
pub(crate) struct Document {
    pub(crate) perimeter: Option<PerimeterDocument>,
    pub(crate) sources: SourcesDocument,
    pub(crate) private_prefixes: Option<Prefixes>,
    pub(crate) profiles: BTreeMap<Name, ProfileDocument>,
    pub(crate) resources: BTreeMap<Name, ResourceDocument>,
    pub(crate) members: BTreeMap<Name, Spanned<Prefixes>>,
    pub(crate) dns: DnsDocument,
    pub(crate) logging: LoggingDocument,
    pub(crate) failsafe: Option<FailsafeDocument>,
}

/// `[perimeter]`.
#[derive(Debug)]
pub(crate) struct PerimeterDocument {
    pub(crate) span: Span,
    pub(crate) name: Option<Spanned<Name>>,
    pub(crate) guid: Option<Spanned<Guid>>,
    pub(crate) location: Option<Spanned<String>>,
    pub(crate) public_network_access: Option<Spanned<PublicNetworkAccess>>,
    pub(crate) forwarded: Option<Spanned<Forwarded>>,
    pub(crate) platform: Option<Spanned<PlatformKey>>,
}

/// `[sources]`.
#[derive(Debug, Default)]
pub(crate) struct SourcesDocument {
    pub(crate) service_tags: Option<Spanned<String>>,
    pub(crate) aws_ip_ranges: Option<Spanned<String>>,
    pub(crate) subscriptions: BTreeMap<Name, Spanned<Prefixes>>,
    pub(crate) prefix_files: BTreeMap<Name, Spanned<String>>,
}

/// `[logging]`.
#[derive(Debug, Default)]
pub(crate) struct LoggingDocument {
    pub(crate) enabled_log_categories: Option<Vec<Spanned<Vec<LogCategory>>>>,
    pub(crate) file: Option<Spanned<String>>,
}

impl Document {
    /// Reads the tables of a policy. `path` is where the policy came from, for what is missing.
    pub(crate) fn read(path: &Path, table: Table, report: &mut Report) -> Self {
        if table.is_empty() {
            let why = "an empty policy means nothing, and is most likely a mistake";
            let refusal = Refusal::new("the policy is empty", why);
            report.error_in_file(path, refusal.cure("[perimeter] name = \"my-perimeter\""));
            return Self::default();
        }
        if !table.has("perimeter") {
            let refusal = Refusal::new("there is no [perimeter]", "a policy names its perimeter");
            report.error_in_file(path, refusal.cure("[perimeter] name = \"my-perimeter\""));
        }
        let mut fields = Fields::new(THE_TOP, table, report);
        let perimeter = fields.table("perimeter");
        let sources = fields.table("sources");
        let profiles = fields.tables("profile");
        let resources = fields.tables("resource");
        let members = fields.tables("member");
        let links = fields.tables("link");
        let dns = fields.table("dns");
        let private = fields.table("private");
        let logging = fields.table("logging");
        let failsafe = fields.table("failsafe");
        let defaults = fields.table("defaults");
        fields.finish();

        refuse_links(links, report);
        let (default_profile, default_resource) = read_defaults(defaults, report);
        let mut document = Self {
            perimeter: perimeter.map(|(span, table)| read_perimeter(span, table, report)),
            sources: sources.map(|(_, table)| read_sources(table, report)).unwrap_or_default(),
            private_prefixes: private.and_then(|(span, table)| read_private(span, table, report)),
            dns: dns.map(|(_, table)| DnsDocument::read(table, report)).unwrap_or_default(),
            logging: logging.map(|(_, table)| read_logging(table, report)).unwrap_or_default(),
            failsafe: failsafe.map(|(span, table)| FailsafeDocument::read(span, table, report)),
            ..Self::default()
        };
        for (name, (span, table)) in profiles {
            let context = format!("profile `{name}`");
            let profile = ProfileDocument::read(&context, span, table, report);
            document.profiles.insert(name, profile.or(&default_profile));
        }
        for (name, (span, table)) in resources {
            let context = format!("resource `{name}`");
            let resource = ResourceDocument::read(&context, span, table, report);
            document.resources.insert(name, resource.or(&default_resource));
        }
        for (name, (span, table)) in members {
            let value = read_member(&name, span, table, report);
            document.members.insert(name, Spanned { span, value });
        }
        document
    }
}

fn read_perimeter(span: Span, table: Table, report: &mut Report) -> PerimeterDocument {
    if !table.has("name") {
        let refusal = Refusal::new("[perimeter] has no `name`", "a perimeter is a named boundary");
        report.error(span, refusal.cure("name = \"my-perimeter\""));
    }
    let mut fields = Fields::new("[perimeter]", table, report);
    let perimeter = PerimeterDocument {
        span,
        name: fields.parsed("name", str::parse),
        guid: fields.parsed("guid", str::parse),
        location: fields.parsed("location", parse_location),
        public_network_access: fields.choice("public_network_access"),
        forwarded: fields.choice("forwarded"),
        platform: fields.choice("platform"),
    };
    fields.finish();
    perimeter
}

fn parse_location(text: &str) -> Result<String, Refusal> {
    /// As long as a name; a location is a label too.
    const LOCATION_CHARS_MAX: usize = 80;
    let length = text.chars().count();
    if length == 0 || length > LOCATION_CHARS_MAX || text.chars().any(char::is_control) {
        let what = format!("bad location {}", quoted(text));
        return Err(Refusal::new(what, "a location is a label of 1 to 80 characters"));
    }
    Ok(text.to_owned())
}

fn read_sources(table: Table, report: &mut Report) -> SourcesDocument {
    let mut fields = Fields::new("[sources]", table, report);
    let sources = SourcesDocument {
        service_tags: fields.parsed("service_tags", parse_path),
        aws_ip_ranges: fields.parsed("aws_ip_ranges", parse_path),
        subscriptions: fields.named_lists("subscriptions", parse_prefix),
        prefix_files: fields.named_strings("prefix_files"),
    };
    fields.finish();
    sources
}

fn parse_path(text: &str) -> Result<String, Refusal> {
    if text.is_empty() || text.contains('\0') {
        let what = format!("bad path {}", quoted(text));
        return Err(Refusal::new(what, "a path has at least one character and no NUL"));
    }
    Ok(text.to_owned())
}

fn read_private(span: Span, table: Table, report: &mut Report) -> Option<Prefixes> {
    let mut fields = Fields::new("[private]", table, report);
    let prefixes = fields.list("prefixes", parse_prefix);
    fields.finish();
    if prefixes.is_none() {
        let why = "it is there to replace the default list";
        report.error(span, Refusal::new("[private] has no `prefixes`", why).cure("prefixes = []"));
    }
    refuse_widest(prefixes.as_deref(), "private peers need no rule", report);
    prefixes
}

fn read_member(name: &Name, span: Span, table: Table, report: &mut Report) -> Prefixes {
    let context = format!("member `{name}`");
    let mut fields = Fields::new(context.as_str(), table, report);
    let addresses = fields.list("addresses", parse_prefix);
    fields.finish();
    if addresses.as_ref().is_none_or(Vec::is_empty) {
        let refusal = Refusal::new(format!("{context} has no address"), "it admits nobody");
        report.warning(span, refusal);
    }
    refuse_widest(addresses.as_deref(), "members need no rule", report);
    addresses.unwrap_or_default()
}

/// A list that admits without a rule has no `allow_any` to say that the whole internet is meant.
fn refuse_widest(prefixes: Option<&[Spanned<IpNet>]>, why: &str, report: &mut Report) {
    for Spanned { span, value } in prefixes.unwrap_or_default() {
        if let Some(whom) = widest(*value) {
            let what = format!("`{value}` is {whom}");
            let refusal = Refusal::new(what, format!("{why}, so it would admit them all"));
            let cure =
                "their own prefixes; or, for everybody, an inbound rule with allow_any = true";
            report.error(*span, refusal.cure(cure));
        }
    }
}

fn read_logging(table: Table, report: &mut Report) -> LoggingDocument {
    let mut fields = Fields::new("[logging]", table, report);
    let logging = LoggingDocument {
        enabled_log_categories: fields.list("enabled_log_categories", parse_categories),
        file: fields.parsed("file", parse_path),
    };
    fields.finish();
    logging
}

fn read_defaults(
    defaults: Option<(Span, Table)>,
    report: &mut Report,
) -> (Option<ProfileDocument>, Option<ResourceDocument>) {
    let Some((_, table)) = defaults else { return (None, None) };
    let mut fields = Fields::new("[defaults]", table, report);
    let profile = fields.table("profile");
    let resource = fields.table("resource");
    fields.finish();
    let profile = profile
        .map(|(span, table)| ProfileDocument::read("[defaults.profile]", span, table, report));
    let resource = resource
        .map(|(span, table)| ResourceDocument::read("[defaults.resource]", span, table, report));
    (profile, resource)
}

fn refuse_links(links: BTreeMap<Name, (Span, Table)>, report: &mut Report) {
    for (name, (span, table)) in links {
        let context = format!("link `{name}`");
        let mut fields = Fields::new(context.as_str(), table, report);
        fields.parsed("remote_perimeter", str::parse::<Name>);
        fields.list("remote_addresses", parse_prefix);
        fields.list("local_inbound_profiles", str::parse::<Name>);
        fields.finish();
        let refusal = Refusal::new(
            format!("{context} is not supported yet"),
            "this version has no traffic between linked perimeters",
        );
        report.error(span, refusal.cure("an inbound rule with address_prefixes of the remote"));
    }
}
