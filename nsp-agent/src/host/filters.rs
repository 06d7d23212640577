//! The filters of traffic control at a device.

use std::collections::BTreeSet;

use rtnetlink::{packet_core::parse_string, sys::protocols::NETLINK_ROUTE};

use super::netlink::{Message, Netlink, NetlinkError, attributes};

/// `RTM_GETQDISC` and `RTM_GETTFILTER`, and the size of their fixed part, `struct tcmsg`.
const GET_QDISC: u16 = 38;
const GET_FILTER: u16 = 46;
const FIXED_LEN: usize = 20;

/// `TC_H_INGRESS`, which is `TC_H_CLSACT` too.
const INGRESS: u32 = 0xffff_fff1;

/// `TCA_*`.
const KIND: u16 = 1;
const OPTIONS: u16 = 2;
const CHAIN: u16 = 11;
/// Inside `OPTIONS` of a filter of kind `bpf`: `TCA_BPF_*`.
const BPF_NAME: u16 = 7;
const BPF_ID: u16 = 11;

/// A filter.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Filter {
    /// Its number at its parent.
    pub handle: u32,
    /// What it is, by the kernel's word for it: `bpf`, `flower`, `u32`.
    pub kind: String,
    /// Of kind `bpf`: the program's number.
    pub program: Option<u32>,
    /// Of kind `bpf`: the name that it was given when it was put there.
    pub name: Option<String>,
    /// Other chains than the first are only gone into from there.
    chain: u32,
}

/// The handles and programs of the filters of kind `bpf` at a parent of a device, in this thread's network
/// namespace.
///
/// # Errors
/// When the kernel refuses.
pub async fn programs(index: u32, parent: u32) -> Result<BTreeSet<(u32, u32)>, NetlinkError> {
    let filters = read(index, parent).await?;
    Ok(filters.iter().filter_map(|filter| Some((filter.handle, filter.program?))).collect())
}

/// The filters at a parent of a device, in the order in which packets meet them.
///
/// # Errors
/// When the kernel refuses.
pub async fn read(index: u32, parent: u32) -> Result<Vec<Filter>, NetlinkError> {
    const FILTERS: &str = "filters";
    let netlink = Netlink::open(NETLINK_ROUTE, FILTERS)?;
    let mut payload = vec![0; FIXED_LEN];
    payload[4..8].copy_from_slice(&index.to_ne_bytes());
    payload[12..16].copy_from_slice(&parent.to_ne_bytes());
    let dumped = netlink.dump(FILTERS, &Message { kind: GET_FILTER, payload }).await?;
    // Each kind at each priority is said once by itself, without a handle.
    let filters = dumped.iter().filter_map(|message| filter(&message.payload));
    let mut filters: Vec<Filter> = filters.filter(|filter| filter.handle != 0).collect();
    filters.sort_by_key(|filter| filter.chain);
    Ok(filters)
}

/// The devices that can have filters at ingress, each with whether it can have them at egress as well.
///
/// # Errors
/// When the kernel refuses.
pub async fn places() -> Result<Vec<(u32, bool)>, NetlinkError> {
    const QUEUES: &str = "queueing disciplines";
    let netlink = Netlink::open(NETLINK_ROUTE, QUEUES)?;
    let request = Message { kind: GET_QDISC, payload: vec![0; FIXED_LEN] };
    let dumped = netlink.dump(QUEUES, &request).await?;
    let place = |message: &Message| {
        let payload = &message.payload;
        let is_here = word(payload, 12)? == INGRESS;
        is_here.then_some((word(payload, 4)?, kind(payload) == "clsact"))
    };
    Ok(dumped.iter().filter_map(place).collect())
}

/// One `RTM_NEWTFILTER`. What cannot be read of it is left out.
fn filter(payload: &[u8]) -> Option<Filter> {
    let mut filter = Filter { handle: word(payload, 8)?, kind: kind(payload), ..Filter::default() };
    for (attribute, value) in attributes(payload, FIXED_LEN).filter_map(Result::ok) {
        match attribute {
            CHAIN => filter.chain = word(value, 0).unwrap_or(0),
            OPTIONS if filter.kind == "bpf" => {
                for (attribute, value) in attributes(value, 0).filter_map(Result::ok) {
                    match attribute {
                        BPF_NAME => filter.name = parse_string(value).ok(),
                        BPF_ID => filter.program = word(value, 0),
                        _ => {}
                    }
                }
            }
            _ => {}
        }
    }
    Some(filter)
}

/// `TCA_KIND`.
fn kind(payload: &[u8]) -> String {
    let mut known = attributes(payload, FIXED_LEN).filter_map(Result::ok);
    let value = known.find(|(attribute, _)| *attribute == KIND).map(|(_, value)| value);
    value.and_then(|value| parse_string(value).ok()).unwrap_or_default()
}

fn word(bytes: &[u8], at: usize) -> Option<u32> {
    bytes.get(at..at + 4)?.try_into().ok().map(u32::from_ne_bytes)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::host::netlink::with_attributes;

    fn message(handle: u32, attributes: &[(u16, &[u8])]) -> Vec<u8> {
        let mut fixed = vec![0; FIXED_LEN];
        fixed[8..12].copy_from_slice(&handle.to_ne_bytes());
        with_attributes(fixed, attributes)
    }

    #[test]
    fn program_and_name_are_read_from_a_filter_of_kind_bpf_alone() {
        let options = with_attributes(
            Vec::new(),
            &[(BPF_NAME, b"cil_from_netdev\0"), (BPF_ID, &77_u32.to_ne_bytes())],
        );
        let bytes = message(5, &[(KIND, b"bpf\0"), (CHAIN, &[0; 4]), (OPTIONS, &options)]);
        let expected = Filter {
            handle: 5,
            kind: "bpf".into(),
            program: Some(77),
            name: Some("cil_from_netdev".into()),
            chain: 0,
        };
        assert_eq!(filter(&bytes), Some(expected));
        let bytes = message(5, &[(KIND, b"flower\0"), (OPTIONS, &options)]);
        let expected = Filter { handle: 5, kind: "flower".into(), ..Filter::default() };
        assert_eq!(filter(&bytes), Some(expected));
    }

    #[test]
    fn a_short_message_is_no_filter_and_no_panic() {
        assert_eq!(filter(&[0; 11]), None);
        assert_eq!(filter(&[0; 12]), Some(Filter::default()));
    }
}
