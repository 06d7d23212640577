//! What the agent must know of the host: devices, routes, sockets, cgroups, resolvers, privileges,
//! the cloud around it.
//!
//! Each module reads one thing. Its core turns bytes and text into values and is tested as such; a
//! thin shell around it does the input. Nothing here changes the host (but `cgroups::leaf`, for
//! `nsp exec`), and nothing here knows the policy or the kernel programs.
//!
//! **Network namespaces:** a socket belongs to the namespace of the thread that opens it. The
//! functions here open theirs on the calling thread, so an agent that enters a namespace does so
//! on the thread of its runtime, before it calls any of them.

pub mod boot;
pub mod cgroups;
pub mod conntrack;
pub mod filters;
pub mod links;
mod mounts;
mod netlink;
mod pattern;
pub mod platform;
pub mod privilege;
pub mod resolvers;
pub mod routes;
pub mod sockets;
pub mod stubs;
pub mod xdp;

pub use self::{
    mounts::MountsError,
    netlink::NetlinkError,
    pattern::{Pattern, PatternError},
};
