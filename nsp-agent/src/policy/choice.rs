//! The keys whose value is one of a few words.

use super::diagnose::{Refusal, quoted, suggest};
use crate::host::platform::Platform;

/// A key whose value is one of a few words.
pub(crate) trait Choice: Copy + Sized + 'static {
    /// Every accepted word with its value; the first word of a value is the one to suggest.
    const WORDS: &'static [(&'static str, Self)];

    /// Reads one word.
    fn parse(text: &str) -> Result<Self, Refusal> {
        if let Some((_, value)) = Self::WORDS.iter().find(|(word, _)| *word == text) {
            return Ok(*value);
        }
        let words: Vec<&str> = Self::WORDS.iter().map(|(word, _)| *word).collect();
        Err(Refusal {
            what: format!("{} is not a known value", quoted(text)),
            why: format!("it must be one of {}", words.join(", ")),
            cure: suggest(text, words).map(|word| format!("\"{word}\"")),
        })
    }
}

/// How an association treats what its profile denies.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum AccessMode {
    /// Judge and log, then let the host's own firewall decide alone.
    #[default]
    Transition,
    /// Drop what the perimeter denies.
    Enforced,
}

impl AccessMode {
    /// The word a policy uses for it.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Transition => "transition",
            Self::Enforced => "enforced",
        }
    }
}

impl Choice for AccessMode {
    const WORDS: &'static [(&'static str, Self)] = &[
        ("transition", Self::Transition),
        ("enforced", Self::Enforced),
        ("learning", Self::Transition),
        ("audit", Self::Transition),
    ];
}

/// What happens to the traffic of no associated resource.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum PublicNetworkAccess {
    /// It is left alone.
    #[default]
    Enabled,
    /// It passes, and what would be denied is logged.
    Transition,
    /// It is denied.
    SecuredByPerimeter,
}

impl Choice for PublicNetworkAccess {
    const WORDS: &'static [(&'static str, Self)] = &[
        ("enabled", Self::Enabled),
        ("transition", Self::Transition),
        ("secured-by-perimeter", Self::SecuredByPerimeter),
    ];
}

/// How forwarded packets are treated.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Forwarded {
    /// Judged as the host's own, so that containers behind NAT do not escape.
    #[default]
    Host,
    /// Passed and counted, for hosts that route.
    Pass,
}

impl Choice for Forwarded {
    const WORDS: &'static [(&'static str, Self)] = &[("host", Self::Host), ("pass", Self::Pass)];
}

/// The cloud that the host runs in, whose endpoints its resources may reach and be probed by.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum PlatformKey {
    /// The one that the host's firmware names. Until somebody has looked, none.
    #[default]
    Auto,
    /// This one.
    Is(Platform),
}

impl PlatformKey {
    /// This platform, where the policy leaves it to the host.
    #[must_use]
    pub fn or(self, detected: Platform) -> Self {
        match self {
            Self::Auto => Self::Is(detected),
            named => named,
        }
    }

    /// The word a policy uses for it.
    pub fn as_str(self) -> &'static str {
        Self::WORDS.iter().find(|(_, it)| *it == self).map_or("auto", |(word, _)| word)
    }

    /// Its endpoints, as [`Platform::endpoints`].
    pub fn endpoints(self) -> &'static [&'static str] {
        match self {
            Self::Auto => &[],
            Self::Is(platform) => platform.endpoints(),
        }
    }
}

impl Choice for PlatformKey {
    const WORDS: &'static [(&'static str, Self)] = &[
        ("auto", Self::Auto),
        ("none", Self::Is(Platform::None)),
        ("aws", Self::Is(Platform::Aws)),
        ("azure", Self::Is(Platform::Azure)),
        ("gcp", Self::Is(Platform::Gcp)),
    ];
}

/// Whether private peers need a rule.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum PrivateAccess {
    /// Allowed without a rule.
    #[default]
    Allow,
    /// Judged by the access rules, as public peers are.
    Rules,
}

impl Choice for PrivateAccess {
    const WORDS: &'static [(&'static str, Self)] =
        &[("allow", Self::Allow), ("rules", Self::Rules)];
}

/// Whether the cloud's own endpoints (metadata, agent) are reachable.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum MetadataAccess {
    /// Allowed where the platform is detected, and always logged.
    #[default]
    Allow,
    /// Denied.
    Deny,
}

impl Choice for MetadataAccess {
    const WORDS: &'static [(&'static str, Self)] = &[("allow", Self::Allow), ("deny", Self::Deny)];
}

/// How a denied outbound conversation fails.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum OnDeny {
    /// At once, with an error the program sees.
    #[default]
    Reject,
    /// Silently.
    Drop,
}

impl Choice for OnDeny {
    const WORDS: &'static [(&'static str, Self)] =
        &[("reject", Self::Reject), ("drop", Self::Drop)];
}

#[cfg(test)]
mod tests {
    use rstest::rstest;

    use super::*;

    #[rstest]
    #[case::default("transition", AccessMode::Transition)]
    #[case::alias_learning("learning", AccessMode::Transition)]
    #[case::alias_audit("audit", AccessMode::Transition)]
    #[case::enforced("enforced", AccessMode::Enforced)]
    fn access_mode_words(#[case] text: &str, #[case] expected: AccessMode) {
        assert_eq!(AccessMode::parse(text), Ok(expected));
    }

    #[rstest]
    #[case::capital("Enforced", "\"enforced\"")]
    #[case::misspelt("enforce", "\"enforced\"")]
    #[case::transposed("tranistion", "\"transition\"")]
    fn a_near_word_is_suggested(#[case] text: &str, #[case] cure: &str) {
        assert_eq!(AccessMode::parse(text).unwrap_err().cure.as_deref(), Some(cure));
    }

    #[test]
    fn azures_spelling_is_suggested_ours() {
        let refusal = PublicNetworkAccess::parse("SecuredByPerimeter").unwrap_err();
        assert_eq!(refusal.cure.as_deref(), Some("\"secured-by-perimeter\""));
    }

    #[test]
    fn a_far_word_gets_the_list_and_no_guess() {
        let refusal = OnDeny::parse("explode").unwrap_err();
        assert_eq!(refusal.cure, None);
        assert_eq!(refusal.why, "it must be one of reject, drop");
    }
}
