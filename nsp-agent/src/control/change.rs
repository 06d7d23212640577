//! What a verb asks to be changed.

use std::{net::SocketAddr, path::PathBuf};

use serde::{Deserialize, Serialize};

/// A policy file to be put in force.
#[derive(Clone, Debug, Serialize, Deserialize, PartialEq, Eq)]
#[serde(deny_unknown_fields)]
pub struct Applied {
    /// The file or directory, absolute; the agent's own when absent.
    pub path: Option<PathBuf>,
    /// Do not keep the conversations of associations that become enforced.
    pub strict: bool,
    /// Whether it is taken back unless somebody confirms it.
    pub confirmation: Confirmation,
    /// The connection that the caller came by, if it came by one.
    pub caller: Option<Caller>,
    /// Also when the caller could not come by it again.
    pub force: bool,
}

/// Whether a change is taken back unless it is confirmed.
#[derive(Clone, Copy, Debug, Serialize, Deserialize, PartialEq, Eq)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub enum Confirmation {
    /// It stays.
    Now,
    /// Within so long.
    Within {
        /// From when it is in force.
        seconds: u64,
    },
    /// Within so long, if it is stricter than what is in force.
    IfStricter {
        /// From when it is in force.
        seconds: u64,
    },
}

/// The connection that somebody came by: who says so is root, and would only fool themselves.
#[derive(Clone, Copy, Debug, Serialize, Deserialize, PartialEq, Eq)]
#[serde(deny_unknown_fields)]
pub struct Caller {
    /// Their end.
    pub remote: SocketAddr,
    /// This host's end.
    pub local: SocketAddr,
}

/// What is allowed or blocked for a time.
#[derive(Clone, Debug, Serialize, Deserialize, PartialEq, Eq)]
#[serde(deny_unknown_fields)]
pub struct Temporary {
    /// Blocked, or else allowed.
    pub block: bool,
    /// A prefix, an address or a name.
    pub target: String,
    /// Only conversations that the other end opens.
    pub inbound: bool,
    /// Only conversations that this host opens.
    pub outbound: bool,
    /// Only these ports, as a policy has them; none is all.
    pub ports: Vec<String>,
    /// Only resources of this profile.
    pub profile: Option<String>,
    /// How long.
    pub seconds: u64,
    /// Also what admits everybody.
    pub any: bool,
}
