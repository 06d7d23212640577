//! Learning that an address stands for a name, within the name's quota.
//!
//! Two processors may learn for one unit at once, and take the same place of its ring. At worst an address
//! is forgotten by the ring and stays until its time is over.

use nsp_common::{
    address::{Address, Family},
    learned::{Learned, LearnedName, NAMES_PER_ADDRESS, RingEntry, RingKey, Unit},
    verdict::Lesson,
};

use crate::{atomic::add as add_word, maps};

/// Places of a full ring that are looked at for one whose time is over.
const LOOKS: u32 = 4;

/// Learns an address until `expires_s`, or prolongs it.
#[inline(always)]
pub(crate) fn teach(
    address: &Address,
    family: Family,
    unit: Unit,
    expires_s: u32,
    now_s: u32,
) -> Lesson {
    let learned = maps::names_of(address, family);
    if !learned.is_null() {
        // SAFETY: a map value, not null. Plain words, each changed in one store.
        let names = unsafe { &mut (*learned).names };
        for place in names.iter_mut() {
            if place.name == unit.name {
                if place.expires_s < expires_s {
                    maps::set_name(place, LearnedName { name: unit.name, expires_s });
                }
                return Lesson::Learned;
            }
        }
    }
    let Some(place) = place_in_ring(unit, now_s) else { return Lesson::OverQuota };
    let name = LearnedName { name: unit.name, expires_s };
    if !add_name(learned, address, family, name, place.index, now_s) {
        return Lesson::NoRoom;
    }
    let entry = RingEntry { address: *address, family: family as u32 };
    if maps::set_ring_entry(&place, &entry) != 0 {
        // Nobody would ever take it out for another.
        forget(address, family, unit.name);
        return Lesson::NoRoom;
    }
    Lesson::Learned
}

/// The next place in the unit's ring that nobody has whose time is not over; who had it is forgotten.
#[inline(always)]
fn place_in_ring(unit: Unit, now_s: u32) -> Option<RingKey> {
    let next = maps::ring(unit.name);
    if next.is_null() || unit.quota == 0 {
        return None;
    }
    for _ in 0..LOOKS {
        // SAFETY: an aligned word of a map value, not null.
        let turn = unsafe {
            let turn = *next;
            add_word(next, 1);
            turn
        };
        let key = RingKey { name: unit.name, index: (turn % u64::from(unit.quota)) as u32 };
        let Some(entry) = maps::ring_entry(&key) else { return Some(key) };
        let family = if entry.family == Family::V4 as u32 { Family::V4 } else { Family::V6 };
        if forget_if_over(&entry.address, family, unit.name, key.index, now_s) {
            return Some(key);
        }
    }
    None
}

/// Puts a name on an address, in a place that is free or whose time is over.
#[inline(always)]
fn add_name(
    learned: *mut Learned,
    address: &Address,
    family: Family,
    name: LearnedName,
    place_in_ring: u32,
    now_s: u32,
) -> bool {
    let mut learned = learned;
    if learned.is_null() {
        let mut names = [LearnedName { name: 0, expires_s: 0 }; NAMES_PER_ADDRESS];
        names[0] = name;
        let mut places = [0; NAMES_PER_ADDRESS];
        places[0] = place_in_ring;
        if maps::put_address(address, family, &Learned { names, places }) == 0 {
            return true;
        }
        // Full; or another processor was first, and there is room beside its name.
        learned = maps::names_of(address, family);
        if learned.is_null() {
            return false;
        }
    }
    // SAFETY: as above.
    let Learned { names, places } = unsafe { &mut *learned };
    for (place, at) in names.iter_mut().zip(places) {
        if place.name == 0 || place.expires_s <= now_s {
            // Before the name: with another's place it would be taken for one that is over.
            *at = place_in_ring;
            maps::set_name(place, name);
            return true;
        }
    }
    false
}

/// Stands for every place of a ring.
const ANY_PLACE: u32 = u32::MAX;

/// Whether an address does not hold this place of a name's ring any more, or its time is over, and then it
/// is forgotten.
#[inline(always)]
fn forget_if_over(
    address: &Address,
    family: Family,
    name: u32,
    place_in_ring: u32,
    now_s: u32,
) -> bool {
    let learned = maps::names_of(address, family);
    if learned.is_null() {
        return true;
    }
    // SAFETY: as above.
    let Learned { names, places } = unsafe { &mut *learned };
    for (place, at) in names.iter_mut().zip(places) {
        if place.name == name && (*at == place_in_ring || place_in_ring == ANY_PLACE) {
            if place.expires_s > now_s {
                return false;
            }
            maps::set_name(place, LearnedName { name: 0, expires_s: 0 });
        }
    }
    true
}

/// Takes a name from an address.
#[inline(always)]
pub(crate) fn forget(address: &Address, family: Family, name: u32) {
    forget_if_over(address, family, name, ANY_PLACE, u32::MAX);
}

/// Takes out an address all of whose names are over.
#[inline(always)]
pub(crate) fn sweep(address: &Address, family: Family, now_s: u32) {
    let learned = maps::names_of(address, family);
    if learned.is_null() {
        return;
    }
    // SAFETY: as above.
    let names = unsafe { &(*learned).names };
    let mut is_over = true;
    for place in names {
        is_over &= place.name == 0 || place.expires_s <= now_s;
    }
    if is_over {
        maps::remove_address(address, family);
    }
}
