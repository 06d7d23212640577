//! Policies of the tests: text, parsed and compiled as the agent does it.

use std::fs;

use nsp_agent::{
    compile::{Compiled, compile, identities::Identities},
    policy::{load, model::Policy},
};

/// The office's prefixes, as a list in a policy.
pub const OFFICE: &str = r#"["203.0.113.0/24", "2001:db8:100::/40"]"#;

/// A public host that this one may call, and that may not call it.
pub const MIRROR: (&str, &str) = ("198.51.100.200", "2001:db8:6::200");

/// One resource, the host, enforced both ways. The office may reach its port 5432 and ping it; the
/// host may reach 443/tcp and 123/udp of the office and of [`MIRROR`], and ping both.
pub const ENFORCED: &str = r#"
[perimeter]
name = "lab"

[profile.p.inbound.office]
address_prefixes = ["203.0.113.0/24", "2001:db8:100::/40"]
ports = ["5432/tcp", "5432/udp", "icmp"]

[profile.p.outbound.backups]
address_prefixes = ["203.0.113.0/24", "2001:db8:100::/40"]
ports = ["443/tcp", "123/udp", "icmp"]

[profile.p.outbound.mirror]
address_prefixes = ["198.51.100.128/25", "2001:db8:6::/48"]
ports = ["443/tcp", "123/udp", "icmp"]

[resource.host]
host = true
profile = "p"
access_mode = "enforced"

[member.web]
addresses = ["192.0.2.10", "2001:db8:1::10"]
"#;

/// [`ENFORCED`] in transition.
pub fn transition() -> String {
    ENFORCED.replace("\"enforced\"", "\"transition\"")
}

/// What a policy's text became.
pub struct Generation {
    /// The policy.
    pub policy: Policy,
    /// What the maps hold.
    pub compiled: Compiled,
}

/// Reads a policy as the agent does.
///
/// # Panics
/// When it is refused: the message says why.
pub fn loaded(text: &str) -> Policy {
    let file = tempfile::Builder::new().suffix(".toml").tempfile().expect("a temporary file");
    fs::write(file.path(), text).expect("a temporary file can be written");
    match load(file.path()) {
        Ok(loaded) => loaded.policy,
        Err(errors) => panic!("the test's policy is refused: {errors}\n{text}"),
    }
}

/// Reads and compiles a policy.
///
/// # Panics
/// When it is refused.
pub fn compiled(text: &str, identities: &mut Identities) -> Generation {
    let policy = loaded(text);
    let compiled = compile(&policy, identities);
    let compiled = compiled.unwrap_or_else(|error| panic!("the policy does not fit: {error}"));
    Generation { policy, compiled }
}
