//! The agent's own resolution of the exact names in outbound access rules.
//!
//! It covers what learning from the wire cannot: answers from caches and `/etc/hosts`, encrypted
//! resolvers, and the time before the first query. Parts that know nothing of each other, and a
//! task that ties two of them together:
//!
//! - [`resolve`] is the question and the answer; [`resolver`] asks as this host does, and is the
//!   only file that knows the DNS library.
//! - [`schedule`] says whom to ask when, and what the answers teach; pure.
//! - [`table`] turns what was taught into exact writes of the kernel's table; pure.
//! - [`task`] runs the first two and sends [`schedule::Batch`]es; whoever owns the maps feeds them
//!   to a [`table::LearnedTable`] and carries out its changes.
//!
//! Nothing here touches a map. All times are seconds of the coarse monotonic clock, the one the
//! kernel programs read.

pub mod forbidden;
pub mod resolve;
pub mod resolver;
pub mod schedule;
pub mod table;
pub mod task;
