//! What there is to say of the names of a rule.

use super::value_or_default;
use crate::policy::{
    diagnose::{Refusal, Report},
    document::{RuleDocument, Spanned},
};

/// Public resolvers that answer over HTTPS, or over TLS at a port of their own: who reaches one asks
/// whatever it wants, and no answer of it is seen here.
const ENCRYPTED_RESOLVERS: [&str; 12] = [
    "dns.google",
    "dns64.dns.google",
    "cloudflare-dns.com",
    "mozilla.cloudflare-dns.com",
    "chrome.cloudflare-dns.com",
    "one.one.one.one",
    "dns.quad9.net",
    "doh.opendns.com",
    "dns.nextdns.io",
    "dns.adguard-dns.com",
    "doh.cleanbrowsing.org",
    "doh.dns.sb",
];

/// Notes, warns and refuses.
pub(super) fn judge(rule: &RuleDocument, report: &mut Report) {
    note_wire_forms(rule, report);
    warn_of_resolvers(rule, report);
    if !value_or_default(&rule.allow_public_suffix) {
        refuse_public_suffixes(rule, report);
    }
}

fn note_wire_forms(rule: &RuleDocument, report: &mut Report) {
    for Spanned { span, value } in &rule.fqdns {
        if !report.texts.content(*span).is_ascii() {
            let what = format!("the name is `{value}` on the wire");
            report.note(*span, Refusal::new(what, "this is what DNS answers are held against"));
        }
    }
}

fn warn_of_resolvers(rule: &RuleDocument, report: &mut Report) {
    for Spanned { span, value } in &rule.fqdns {
        let covers = |name: &&&str| match value.is_wildcard() {
            true => name.strip_suffix(value.base()).is_some_and(|rest| rest.ends_with('.')),
            false => **name == value.base(),
        };
        if let Some(name) = ENCRYPTED_RESOLVERS.iter().find(covers) {
            let what = format!("`{value}` in {} admits the public resolver {name}", rule.context);
            let why = "names asked for there are neither seen nor held to the rules, and the question \
                       itself can carry data out";
            report.warning(*span, Refusal::new(what, why));
        }
    }
}

/// Below a public suffix everybody can have a name: such a wildcard is nearly "anywhere".
fn refuse_public_suffixes(rule: &RuleDocument, report: &mut Report) {
    for Spanned { span, value } in &rule.fqdns {
        if value.is_below_public_suffix() {
            let what =
                format!("`{value}` in {} admits every name below a public suffix", rule.context);
            let why =
                "anybody can register one; a rule that admits so much must say that it is meant";
            report.error(*span, Refusal::new(what, why).cure("allow_public_suffix = true"));
        }
    }
}
