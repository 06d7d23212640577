//! Reading a hash table a part at a time (`BPF_MAP_LOOKUP_BATCH`, kernel 5.6): one system call for a
//! thousand entries, and a place to go on from that nothing in the table can move. (To go on from a key,
//! as aya does, takes two calls an entry, and begins anew when that key is gone.)
#![expect(unsafe_code, reason = "no safe interface reads a map in batches")]

use std::{
    io,
    os::fd::{AsFd as _, AsRawFd as _},
};

use aya::{
    Pod,
    maps::{HashMap, IterableMap as _, MapData},
};

/// Entries asked for at once.
const PART: usize = 1024;

const BPF_MAP_LOOKUP_BATCH: libc::c_int = 24;

/// `union bpf_attr` of the commands about batches (linux/bpf.h).
#[repr(C)]
struct Batch {
    in_batch: u64,
    out_batch: u64,
    keys: u64,
    values: u64,
    count: u32,
    map_fd: u32,
    elem_flags: u64,
    flags: u64,
}

const _: () = assert!(size_of::<Batch>() == 56);

/// A part of a table.
pub(super) struct Part<K, V> {
    pub(super) entries: Vec<(K, V)>,
    /// The bucket to go on from; `None` at the end.
    pub(super) next: Option<u32>,
}

/// The entries of a table from a bucket on (zero is the first): whole buckets, a thousand entries or less.
pub(super) fn read<K: Pod, V: Pod>(
    map: &HashMap<MapData, K, V>,
    from: u32,
) -> io::Result<Part<K, V>> {
    let mut room = PART;
    loop {
        match try_read(map, from, room) {
            // A bucket that has more.
            Err(error) if error.raw_os_error() == Some(libc::ENOSPC) => room *= 2,
            result => return result,
        }
    }
}

fn try_read<K: Pod, V: Pod>(
    map: &HashMap<MapData, K, V>,
    from: u32,
    room: usize,
) -> io::Result<Part<K, V>> {
    let mut keys: Vec<K> = Vec::with_capacity(room);
    let mut values: Vec<V> = Vec::with_capacity(room);
    let (from, mut next) = (from, 0_u32);
    let mut batch = Batch {
        in_batch: &raw const from as u64,
        out_batch: &raw mut next as u64,
        keys: keys.as_mut_ptr() as u64,
        values: values.as_mut_ptr() as u64,
        count: room as u32,
        map_fd: map.map().fd().as_fd().as_raw_fd().cast_unsigned(),
        elem_flags: 0,
        flags: 0,
    };
    // SAFETY: the attribute and all that it points to live through the call; the kernel writes at most
    // `count` keys and values, for which there is room, of the map's sizes, which are those of K and V
    // (aya compares them when it makes the map).
    let result = unsafe {
        libc::syscall(
            libc::SYS_bpf,
            BPF_MAP_LOOKUP_BATCH,
            &raw mut batch,
            size_of::<Batch>() as libc::c_uint,
        )
    };
    let error = (result < 0).then(io::Error::last_os_error);
    let is_end = match error {
        None => false,
        // The last bucket has been read: this is no error, and there may be entries.
        Some(error) if error.raw_os_error() == Some(libc::ENOENT) => true,
        Some(error) => return Err(error),
    };
    let count = batch.count as usize;
    assert!(count <= room);
    // SAFETY: the kernel has written so many of each, of plain integers.
    unsafe {
        keys.set_len(count);
        values.set_len(count);
    }
    let entries = keys.into_iter().zip(values).collect();
    Ok(Part { entries, next: (!is_end).then_some(next) })
}
