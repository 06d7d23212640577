//! What `status` shows of the names.

use std::net::IpAddr;

use serde::Serialize;

use super::name::Name;
use crate::names::forbidden::Why;

/// How a name's addresses became known.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Source {
    /// The agent asked the resolvers, or found it in `/etc/hosts`.
    Resolved,
}

/// One name.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct NameStatus {
    /// Its identity.
    pub identity: u32,
    /// The name.
    pub fqdn: String,
    /// How its addresses became known.
    pub source: Source,
    /// Its addresses, in order.
    pub addresses: Vec<AddressStatus>,
    /// Seconds since the last good answer, if there was one.
    pub answered_s_ago: Option<u64>,
    /// Seconds until it is asked again; `None` while it is being asked.
    pub next_lookup_s: Option<u64>,
    /// Lookups without a good answer, in a row.
    pub failures: u32,
    /// What went wrong at the last lookup.
    pub last_error: Option<String>,
    /// Addresses in answers that were refused because they are forbidden.
    pub refused_forbidden: u64,
    /// The last of them, and why.
    pub last_forbidden: Option<(IpAddr, Why)>,
    /// Addresses in answers that were refused because the name had too many.
    pub refused_over_quota: u64,
}

/// One address of a name.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct AddressStatus {
    /// The address.
    pub address: IpAddr,
    /// Seconds since it was first in an answer.
    pub age_s: u64,
    /// Seconds until it ends for new conversations.
    pub remaining_s: u64,
    /// Whether the last answer had it.
    pub current: bool,
}

impl Name {
    pub(super) fn status(&self, identity: u32, now_s: u64) -> NameStatus {
        let Self {
            fqdn,
            held,
            due_s,
            asking,
            failures,
            answered_s,
            error,
            forbidden,
            last_forbidden,
            over_quota,
        } = self;
        let addresses = held.iter().map(|(address, held)| AddressStatus {
            address: *address,
            age_s: now_s.saturating_sub(held.learned_s),
            remaining_s: held.expires_s.saturating_sub(now_s),
            current: held.current,
        });
        NameStatus {
            identity,
            fqdn: fqdn.to_string(),
            source: Source::Resolved,
            addresses: addresses.collect(),
            answered_s_ago: answered_s.map(|answered_s| now_s.saturating_sub(answered_s)),
            next_lookup_s: (!asking).then(|| due_s.saturating_sub(now_s)),
            failures: *failures,
            last_error: error.as_ref().map(ToString::to_string),
            refused_forbidden: *forbidden,
            last_forbidden: *last_forbidden,
            refused_over_quota: *over_quota,
        }
    }
}
