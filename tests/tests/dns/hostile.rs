//! Messages made to mislead, each with its story.

use nsp_common::dns::{CHAIN_MAX, Progress};
use nsp_tests::{
    messages::{reference, subject},
    packet::{
        Packet,
        dns::{A, query},
    },
};

/// Header of an answer with one question and so many records.
fn header(answers: u8) -> Vec<u8> {
    vec![0, 7, 0x81, 0x80, 0, 1, 0, answers, 0, 0, 0, 0]
}

/// `www.example.com`, asked for its IPv4 addresses, at offset 12.
const QUESTION: &[u8] = b"\x03www\x07example\x03com\x00\x00\x01\x00\x01";
/// Where the records begin.
const RECORDS: u8 = 12 + QUESTION.len() as u8;

fn message(records: &[&[u8]]) -> Vec<u8> {
    let count = u8::try_from(records.len()).expect("a few");
    [header(count), QUESTION.to_vec(), records.concat()].concat()
}

fn record(owner: &[u8], kind: u8, data: &[u8]) -> Vec<u8> {
    let length = u16::try_from(data.len()).expect("short").to_be_bytes();
    [owner, &[0, kind, 0, 1, 0, 0, 0, 60], &length, data].concat()
}

const ASKED: &[u8] = &[0xc0, 12];
const ADDRESS: &[u8] = &[192, 0, 2, 1];

fn taught(message: &[u8]) -> usize {
    let lesson = subject::read(message).expect("it is well formed");
    assert_eq!(Ok(&lesson), reference::read(message).as_ref(), "the other reader");
    lesson.addresses.len()
}

fn refused(message: &[u8], why: Progress) {
    assert_eq!(subject::read(message), Err(why));
    assert_eq!(reference::read(message), Err(reference::Refusal::Broken), "the other reader");
}

#[test]
fn pointer_to_itself_has_no_end() {
    let itself = record(&[0xc0, RECORDS], 1, ADDRESS);
    refused(&message(&[&itself]), Progress::BadName);
}

#[test]
fn pointers_to_each_other_have_no_end() {
    let first = record(&[0xc0, RECORDS + 16], 1, ADDRESS);
    let second = record(&[0xc0, RECORDS], 1, ADDRESS);
    refused(&message(&[&first, &second]), Progress::BadName);
}

#[test]
fn pointer_forwards_or_into_the_header_is_no_name() {
    refused(&message(&[&record(&[0xc0, 200], 1, ADDRESS)]), Progress::BadName);
    assert!(subject::read(&message(&[&record(&[0xc0, 4], 1, ADDRESS)])).is_err());
}

#[test]
fn deep_chain_of_pointers_is_given_up() {
    // Each name is a label and a pointer to the one before.
    let mut records = vec![record(ASKED, 1, ADDRESS)];
    let mut at = 12;
    for _ in 0..20 {
        let owner = [1, b'a', 0xc0, at];
        at = RECORDS + u8::try_from(records.concat().len()).expect("short");
        records.push(record(&owner, 99, &[]));
        if records.concat().len() > 180 {
            break;
        }
    }
    let count = u8::try_from(records.len()).expect("a few");
    let bytes = [header(count), QUESTION.to_vec(), records.concat()].concat();
    // Few enough here: fine, and the address counts.
    assert_eq!(subject::read(&bytes).expect("well formed").addresses.len(), 1);
}

#[test]
fn record_of_another_name_teaches_nothing() {
    let other = record(b"\x04evil\x03com\x00", 1, ADDRESS);
    assert_eq!(taught(&message(&[&other])), 0);
    assert_eq!(taught(&message(&[&other, &record(ASKED, 1, ADDRESS)])), 1);
    // Nor does a parent or a child of the asked name.
    assert_eq!(taught(&message(&[&record(&[0xc0, 16], 1, ADDRESS)])), 0);
    assert_eq!(taught(&message(&[&record(&[1, b'a', 0xc0, 12], 1, ADDRESS)])), 0);
}

#[test]
fn chain_of_aliases_counts_from_the_question_and_only_from_there() {
    let alias = record(ASKED, 5, b"\x03cdn\x04test\x00");
    let address = record(b"\x03CDN\x04test\x00", 1, ADDRESS);
    assert_eq!(taught(&message(&[&alias, &address])), 1);
    // The address before its alias: nobody knows yet that it counts.
    assert_eq!(taught(&message(&[&address, &alias])), 0);
    let elsewhere = record(b"\x01x\x00", 5, b"\x03cdn\x04test\x00");
    assert_eq!(taught(&message(&[&elsewhere, &address])), 0);
}

#[test]
fn alias_loop_ends() {
    let there = record(ASKED, 5, b"\x01b\x04test\x00");
    let back = record(b"\x01b\x04test\x00", 5, ASKED);
    assert_eq!(taught(&message(&[&there, &back, &record(ASKED, 1, ADDRESS)])), 1);
}

#[test]
fn chain_that_is_too_long_teaches_nothing() {
    let name = |number: usize| [&[1, b'a' + number as u8][..], b"\x04test\x00"].concat();
    let mut records = vec![record(ASKED, 5, &name(0))];
    for number in 1..CHAIN_MAX - 1 {
        records.push(record(&name(number - 1), 5, &name(number)));
    }
    let last = name(CHAIN_MAX - 2);
    let all: Vec<&[u8]> = records.iter().map(Vec::as_slice).collect();
    let address = record(&last, 1, ADDRESS);
    assert_eq!(taught(&message(&[&all[..], &[&address]].concat())), 1);
    let further = record(&last, 5, &name(CHAIN_MAX));
    refused(&message(&[&all[..], &[&further]].concat()), Progress::TooMany);
}

#[test]
fn lengths_that_lie_are_refused() {
    refused(&message(&[&record(ASKED, 1, &[192, 0, 2])]), Progress::BadRecord);
    refused(&message(&[&record(ASKED, 28, ADDRESS)]), Progress::BadRecord);
    let mut beyond = message(&[&record(ASKED, 1, ADDRESS)]);
    beyond.pop();
    refused(&beyond, Progress::Truncated);
    // More records than there are.
    let mut promised = message(&[&record(ASKED, 1, ADDRESS)]);
    promised[7] = 2;
    refused(&promised, Progress::Truncated);
    // A CNAME that ends before, or behind, its record.
    let long = record(ASKED, 5, b"\x01b\x04test\x00\x00");
    assert!(subject::read(&message(&[&long])).is_err());
}

#[test]
fn hints_count_for_the_asked_name_alone() {
    let hint = |value: &[u8]| [&[0, 1, 0][..], value].concat();
    let both =
        hint(&[&[0, 4, 0, 8, 192, 0, 2, 1, 192, 0, 2, 2, 0, 6, 0, 16][..], &[0x20; 16]].concat());
    assert_eq!(taught(&message(&[&record(ASKED, 65, &both)])), 3);
    assert_eq!(taught(&message(&[&record(b"\x01x\x00", 65, &both)])), 0);
    let alias = record(ASKED, 5, b"\x03cdn\x04test\x00");
    assert_eq!(taught(&message(&[&alias, &record(b"\x03cdn\x04test\x00", 65, &both)])), 0);
    let lies = hint(&[0, 4, 0, 6, 192, 0, 2, 1, 0, 0]);
    assert!(subject::read(&message(&[&record(ASKED, 65, &lies)])).is_err());
}

#[test]
fn time_to_live_with_the_highest_bit_is_zero() {
    let mut record = record(ASKED, 1, ADDRESS);
    record[6] = 0x80;
    let lesson = subject::read(&message(&[&record])).expect("well formed");
    assert_eq!(lesson.addresses[0].1, 0);
}

#[test]
fn letters_are_equal_in_both_cases() {
    let lower =
        subject::read(&Packet::from(query(1, "www.example.com", A)).bytes()).expect("a query");
    let upper =
        subject::read(&Packet::from(query(1, "wWw.EXAMPLE.com", A)).bytes()).expect("a query");
    assert_eq!(lower.key, upper.key);
    assert_eq!(lower.key, b"\x03com\x07example\x03www\x00");
}

#[test]
fn label_that_looks_like_two_is_one() {
    let imitation = [&header(0)[..], b"\x0b\x07example\x03ww\x03com\x00\x00\x01\x00\x01"].concat();
    let lesson = subject::read(&imitation).expect("well formed");
    assert_eq!(lesson.key, b"\x03com\x0b\x07example\x03ww\x00");
    assert!(!lesson.key.starts_with(b"\x03com\x07example"));
}
