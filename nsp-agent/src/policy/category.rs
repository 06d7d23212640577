//! The access-log categories a policy can turn on.

use std::fmt;

use super::diagnose::{Refusal, suggest};

macro_rules! categories {
    ($($(#[$doc:meta])* $name:ident,)*) => {
        /// One access-log category, with Azure's name.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub enum LogCategory {
            $($(#[$doc])* $name,)*
        }

        impl LogCategory {
            /// Every category that can be turned on.
            pub const ALL: [Self; [$(stringify!($name)),*].len()] = [$(Self::$name),*];

            /// Azure's name of the category.
            pub fn as_str(self) -> &'static str {
                match self {
                    $(Self::$name => stringify!($name),)*
                }
            }
        }
    };
}

categories! {
    /// Inbound, allowed by an access rule.
    NspPublicInboundPerimeterRulesAllowed,
    /// Inbound, denied by the perimeter.
    NspPublicInboundPerimeterRulesDenied,
    /// Outbound, allowed by an access rule.
    NspPublicOutboundPerimeterRulesAllowed,
    /// Outbound, denied by the perimeter.
    NspPublicOutboundPerimeterRulesDenied,
    /// Inbound in transition: the perimeter would deny, the host's own rules got the packet.
    NspPublicInboundResourceRulesAllowed,
    /// Azure's; a host never writes it, because it cannot see its firewall's verdict.
    NspPublicInboundResourceRulesDenied,
    /// Outbound in transition: the perimeter would deny, the host's own rules got the packet.
    NspPublicOutboundResourceRulesAllowed,
    /// Azure's; a host never writes it, because it cannot see its firewall's verdict.
    NspPublicOutboundResourceRulesDenied,
    /// Outbound to the same or a linked perimeter.
    NspOutboundAttempt,
    /// Inbound from a member.
    NspIntraPerimeterInboundAllowed,
    /// Inbound from a linked perimeter.
    NspCrossPerimeterInboundAllowed,
    /// Outbound to a linked perimeter.
    NspCrossPerimeterOutboundAllowed,
    /// Inbound from a private peer.
    NspPrivateInboundAllowed,
}

impl fmt::Display for LogCategory {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// The categories one entry of `enabled_log_categories` stands for: one, or all for `*`.
pub(crate) fn parse_categories(text: &str) -> Result<Vec<LogCategory>, Refusal> {
    if text == "*" {
        return Ok(LogCategory::ALL.to_vec());
    }
    if let Some(category) = LogCategory::ALL.into_iter().find(|c| c.as_str() == text) {
        return Ok(vec![category]);
    }
    Err(Refusal {
        what: format!("`{text}` is not an access-log category"),
        why: "it must be \"*\" or one of Azure's category names".into(),
        cure: suggest(text, LogCategory::ALL.map(LogCategory::as_str))
            .map(|name| format!("\"{name}\"")),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_star_is_every_category() {
        assert_eq!(parse_categories("*"), Ok(LogCategory::ALL.to_vec()));
        assert_eq!(LogCategory::ALL.len(), 13);
    }

    #[test]
    fn a_name_is_one_category() {
        assert_eq!(
            parse_categories("NspOutboundAttempt"),
            Ok(vec![LogCategory::NspOutboundAttempt])
        );
    }

    #[test]
    fn a_misspelt_name_is_refused_with_the_nearest() {
        let refusal = parse_categories("NspPublicInboundPerimeterRuleDenied").unwrap_err();
        assert_eq!(refusal.cure.as_deref(), Some("\"NspPublicInboundPerimeterRulesDenied\""));
    }
}
