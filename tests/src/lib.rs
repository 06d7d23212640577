//! Test tools: what the tests that need the kernel, network namespaces or the whole binary are
//! written with. No test of the product lives here.
//!
//! Everything that touches the kernel does so inside network namespaces that [`netns`] made; the
//! machine's own interfaces are never used. Own tests that need root have names that start with
//! `privileged_`, so that `cargo test -- --skip privileged_` runs anywhere.
#![deny(unsafe_code)]

pub mod agent;
pub mod anything;
pub mod booted;
pub mod corpus;
pub mod data;
pub mod deadline;
pub mod demo;
pub mod measured;
pub mod messages;
pub mod netns;
pub mod packet;
pub mod pinned;
pub mod prefix_lists;
pub mod privilege;
pub mod prog;
mod raw;
pub mod small_disk;
pub mod sockets;
pub mod strace;
pub mod survival;
pub mod terminal;
