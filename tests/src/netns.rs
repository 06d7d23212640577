//! Network namespaces that belong to one test, and the small internet the tests run in.
//!
//! Names are `nspt-<pid>-<number>-<test>-<host>`, so tests in parallel never meet. A sandbox
//! takes everything with it when it is dropped, panics included; what a killed run left behind
//! is swept by the next one, which knows it by the dead pid in the name.
//!
//! A thread or process is moved by `setns` on the network namespace alone: `ip netns exec` would
//! mount a fresh /sys over bpffs and cgroup2.

mod leftovers;
mod namespace;
mod process;
mod sandbox;
mod settle;
mod world;

pub use self::{
    leftovers::{MARK, mark},
    namespace::Namespace,
    process::Process,
    sandbox::Sandbox,
    world::{World, WorldBuilder},
};
