//! Real messages.

use nsp_tests::data::shared_data;

use crate::{pcap, reference, subject};

#[test]
fn captures_teach_what_another_reader_says() {
    let Some(data) = shared_data() else {
        println!("no captures beside the workspace: left out");
        return;
    };
    let (mut answers, mut addresses) = (0, 0);
    for entry in std::fs::read_dir(data.join("pcap")).expect("a directory") {
        let path = entry.expect("an entry").path();
        for message in pcap::messages(&path) {
            // What does not fit is re-resolved by the agent.
            if message.len() > nsp_common::dns::MESSAGE_MAX {
                continue;
            }
            let context = format!("{} {message:02x?}", path.display());
            match reference::read(&message) {
                Some(lesson) => {
                    answers += 1;
                    addresses += lesson.addresses.len();
                    assert_eq!(subject::read(&message), Ok(lesson), "{context}");
                }
                None => assert!(subject::read(&message).is_err(), "{context}"),
            }
        }
    }
    println!("{answers} messages, {addresses} addresses");
    assert!(answers >= 60 && addresses >= 60, "{answers} messages, {addresses} addresses");
}
