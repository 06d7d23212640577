//! `[dns]` as it was typed.

use std::net::IpAddr;

use super::{
    fields::{Fields, Spanned},
    tree::Table,
};
use crate::policy::{diagnose::Report, prefix::parse_address, selector::UnitGlob};

/// `[dns]`.
#[derive(Debug, Default)]
pub(crate) struct DnsDocument {
    pub(crate) resolvers: Vec<Spanned<IpAddr>>,
    pub(crate) recursive_unit: Option<Spanned<UnitGlob>>,
    pub(crate) strict: Option<Spanned<bool>>,
    pub(crate) accept_blind: Option<Spanned<bool>>,
}

impl DnsDocument {
    pub(super) fn read(table: Table, report: &mut Report) -> Self {
        let mut fields = Fields::new("[dns]", table, report);
        let dns = Self {
            resolvers: fields.list("resolvers", parse_address).unwrap_or_default(),
            recursive_unit: fields.parsed("recursive_unit", str::parse),
            strict: fields.boolean("strict"),
            accept_blind: fields.boolean("accept_blind"),
        };
        fields.finish();
        dns
    }
}
