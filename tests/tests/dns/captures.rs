//! Real messages.

use std::fs;

use nsp_tests::{
    data::shared_data,
    messages::{
        capture,
        compare::{Reading, answer},
    },
};

#[test]
fn captures_teach_what_another_reader_says() {
    let Some(data) = shared_data() else {
        println!("no captures beside the workspace: left out");
        return;
    };
    let (mut answers, mut addresses) = (0, 0);
    for entry in fs::read_dir(data.join("pcap")).expect("a directory") {
        let path = entry.expect("an entry").path();
        for message in capture::messages(&path) {
            match answer(&message) {
                Reading::Alike(lesson) => {
                    answers += 1;
                    addresses += lesson.addresses.len();
                }
                // None of those in the captures is damaged where nothing is learned from.
                Reading::OursAlone(_) => panic!("{} {message:02x?}", path.display()),
                Reading::Refused => {}
            }
        }
    }
    println!("{answers} messages, {addresses} addresses");
    assert!(answers >= 60 && addresses >= 60, "{answers} messages, {addresses} addresses");
}
