//! The question's end, and the records of the answer.

use super::{
    ADDRESSES_MAX, CHAIN_MAX, Found, HEADER_LEN, Message, Phase, Progress, Walk, be16, byte, kind,
};
use crate::address::Family;

const CLASS_INTERNET: u16 = 1;
/// Parameters of SVCB (RFC 9460 14.3.2).
const IPV4_HINT: u16 = 4;
const IPV6_HINT: u16 = 6;
/// Type, class, time to live and length.
const FIXED_LEN: u16 = 10;

/// Type and class of the question.
#[inline(always)]
pub(super) fn question_end(message: &Message, walk: &mut Walk) {
    if walk.at + 4 > walk.length {
        return walk.ends(Progress::Truncated);
    }
    if be16(message, walk.at + 2) != CLASS_INTERNET {
        return walk.ends(Progress::BadRecord);
    }
    walk.question_type = be16(message, walk.at);
    walk.at += 4;
    walk.chain = [0; CHAIN_MAX];
    walk.chain_at = [0; CHAIN_MAX];
    walk.chain[0] = walk.hash;
    walk.chain_at[0] = HEADER_LEN;
    walk.chain_len = 1;
    next_record(walk);
}

#[inline(always)]
fn next_record(walk: &mut Walk) {
    if walk.records_left == 0 {
        return walk.ends(Progress::Done);
    }
    walk.records_left -= 1;
    walk.expect_name(Phase::OwnerName);
}

/// Whether the record's owner is one that the question leads to, and the asked one.
#[inline(always)]
fn owner(walk: &Walk) -> (bool, bool) {
    let mut is_in_chain = false;
    for (index, hash) in walk.chain.iter().enumerate() {
        is_in_chain |= index < walk.chain_len as usize && *hash == walk.hash;
    }
    (is_in_chain, walk.chain[0] == walk.hash)
}

/// The fixed part of a record behind its owner, and what it holds.
#[inline(always)]
pub(super) fn record(message: &Message, walk: &mut Walk) {
    if walk.at + FIXED_LEN > walk.length {
        return walk.ends(Progress::Truncated);
    }
    let (record_type, class) = (be16(message, walk.at), be16(message, walk.at + 2));
    let ttl = u32::from(be16(message, walk.at + 4)) << 16 | u32::from(be16(message, walk.at + 6));
    walk.ttl_s = if ttl >> 31 == 1 { 0 } else { ttl };
    let length = be16(message, walk.at + 8);
    walk.at += FIXED_LEN;
    if length > walk.length - walk.at {
        return walk.ends(Progress::Truncated);
    }
    walk.record_end = walk.at + length;
    let (is_in_chain, is_asked) = owner(walk);
    match record_type {
        _ if class != CLASS_INTERNET || !is_in_chain => skip(walk),
        kind::A if length != 4 => walk.ends(Progress::BadRecord),
        kind::AAAA if length != 16 => walk.ends(Progress::BadRecord),
        kind::A => {
            find(message, Family::V4, walk);
            skip(walk);
        }
        kind::AAAA => {
            find(message, Family::V6, walk);
            skip(walk);
        }
        kind::CNAME => alias(walk),
        kind::SVCB | kind::HTTPS if is_asked => {
            if length < 3 {
                return walk.ends(Progress::BadRecord);
            }
            // Behind the priority; the target's name is not followed.
            walk.at += 2;
            walk.expect_name(Phase::TargetName);
        }
        _ => skip(walk),
    }
}

#[inline(always)]
fn skip(walk: &mut Walk) {
    walk.at = walk.record_end;
    if walk.progress == Progress::Going as u8 {
        next_record(walk);
    }
}

/// A CNAME of a name that counts: its own name is read next.
#[inline(always)]
fn alias(walk: &mut Walk) {
    let index = walk.chain_len as usize;
    if index >= CHAIN_MAX {
        return walk.ends(Progress::TooMany);
    }
    walk.chain_at[index % CHAIN_MAX] = walk.at;
    walk.expect_name(Phase::AliasName);
}

/// The name of a CNAME was read: it counts from here on.
#[inline(always)]
pub(super) fn alias_end(walk: &mut Walk) {
    if walk.at != walk.record_end {
        return walk.ends(Progress::BadRecord);
    }
    walk.chain[walk.chain_len as usize % CHAIN_MAX] = walk.hash;
    walk.chain_len += 1;
    next_record(walk);
}

/// A parameter of SVCB: its key and length.
#[inline(always)]
pub(super) fn parameter(message: &Message, walk: &mut Walk) {
    if walk.at == walk.record_end {
        return next_record(walk);
    }
    if walk.at > walk.record_end || walk.record_end - walk.at < 4 {
        return walk.ends(Progress::BadRecord);
    }
    let (key, length) = (be16(message, walk.at), be16(message, walk.at + 2));
    walk.at += 4;
    if length > walk.record_end - walk.at {
        return walk.ends(Progress::BadRecord);
    }
    walk.hint_len = match key {
        IPV4_HINT => 4,
        IPV6_HINT => 16,
        _ => {
            walk.at += length;
            return;
        }
    };
    if length == 0 || length & (walk.hint_len as u16 - 1) != 0 {
        return walk.ends(Progress::BadRecord);
    }
    walk.parameter_end = walk.at + length;
    walk.phase = Phase::Hint as u8;
}

/// One address of a hint.
#[inline(always)]
pub(super) fn hint(message: &Message, walk: &mut Walk) {
    let family = if walk.hint_len == 4 { Family::V4 } else { Family::V6 };
    find(message, family, walk);
    walk.at += walk.hint_len as u16;
    if walk.at >= walk.parameter_end {
        walk.phase = Phase::Parameter as u8;
    }
}

/// Takes the address that lies here.
#[inline(always)]
fn find(message: &Message, family: Family, walk: &mut Walk) {
    let index = walk.found_len as usize;
    if index >= ADDRESSES_MAX {
        return walk.ends(Progress::TooMany);
    }
    let mut octets = match family {
        Family::V4 => [0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff, 0, 0, 0, 0],
        Family::V6 => [0; 16],
    };
    match family {
        Family::V4 => {
            for offset in 0..4 {
                octets[12 + offset] = byte(message, walk.at + offset as u16);
            }
        }
        Family::V6 => {
            for (offset, octet) in octets.iter_mut().enumerate() {
                *octet = byte(message, walk.at + offset as u16);
            }
        }
    }
    walk.found[index % ADDRESSES_MAX] =
        Found { octets, ttl_s: walk.ttl_s, family: family as u8, _pad: [0; 3] };
    walk.found_len += 1;
}
