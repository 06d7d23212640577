//! What it means to resolve a name: the question, the answer, and what can go wrong.

use std::{
    future::Future,
    net::{IpAddr, SocketAddr},
    time::Duration,
};

/// How long a lookup takes at most, all rounds and CNAMEs together.
pub const LOOKUP_TIME_MAX: Duration = Duration::from_secs(10);

/// Asks for the addresses of a name.
pub trait Resolve: Send + Sync + 'static {
    /// The addresses of a fully qualified name, without the trailing dot. Takes
    /// [`LOOKUP_TIME_MAX`] at most.
    fn lookup(&self, name: &str) -> impl Future<Output = Result<Answer, ResolveError>> + Send;
}

/// The A and AAAA records of a name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Answer {
    /// The addresses, at least one.
    pub addresses: Vec<IpAddr>,
    /// The smallest TTL on the way to them.
    pub ttl: Duration,
    /// Set when only one family was answered: what went wrong with the other.
    pub incomplete: Option<ResolveError>,
}

/// Why there is no answer.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ResolveError {
    /// NXDOMAIN.
    #[error("the name does not exist")]
    NoName,
    /// The name is there and has neither A nor AAAA records.
    #[error("the name has no address")]
    NoAddress,
    /// SERVFAIL, REFUSED and the like.
    #[error("the resolver answered {0}")]
    Code(String),
    /// Nobody answered in time.
    #[error("no resolver answered in time")]
    Timeout,
    /// The name cannot be asked for.
    #[error("not a name that DNS can carry")]
    BadName,
    /// There is nobody to ask.
    #[error("no resolver to ask: {0}")]
    NoResolver(String),
    /// Anything else, in the library's words.
    #[error("{0}")]
    Other(String),
}

impl ResolveError {
    /// Whether this is an answer: there are no addresses.
    pub fn is_denial(&self) -> bool {
        matches!(self, Self::NoName | Self::NoAddress)
    }
}

/// Whom to ask.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Upstreams {
    /// The resolvers of `/etc/resolv.conf`, whatever it says at the time.
    #[default]
    Host,
    /// These.
    Servers(Vec<SocketAddr>),
}
