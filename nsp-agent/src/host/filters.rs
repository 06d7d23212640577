//! The filters of traffic control at a device.

use std::collections::BTreeSet;

use rtnetlink::sys::protocols::NETLINK_ROUTE;

use super::netlink::{Message, Netlink, NetlinkError};

/// `RTM_GETTFILTER`, and the size of its fixed part, `struct tcmsg`.
const GET_FILTER: u16 = 46;
const FIXED_LEN: usize = 20;

/// The handles of the filters at a parent of a device, in this thread's network namespace.
///
/// # Errors
/// When the kernel refuses.
pub async fn handles(index: u32, parent: u32) -> Result<BTreeSet<u32>, NetlinkError> {
    const FILTERS: &str = "filters";
    let netlink = Netlink::open(NETLINK_ROUTE, FILTERS)?;
    let mut payload = vec![0; FIXED_LEN];
    payload[4..8].copy_from_slice(&index.to_ne_bytes());
    payload[12..16].copy_from_slice(&parent.to_ne_bytes());
    let dumped = netlink.dump(FILTERS, &Message { kind: GET_FILTER, payload }).await?;
    Ok(dumped.iter().filter_map(|message| handle(&message.payload)).collect())
}

/// The handle in a `struct tcmsg`.
fn handle(payload: &[u8]) -> Option<u32> {
    payload.get(8..12)?.try_into().ok().map(u32::from_ne_bytes)
}
