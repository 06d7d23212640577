//! Names that the kernel wants: from its ring to the task that asks, and from the answers to its tables.

use std::sync::Arc;

use nsp_common::{learned, verdict::Lesson};
use tokio::sync::mpsc;

use super::now_s;
use crate::{
    daemon::{RING_WAIT, state::Agent},
    datapath::WantedNames,
    names::{
        naming,
        resolver::{HostResolver, Upstreams},
        wanted::{self, Answered, Counts, QUEUE_MAX, Want},
    },
};

/// What became of wanted names and of their addresses.
#[derive(Debug, Default)]
pub(in crate::daemon) struct Teaching {
    pub(in crate::daemon) counts: Arc<Counts>,
    /// Addresses that were learned.
    pub(in crate::daemon) taught: u64,
    /// Addresses that may not be learned, or found no room.
    pub(in crate::daemon) refused: u64,
}

impl Agent {
    /// Follows the ring of wanted names, where the kernel has one; the answers come by the receiver.
    pub(in crate::daemon) fn follow_wanted(&mut self) -> mpsc::Receiver<Answered> {
        let (answers, answers_out) = mpsc::channel(64);
        if let Some(ring) = self.datapath.take_wanted() {
            let (wants, wants_out) = mpsc::channel(QUEUE_MAX);
            let counts = self.dns.wanted.counts.clone();
            let told = counts.clone();
            std::thread::spawn(move || forward(ring, &wants, &told));
            let (resolv_conf, hosts) =
                (self.options.resolv_conf.clone(), self.options.hosts.clone());
            let resolver = HostResolver::with_files(Upstreams::Host, resolv_conf, hosts);
            tokio::spawn(wanted::run(wants_out, answers, resolver, counts));
        }
        answers_out
    }

    /// Teaches the kernel what a wanted name stands for.
    pub(in crate::daemon) fn learn_wanted(&mut self, answered: &Answered) {
        let Answered { want, answer } = answered;
        let forbidden = self.forbidden();
        let ttl_s = u32::try_from(answer.ttl.as_secs()).unwrap_or(u32::MAX);
        let expires_s = learned::expires_s(ttl_s, u64::from(now_s()) * 1_000_000_000);
        for address in &answer.addresses {
            let address = address.to_canonical();
            let lesson = match forbidden.why(address) {
                Some(_) => Ok(Lesson::Forbidden),
                None => self.datapath.teach(address, want.unit, expires_s),
            };
            match lesson {
                Ok(Lesson::Learned) => {
                    self.dns.wanted.taught += 1;
                    self.remember_asked(address, &want.name, want.unit.name);
                }
                Ok(why) => {
                    self.dns.wanted.refused += 1;
                    tracing::warn!(name = %want.name, %address, why = why.name(), "not learned");
                }
                Err(error) => return self.complain("an address is not learned", &error),
            }
        }
    }

    /// Says in the kernel's table that the agent learned an address for a name.
    pub(in crate::daemon) fn remember_asked(
        &mut self,
        address: std::net::IpAddr,
        name: &str,
        unit: u32,
    ) {
        self.dns.memory.changed();
        let Some(naming) = naming::by_agent(name, unit, now_s()) else { return };
        if let Err(error) = self.datapath.name_address(address, &naming) {
            self.complain("the name of an address is not kept", &error);
        }
    }
}

/// Hands on what comes by the ring. Never waits for the task: what it has no room for is counted.
fn forward(mut ring: WantedNames, wants: &mpsc::Sender<Want>, counts: &Counts) {
    while !wants.is_closed() {
        while let Some(wanted) = ring.take_one() {
            Counts::add(&counts.wanted);
            let sent = Want::of(&wanted).map(|want| wants.try_send(want));
            if !matches!(sent, Some(Ok(()))) {
                Counts::add(&counts.dropped);
            }
        }
        // A failed wait is a short wait: the next round looks again.
        let _woken = ring.wait(RING_WAIT);
    }
}
