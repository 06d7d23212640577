//! What a name may have of addresses, over a long time.

use std::net::IpAddr;

use nsp_common::{
    learned::{QUOTA_EXACT, Unit},
    verdict::Lesson,
};
use nsp_tests::prog::Lab;

/// A name with so many addresses, all of them heard of, over, and forgotten again and again.
const ADDRESSES: u8 = 20;

#[test]
fn name_that_is_learned_again_and_again_has_room_for_its_few_addresses() {
    let lab = Lab::load();
    let unit = Unit { name: 1, quota: QUOTA_EXACT };
    let address = |host| IpAddr::from([198, 51, 100, host]);
    for day in 0..3 * QUOTA_EXACT / u32::from(ADDRESSES) {
        for host in 0..ADDRESSES {
            let lesson = lab.datapath.teach(address(host), unit, u32::MAX).expect("it runs");
            assert_eq!(lesson, Lesson::Learned, "address {host} for the {day}th time");
        }
        for host in 0..ADDRESSES {
            lab.datapath.forget(address(host), unit.name).expect("it runs");
        }
        lab.datapath.sweep_learned(u32::MAX).expect("it can be read");
    }
}
