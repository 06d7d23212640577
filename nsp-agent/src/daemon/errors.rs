//! Why the daemon does not start, or an apply is refused.

use std::path::PathBuf;

use super::{session::NameTaken, store::StoreError};
use crate::{
    compile::BudgetError,
    datapath::DatapathError,
    host::{NetlinkError, PatternError},
    policy::PolicyErrors,
};

/// Why the daemon does not start, or an apply is refused.
#[derive(Debug, thiserror::Error)]
pub enum DaemonError {
    /// The policy has errors.
    #[error("{0}")]
    Policy(#[from] PolicyErrors),
    /// Only `nsp apply` puts it in force, or nothing does while another change waits.
    #[error("{0}")]
    ByHand(String),
    /// What blocks for a time would win over its way in.
    #[error(
        "`{0}` takes what [failsafe] of the policy admits, and would win over it; `nsp block --remove` takes it back"
    )]
    FailsafeBlocked(String),
    /// The policy is too large.
    #[error(transparent)]
    Budget(#[from] BudgetError),
    /// The policy has a name that is taken.
    #[error(transparent)]
    NameTaken(#[from] NameTaken),
    /// The kernel refuses.
    #[error(transparent)]
    Datapath(#[from] DatapathError),
    /// The host cannot be read.
    #[error("cannot read the host's network")]
    Host(#[source] NetlinkError),
    /// A pattern of `--interface` makes no sense.
    #[error(transparent)]
    Pattern(#[from] PatternError),
    /// There is nothing to cover.
    #[error("no interface to cover: {0}")]
    NoInterface(String),
    /// The interface with the default route cannot be covered.
    #[error(
        "cannot cover {interface}, which has the default route; --allow-uncovered starts all the same"
    )]
    Uncovered {
        /// Its name.
        interface: String,
        /// Why.
        #[source]
        source: Box<DatapathError>,
    },
    /// The control socket cannot be made.
    #[error("cannot listen at {path}")]
    Control {
        /// The socket.
        path: PathBuf,
        /// Why.
        #[source]
        source: std::io::Error,
    },
    /// The state cannot be used.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// No signals.
    #[error("cannot wait for signals")]
    Signals(#[source] std::io::Error),
    /// No thread for the access log.
    #[error("cannot start the access log")]
    AccessLog(#[source] std::io::Error),
    /// The programs gave no sensible answer to the self-test.
    #[error("the kernel programs failed their self-test: {0}")]
    SelfTest(String),
}

/// An error with everything behind it, on one line.
pub(crate) fn with_sources(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(inner) = source {
        text.push_str(": ");
        text.push_str(&inner.to_string());
        source = inner.source();
    }
    text
}
