//! `[resource.*]`: a resource and its association, as typed.

use std::net::IpAddr;

use super::{Spanned, fields::Fields, tree::Table};
use crate::policy::{
    choice::{AccessMode, OnDeny},
    diagnose::{Refusal, Report},
    name::Name,
    ports::{PortRange, PortSpec},
    prefix::parse_address,
    selector::{CgroupPath, InterfaceName, UnitGlob},
    text::Span,
};

/// The keys that say what a resource is.
const SELECTOR_KEYS: [&str; 6] = ["host", "unit", "cgroup", "ports", "address", "interface"];

/// `[resource.*]`.
#[derive(Clone, Debug)]
pub(crate) struct ResourceDocument {
    pub(crate) span: Span,
    /// Some selector is written, good or bad.
    pub(crate) has_selector: bool,
    /// A profile is written, good or bad.
    pub(crate) has_profile: bool,
    pub(crate) host: Option<Spanned<bool>>,
    pub(crate) unit: Option<Spanned<UnitGlob>>,
    pub(crate) cgroup: Option<Spanned<CgroupPath>>,
    pub(crate) ports: Option<Vec<Spanned<PortRange>>>,
    pub(crate) address: Option<Spanned<IpAddr>>,
    pub(crate) interface: Option<Spanned<InterfaceName>>,
    pub(crate) profile: Option<Spanned<Name>>,
    pub(crate) access_mode: Option<Spanned<AccessMode>>,
    pub(crate) inbound_mode: Option<Spanned<AccessMode>>,
    pub(crate) outbound_mode: Option<Spanned<AccessMode>>,
    pub(crate) on_deny: Option<Spanned<OnDeny>>,
}

impl ResourceDocument {
    /// Reads one resource.
    pub(super) fn read(context: &str, span: Span, table: Table, report: &mut Report) -> Self {
        if let Some(span) = table.empty_list("ports") {
            let refusal = Refusal::new(
                format!("`ports` of {context} is empty"),
                "an empty list means no port at all; without the key, a unit's own listening ports \
                 are meant",
            );
            report.error(span, refusal.cure("leave `ports` out, or ports = [\"443/tcp\"]"));
        }
        let has_selector = SELECTOR_KEYS.iter().any(|key| table.has(key));
        let has_profile = table.has("profile");
        let mut fields = Fields::new(context, table, report);
        let resource = Self {
            span,
            has_selector,
            has_profile,
            host: fields.boolean("host"),
            unit: fields.parsed("unit", str::parse),
            cgroup: fields.parsed("cgroup", str::parse),
            ports: fields.list("ports", parse_listening_port),
            address: fields.parsed("address", parse_address),
            interface: fields.parsed("interface", str::parse),
            profile: fields.parsed("profile", str::parse),
            access_mode: fields.choice("access_mode"),
            inbound_mode: fields.choice("inbound_mode"),
            outbound_mode: fields.choice("outbound_mode"),
            on_deny: fields.choice("on_deny"),
        };
        fields.finish();
        resource
    }

    /// Takes from the defaults what this resource does not say.
    pub(super) fn or(self, defaults: &Option<Self>) -> Self {
        let Some(defaults) = defaults.clone() else { return self };
        Self {
            span: self.span,
            has_selector: self.has_selector || defaults.has_selector,
            has_profile: self.has_profile || defaults.has_profile,
            host: self.host.or(defaults.host),
            unit: self.unit.or(defaults.unit),
            cgroup: self.cgroup.or(defaults.cgroup),
            ports: self.ports.or(defaults.ports),
            address: self.address.or(defaults.address),
            interface: self.interface.or(defaults.interface),
            profile: self.profile.or(defaults.profile),
            access_mode: self.access_mode.or(defaults.access_mode),
            inbound_mode: self.inbound_mode.or(defaults.inbound_mode),
            outbound_mode: self.outbound_mode.or(defaults.outbound_mode),
            on_deny: self.on_deny.or(defaults.on_deny),
        }
    }
}

fn parse_listening_port(text: &str) -> Result<PortRange, Refusal> {
    match PortSpec::parse(text)? {
        PortSpec::Range(range) if range.first > 0 => Ok(range),
        PortSpec::Range(_) | PortSpec::Icmp | PortSpec::Protocol(_) => Err(Refusal::new(
            format!("`{text}` is not a listening port"),
            "a resource listens on tcp, udp or sctp ports; icmp and proto/N go into access rules",
        )),
    }
}
