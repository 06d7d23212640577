//! A stranger who does not cease to knock, while something becomes of the host.

use std::{
    net::{IpAddr, SocketAddr},
    sync::atomic::{AtomicBool, AtomicU64, Ordering},
    thread,
    time::Duration,
};

use nsp_tests::{
    netns::Namespace,
    packet::{BOTH, Party},
    sockets::{Outcome, tcp_connect},
};

/// How long an answer may take: many knocks go into the shortest gap.
const BRIEF: Duration = Duration::from_millis(3);

/// The stranger, and the office, who is let in and so tells that there is a way.
pub(crate) struct Knocker<'a> {
    hosts: [(Party, &'a Namespace); 2],
    is_over: AtomicBool,
    /// How often the stranger knocked, by what the office found just before.
    knocked: AtomicU64,
    knocked_in_vain: AtomicU64,
    got_in: AtomicU64,
}

impl<'a> Knocker<'a> {
    pub(crate) fn new(office: &'a Namespace, stranger: &'a Namespace) -> Self {
        Self {
            hosts: [(Party::Office, office), (Party::Stranger, stranger)],
            is_over: AtomicBool::new(false),
            knocked: AtomicU64::new(0),
            knocked_in_vain: AtomicU64::new(0),
            got_in: AtomicU64::new(0),
        }
    }

    /// Knocks at a port of these addresses, one of each family, while something is done.
    pub(crate) fn while_knocking<T>(
        &self,
        addresses: [IpAddr; 2],
        port: u16,
        work: impl FnOnce() -> T,
    ) -> T {
        thread::scope(|scope| {
            let _end = Ends(&self.is_over);
            for address in addresses {
                scope.spawn(move || self.knock(SocketAddr::new(address, port)));
            }
            work()
        })
    }

    fn knock(&self, to: SocketAddr) {
        let family = BOTH[usize::from(to.is_ipv6())];
        let connect = |(party, host): (Party, &Namespace)| {
            tcp_connect(host, SocketAddr::new(party.address(family), 0), to, BRIEF)
                == Outcome::Connected
        };
        let [office, stranger] = self.hosts;
        while !self.is_over.load(Ordering::Acquire) {
            let count = if connect(office) { &self.knocked } else { &self.knocked_in_vain };
            count.fetch_add(1, Ordering::Relaxed);
            self.got_in.fetch_add(u64::from(connect(stranger)), Ordering::Relaxed);
        }
    }

    /// Nobody got in, and somebody would have noticed.
    #[track_caller]
    pub(crate) fn nobody_got_in(&self, knocked_min: u64) {
        let read = |count: &AtomicU64| count.load(Ordering::Relaxed);
        let (knocked, in_vain) = (read(&self.knocked), read(&self.knocked_in_vain));
        let got_in = read(&self.got_in);
        println!(
            "{knocked} times knocked while there was a way, {in_vain} times while there was none, {got_in} times got in"
        );
        assert!(knocked >= knocked_min, "{knocked}");
        assert_eq!(got_in, 0);
    }
}

/// Ends the knocking when it is dropped, by a panic too.
struct Ends<'a>(&'a AtomicBool);

impl Drop for Ends<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Release);
    }
}
