//! Reasons and protocols in words.

use std::{borrow::Cow, fmt};

use nsp_common::verdict::Reason;

/// What `ResultDescription` is made of.
pub(super) struct Sentence<'a> {
    pub(super) reason: Option<Reason>,
    pub(super) denied: bool,
    pub(super) would_deny: bool,
    pub(super) rule: Option<&'a str>,
    pub(super) profile: Option<&'a str>,
}

impl fmt::Display for Sentence<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { reason, denied, would_deny, rule, profile } = self;
        let of_profile = |f: &mut fmt::Formatter<'_>| match profile {
            Some(profile) => write!(f, " of profile {profile}"),
            None => Ok(()),
        };
        match (reason, rule) {
            (Some(Reason::Rule | Reason::Flow), Some(rule)) => {
                write!(f, "Access rule {rule}")?;
                of_profile(f)?;
                f.write_str(" matches")?;
            }
            (Some(Reason::Revoked), Some(rule)) => {
                write!(f, "Access rule {rule}, which opened the conversation, was withdrawn")?;
            }
            (Some(Reason::Blocked), Some(rule)) => write!(f, "For a time: {rule}")?,
            (Some(Reason::Lapsed), Some(rule)) => {
                write!(f, "What opened the conversation is over: {rule}")?;
            }
            (Some(Reason::NoRule), _) => {
                f.write_str("No access rule")?;
                of_profile(f)?;
                f.write_str(" matches")?;
            }
            (Some(Reason::NoResource), _) => {
                f.write_str("No resource is concerned and public access is secured")?;
            }
            (Some(Reason::Private), _) => f.write_str("The peer is private")?,
            (Some(Reason::Intra), _) => f.write_str("The peer is a member of the perimeter")?,
            (Some(Reason::Cross), _) => {
                f.write_str("The peer is a member of a linked perimeter")?;
            }
            (Some(Reason::Kept), _) => {
                f.write_str("The conversation was live when the association became enforced")?;
            }
            (Some(reason), _) => {
                let mut name = reason.name().chars();
                if let Some(first) = name.next() {
                    write!(f, "{}{}", first.to_uppercase(), name.as_str())?;
                }
            }
            (None, _) => f.write_str("Unknown reason")?,
        }
        f.write_str(match (denied, would_deny) {
            (true, _) => "; dropped",
            (false, true) => {
                "; in transition the host's own rules decide, enforced it would be dropped"
            }
            (false, false) => "; passed",
        })
    }
}

/// The transport protocol by its number (IANA).
pub(super) fn protocol(number: u8) -> Cow<'static, str> {
    match number {
        1 => "ICMP".into(),
        6 => "TCP".into(),
        17 => "UDP".into(),
        33 => "DCCP".into(),
        58 => "ICMPv6".into(),
        132 => "SCTP".into(),
        136 => "UDP-Lite".into(),
        other => format!("proto {other}").into(),
    }
}
