//! Columns with a few fixed values.

use serde::{Deserialize, Serialize};

/// The column `ResultAction`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum ResultAction {
    /// It passed.
    Approved,
    /// It was dropped.
    Denied,
}

/// The column `ResultDirection`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum ResultDirection {
    /// The peer opened it.
    Inbound,
    /// This host opened it.
    Outbound,
}

/// The column `TrafficType`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum TrafficType {
    /// With a private address.
    Private,
    /// With anybody.
    Public,
    /// Within the perimeter.
    Intra,
    /// With a linked perimeter.
    Cross,
}

/// The column `RuleType`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum RuleType {
    /// An access rule of the perimeter decided.
    PerimeterRule,
    /// The perimeter has no rule for it; the host's own rules were left to decide.
    ResourceRule,
    /// It needed no rule, or had none.
    None,
}

/// The column `MatchedRule`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct MatchedRule {
    /// The rule's name.
    #[serde(rename = "accessRule")]
    pub access_rule: String,
}

/// The column `HostRulesOutcome`. The host firewall's verdict cannot be seen, its answer can.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum HostRulesOutcome {
    /// Something went back.
    #[serde(rename = "replied")]
    Replied,
    /// Nothing did.
    #[serde(rename = "not observed")]
    NotObserved,
}
