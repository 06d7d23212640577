//! Where a peer filters: a namespace with one device, which frames seem to come by.

use anyhow::Result;
use nsp_tests::{
    netns::{Namespace, Sandbox},
    packet::{NEAR_MAC, PEER_MAC, Party},
};

/// The device of every site.
pub(crate) const DEVICE: &str = "up0";
/// The router that nobody is.
const ROUTER: &str = "192.0.2.254";
/// The host at the other ends of all cables.
const FAR: &str = "far";

/// The sites of one case, all removed on drop.
pub(crate) struct Sites {
    sandbox: Sandbox,
    made: usize,
}

/// One namespace.
pub(crate) struct Site {
    pub(crate) namespace: Namespace,
    /// The index of [`DEVICE`].
    pub(crate) device: u32,
}

impl Sites {
    pub(crate) fn new() -> Self {
        let mut sandbox = Sandbox::new();
        sandbox.add_host(FAR);
        Self { sandbox, made: 0 }
    }

    /// Adds a site: the frames' destination address is its own, and it has a route to everybody, as a host
    /// on the internet has.
    pub(crate) fn add(&mut self, name: &str) -> Result<Site> {
        self.sandbox.add_host(name);
        let far_end = format!("p{}", self.made);
        self.made += 1;
        self.sandbox.connect((name, DEVICE), (FAR, &far_end));
        let namespace = self.sandbox.host(name).clone();
        let [near, router] =
            [NEAR_MAC, PEER_MAC].map(|it| it.map(|byte| format!("{byte:02x}")).join(":"));
        namespace.ip(&format!(
            "link set dev {DEVICE} address {near}\n\
             address add {}/24 dev {DEVICE}\n\
             neighbour add {ROUTER} lladdr {router} dev {DEVICE} nud permanent\n\
             route add default via {ROUTER}\n",
            Party::Server.v4(),
        ));
        namespace.settle();
        let device = namespace.index(DEVICE);
        Ok(Site { namespace, device })
    }
}
