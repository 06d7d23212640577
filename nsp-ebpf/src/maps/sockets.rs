//! Which process uses a socket, as its calls tell.

use aya_ebpf::{btf_maps::LruHashMap, macros::btf_map};
use nsp_common::learned::Caller;

/// The last caller, by the socket's cookie. Only sockets of the guarded network namespace are in it.
#[btf_map]
static SOCKETS: LruHashMap<u64, Caller, 32768> = LruHashMap::new();

/// Who uses a socket.
#[inline(always)]
pub(crate) fn caller(cookie: u64) -> Option<Caller> {
    super::copied!(SOCKETS, &cookie)
}

/// Notes who uses a socket.
#[inline(always)]
pub(crate) fn set_caller(cookie: u64, caller: &Caller) {
    // Only people miss it, and programs that would learn at once what they learn by TC; who has a
    // perimeter of its own is refused where its socket is not here (`send.rs`).
    let _set = SOCKETS.insert(&cookie, caller, 0);
}
