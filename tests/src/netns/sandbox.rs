//! The namespaces of one test.

use std::{fs::File, sync::Once, thread};

use rustix::fs::{FlockOperation, flock};

use super::{
    leftovers::{mark, sweep},
    namespace::Namespace,
};

/// Hosts and cables of one test, all removed on drop.
#[derive(Debug)]
pub struct Sandbox {
    name: String,
    hosts: Vec<(String, Namespace)>,
}

impl Sandbox {
    /// An empty one, named after the test that runs on this thread.
    ///
    /// # Panics
    /// When privileges are missing.
    pub fn new() -> Self {
        static SWEPT: Once = Once::new();
        crate::privilege::require();
        SWEPT.call_once(sweep);
        let thread = thread::current();
        let test = thread.name().unwrap_or("unnamed");
        Self { name: mark(test.rsplit("::").next().unwrap_or(test)), hosts: Vec::new() }
    }

    /// How the names of its namespaces start.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Adds a host.
    pub fn add_host(&mut self, name: &str) -> &Namespace {
        let _making = one_at_a_time();
        let namespace = Namespace::create(&format!("{}-{name}", self.name));
        self.hosts.push((name.to_owned(), namespace));
        self.host(name)
    }

    /// A host by name.
    ///
    /// # Panics
    /// When there is none of that name.
    pub fn host(&self, name: &str) -> &Namespace {
        let found = self.hosts.iter().find(|(known, _)| known == name);
        &found.unwrap_or_else(|| panic!("{} has no host `{name}`", self.name)).1
    }

    /// Lays a cable between two (host, interface) ends and switches both on.
    pub fn connect(&self, (near, near_link): (&str, &str), (far, far_link): (&str, &str)) {
        let (near, far) = (self.host(near), self.host(far));
        let peer = far.name();
        near.ip(&format!(
            "link add {near_link} type veth peer name {far_link} netns {peer}\n\
             link set dev {near_link} up\n",
        ));
        far.ip(&format!("link set dev {far_link} up"));
    }

    /// Waits until everything configured so far is in effect, on every host; see
    /// [`Namespace::settle`].
    pub fn settle(&self) {
        for (_, host) in &self.hosts {
            host.settle();
        }
    }
}

impl Default for Sandbox {
    fn default() -> Self {
        Self::new()
    }
}

/// Two first calls of `ip netns add` at the same time race for making /run/netns; tests run in
/// several processes, so the lock is a file.
fn one_at_a_time() -> File {
    let lock = File::create("/run/nspt.lock").expect("/run is writable for root");
    flock(&lock, FlockOperation::LockExclusive).expect("flock works on /run");
    lock
}

#[cfg(test)]
mod tests;
