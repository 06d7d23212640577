//! The reader under test, as the kernel programs use it.

use std::net::IpAddr;

use nsp_common::{
    address::{Address, Family},
    dns::{self, Header, MESSAGE_MAX, Message, Progress, Walk},
    name::{BACKWARD_LEN, BackwardKey},
};

/// What an answer teaches.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Lesson {
    /// The asked name as a key.
    pub key: Vec<u8>,
    /// The asked type.
    pub kind: u16,
    /// Addresses with their times to live, in the order of the records.
    pub addresses: Vec<(IpAddr, u32)>,
}

/// A message in the room that it is copied to.
pub fn copied(bytes: &[u8]) -> Option<(Box<Message>, u16)> {
    let mut message = Box::new([0; MESSAGE_MAX]);
    message.get_mut(..bytes.len())?.copy_from_slice(bytes);
    Some((message, u16::try_from(bytes.len()).ok()?))
}

/// Reads an answer; the error is how far it came.
pub fn read(bytes: &[u8]) -> Result<Lesson, Progress> {
    let (message, length) = copied(bytes).ok_or(Progress::Truncated)?;
    let header = Header::of(&message, length).ok_or(Progress::Truncated)?;
    if header.questions != 1 {
        return Err(Progress::BadRecord);
    }
    let mut key = Box::new(BackwardKey { bytes: [0; BACKWARD_LEN] });
    let mut walk = Box::new(Walk::EMPTY);
    walk.begin(length, header.answers);
    dns::read(&message, &mut key, &mut walk);
    if !walk.is_done() {
        return Err(match walk.progress {
            2 => Progress::Truncated,
            3 => Progress::BadName,
            4 => Progress::BadRecord,
            5 => Progress::TooMany,
            _ => Progress::Going,
        });
    }
    let found = &walk.found[..usize::from(walk.found_len)];
    let addresses = found.iter().map(|it| {
        let family = if it.family == Family::V4 as u8 { Family::V4 } else { Family::V6 };
        (Address { octets: it.octets }.to_ip(family), it.ttl_s)
    });
    let (start, length) = (usize::from(walk.key_start), usize::from(walk.key_len()));
    Ok(Lesson {
        key: key.bytes[start..start + length].to_vec(),
        kind: walk.question_type,
        addresses: addresses.collect(),
    })
}
