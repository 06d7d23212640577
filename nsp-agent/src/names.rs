//! The agent's own resolution of the exact names in outbound access rules.
//!
//! It covers what learning from the wire (`nsp-ebpf/src/dns.rs`) cannot: answers from caches and `/etc/hosts`, encrypted
//! resolvers, and the time before the first query. Parts that know nothing of each other, and a
//! task that ties them together:
//!
//! - [`resolve`] is the question and the answer; [`resolver`] asks as this host does, and is the
//!   only file that knows the DNS library.
//! - [`schedule`] says whom to ask when, and what the answers teach; pure.
//! - [`task`] runs the two and sends [`schedule::Batch`]es; whoever owns the maps carries them out.
//!
//! Nothing here touches a map. All times are seconds of the coarse monotonic clock, the one the
//! kernel programs read.

pub mod blind;
pub mod forbidden;
pub mod naming;
pub mod resolve;
pub mod resolver;
pub mod schedule;
pub mod task;
pub mod wanted;
