//! Notices of the kernel that devices, addresses or routes changed: the first at once, for an interface that
//! comes is open until it is covered; what follows gathered for a moment.

use std::time::Duration;

use futures_util::{Stream, StreamExt as _};
use rtnetlink::MulticastGroup;
use tokio::{sync::mpsc, time::timeout_at};

use crate::host::netlink::{NetlinkError, Notice, notices};

/// How long changes are gathered after the first, so that a device that flaps without end is not all that is
/// done.
const GATHER: Duration = Duration::from_millis(50);

/// Two rounds of each kind.
const CHANGES_MAX: usize = 8;

const GROUPS: [MulticastGroup; 5] = [
    MulticastGroup::Link,
    MulticastGroup::Ipv4Ifaddr,
    MulticastGroup::Ipv6Ifaddr,
    MulticastGroup::Ipv4Route,
    MulticastGroup::Ipv6Route,
];

/// What changed, and so is to be read again.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum HostChange {
    /// A device came, went or changed.
    Links,
    /// An address came, went or changed.
    Addresses,
    /// A route came or went. Follows every other change too: the kernel is silent about the IPv4
    /// routes that go with their device or address.
    Routes,
}

/// Follows this thread's network namespace. The channel closes when the kernel's socket fails:
/// then the watch is to be started anew and everything read again.
///
/// Start it before the first reading, or a change between the two is lost.
///
/// # Errors
///
/// When there is no such socket.
pub fn watch() -> Result<mpsc::Receiver<HostChange>, NetlinkError> {
    let notices = notices(&GROUPS)?;
    let (sender, receiver) = mpsc::channel(CHANGES_MAX);
    tokio::spawn(async move {
        tokio::select! {
            () = gather(notices, &sender) => {}
            () = sender.closed() => {}
        }
    });
    Ok(receiver)
}

async fn gather(
    mut notices: impl Stream<Item = Notice> + Unpin,
    sender: &mpsc::Sender<HostChange>,
) {
    while let Some(first) = notices.next().await {
        let mut seen = Seen::default();
        seen.add(first);
        if !tell(seen, sender).await {
            return;
        }
        let mut seen = Seen::default();
        let end = tokio::time::Instant::now() + GATHER;
        while let Ok(Some(notice)) = timeout_at(end, notices.next()).await {
            seen.add(notice);
        }
        if !tell(seen, sender).await {
            return;
        }
    }
}

/// Whether anybody still listens.
async fn tell(seen: Seen, sender: &mpsc::Sender<HostChange>) -> bool {
    for change in seen.changes() {
        if sender.send(change).await.is_err() {
            return false;
        }
    }
    true
}

/// What was seen since the last delivery.
#[derive(Clone, Copy, Debug, Default)]
struct Seen {
    links: bool,
    addresses: bool,
    routes: bool,
}

impl Seen {
    fn add(&mut self, notice: Notice) {
        // RTM_NEWLINK 16, RTM_NEWADDR 20, RTM_NEWROUTE 24; each with its RTM_DEL one above.
        match notice {
            Notice::Kind(16 | 17) => self.links = true,
            Notice::Kind(20 | 21) => self.addresses = true,
            Notice::Kind(24 | 25) => self.routes = true,
            Notice::Kind(_) => {}
            Notice::Lost => *self = Self { links: true, addresses: true, routes: true },
        }
    }

    fn changes(self) -> impl Iterator<Item = HostChange> {
        let Self { links, addresses, routes } = self;
        [
            (links, HostChange::Links),
            (addresses, HostChange::Addresses),
            (links || addresses || routes, HostChange::Routes),
        ]
        .into_iter()
        .filter_map(|(seen, change)| seen.then_some(change))
    }
}

#[cfg(test)]
mod tests {
    use futures_util::stream;
    use rstest::rstest;

    use super::*;

    #[rstest]
    #[case::route(&[Notice::Kind(24)], &[HostChange::Routes])]
    #[case::link_takes_routes_along(&[Notice::Kind(17)], &[HostChange::Links, HostChange::Routes])]
    #[case::once_each(&[Notice::Kind(16), Notice::Kind(20), Notice::Kind(21), Notice::Kind(25)],
        &[HostChange::Links, HostChange::Routes, HostChange::Addresses, HostChange::Routes])]
    #[case::lost_is_everything(&[Notice::Lost],
        &[HostChange::Links, HostChange::Addresses, HostChange::Routes])]
    #[case::other_messages(&[Notice::Kind(28)], &[])]
    #[tokio::test]
    async fn gathers(#[case] seen: &[Notice], #[case] expected: &[HostChange]) {
        let (sender, mut receiver) = mpsc::channel(CHANGES_MAX);
        gather(stream::iter(seen.to_vec()), &sender).await;
        drop(sender);
        let mut changes = Vec::new();
        while let Some(change) = receiver.recv().await {
            changes.push(change);
        }
        assert_eq!(changes, expected);
    }

    #[tokio::test]
    async fn a_quiet_host_sends_nothing_and_keeps_the_watch_open() {
        let mut receiver = watch().unwrap();
        assert!(!receiver.is_closed());
        receiver.close();
    }
}
