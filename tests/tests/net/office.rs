//! The policy of tests that are about something else than rules.

/// The office may do anything both ways, nobody else anything.
pub(crate) const POLICY: &str = r#"
    [perimeter]
    name = "payments"
    [profile.host.inbound.office]
    address_prefixes = ["203.0.113.0/24", "2001:db8:100::/40"]
    [profile.host.outbound.office]
    address_prefixes = ["203.0.113.0/24", "2001:db8:100::/40"]
    [resource.host]
    host = true
    profile = "host"
    access_mode = "enforced"
"#;
