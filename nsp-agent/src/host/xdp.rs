//! The XDP program of a device.

use rtnetlink::{packet_core::parse_u32, sys::protocols::NETLINK_ROUTE};

use super::netlink::{Message, Netlink, NetlinkError, attributes};

/// `RTM_GETLINK`, and the size of its fixed part, `struct ifinfomsg`.
const GET_LINK: u16 = 18;
const FIXED_LEN: usize = 16;

/// `IFLA_XDP`, and what is inside it: `IFLA_XDP_*`.
const XDP: u16 = 43;
const NATIVE: u16 = 5;
const GENERIC: u16 = 6;
const OFFLOADED: u16 = 7;

/// The numbers of the XDP programs of a device, each with how it is there. More than one are there only where
/// the hardware has one of its own.
///
/// # Errors
/// When the kernel refuses, or the device is gone.
pub async fn programs(index: u32) -> Result<Vec<(&'static str, u32)>, NetlinkError> {
    const DEVICE: &str = "a device";
    let netlink = Netlink::open(NETLINK_ROUTE, DEVICE)?;
    let mut payload = vec![0; FIXED_LEN];
    payload[4..8].copy_from_slice(&index.to_ne_bytes());
    let answer = netlink.ask(DEVICE, Message { kind: GET_LINK, payload }).await?;
    Ok(programs_in(&answer.payload))
}

fn programs_in(payload: &[u8]) -> Vec<(&'static str, u32)> {
    let nested = attributes(payload, FIXED_LEN).filter_map(Result::ok);
    let nested = nested.filter(|(attribute, _)| *attribute == XDP);
    let inside = nested.flat_map(|(_, value)| attributes(value, 0).filter_map(Result::ok));
    let program = |(attribute, value)| {
        let how = match attribute {
            NATIVE => "xdp native",
            GENERIC => "xdp generic",
            OFFLOADED => "xdp of the hardware",
            _ => return None,
        };
        Some((how, parse_u32(value).ok()?))
    };
    inside.filter_map(program).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn how_a_program_is_there_is_read_with_its_number() {
        let mut bytes = vec![0; FIXED_LEN];
        // IFLA_XDP, nested: IFLA_XDP_ATTACHED = 2, IFLA_XDP_PROG_ID = 9, IFLA_XDP_SKB_PROG_ID = 9.
        let words: [u16; 14] = [28, 43, 5, 2, 2, 0, 8, 4, 9, 0, 8, 6, 9, 0];
        bytes.extend(words.iter().flat_map(|word| word.to_ne_bytes()));
        assert_eq!(programs_in(&bytes), [("xdp generic", 9)]);
        assert_eq!(programs_in(&bytes[..FIXED_LEN]), []);
        assert_eq!(programs_in(&bytes[..30]), []);
    }
}
