//! `[failsafe]` as it was typed.

use super::{
    Prefixes,
    fields::{Fields, Spanned},
    tree::Table,
};
use crate::policy::{diagnose::Report, ports::PortSpec, prefix::parse_prefix, text::Span};

/// `[failsafe]`.
#[derive(Debug)]
pub(crate) struct FailsafeDocument {
    pub(crate) span: Span,
    pub(crate) prefixes: Option<Prefixes>,
    pub(crate) ports: Option<Vec<Spanned<PortSpec>>>,
}

impl FailsafeDocument {
    pub(super) fn read(span: Span, table: Table, report: &mut Report) -> Self {
        let mut fields = Fields::new("[failsafe]", table, report);
        let failsafe = Self {
            span,
            prefixes: fields.list("prefixes", parse_prefix),
            ports: fields.list("ports", PortSpec::parse),
        };
        fields.finish();
        failsafe
    }
}
