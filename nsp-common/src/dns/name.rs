//! Names, byte by byte (RFC 1035 3.1, 4.1.4). Compression pointers lead backwards, each to before the
//! last, so that no chain of them has no end.

use super::{CHAIN_MAX, HEADER_LEN, JUMPS_MAX, Message, Phase, Progress, Walk, byte, mixed};
use crate::name::{BackwardKey, NAME_LEN_MAX};

const KEY_MASK: usize = 511;

/// The next byte of a name.
#[inline(always)]
pub(super) fn step(message: &Message, key: &mut BackwardKey, walk: &mut Walk) {
    if walk.at >= walk.length {
        return walk.ends(Progress::Truncated);
    }
    let next = byte(message, walk.at);
    if walk.label_left > 0 {
        walk.label_left -= 1;
        return content(next.to_ascii_lowercase(), key, walk);
    }
    match next {
        0 => end(walk),
        1..=63 => label(next, key, walk),
        192.. => pointer(message, next, walk),
        // Extended label types were tried and given up (RFC 6891 5).
        _ => walk.ends(Progress::BadName),
    }
}

#[inline(always)]
fn content(character: u8, key: &mut BackwardKey, walk: &mut Walk) {
    walk.hash = mixed(walk.hash, character);
    walk.at += 1;
    if walk.phase == Phase::QuestionName as u8 {
        key.bytes[walk.key_at as usize & KEY_MASK] = character;
        walk.key_at = walk.key_at.wrapping_add(1);
    }
}

/// A label begins: in the key it goes before those that were read.
#[inline(always)]
fn label(length: u8, key: &mut BackwardKey, walk: &mut Walk) {
    walk.name_len += length as u16 + 1;
    if walk.name_len as usize >= NAME_LEN_MAX {
        return walk.ends(Progress::BadName);
    }
    walk.label_left = length;
    if walk.phase == Phase::QuestionName as u8 {
        walk.key_start -= length as u16 + 1;
        walk.key_at = walk.key_start;
    }
    content(length, key, walk);
}

#[inline(always)]
fn end(walk: &mut Walk) {
    walk.at = if walk.resume == 0 { walk.at + 1 } else { walk.resume };
    walk.phase = match walk.phase {
        phase if phase == Phase::QuestionName as u8 => Phase::QuestionEnd,
        phase if phase == Phase::OwnerName as u8 => Phase::Record,
        phase if phase == Phase::AliasName as u8 => Phase::AliasEnd,
        _ => Phase::Parameter,
    } as u8;
}

#[inline(always)]
fn pointer(message: &Message, high: u8, walk: &mut Walk) {
    if walk.at + 1 >= walk.length {
        return walk.ends(Progress::Truncated);
    }
    let to = u16::from_be_bytes([high & 0x3f, byte(message, walk.at + 1)]);
    walk.jumps += 1;
    // The question is the first name: what it could point at is the header.
    if walk.phase == Phase::QuestionName as u8
        || to < HEADER_LEN
        || to >= walk.floor
        || walk.jumps > JUMPS_MAX
    {
        return walk.ends(Progress::BadName);
    }
    if walk.resume == 0 {
        walk.resume = walk.at + 2;
    }
    if walk.name_len == 0 {
        // Nearly every owner is a pointer to a name that was read before.
        for (at, hash) in walk.chain_at.iter().zip(&walk.chain).take(CHAIN_MAX) {
            if *at == to && to != 0 {
                walk.hash = *hash;
                return end(walk);
            }
        }
    }
    walk.floor = to;
    walk.at = to;
}
