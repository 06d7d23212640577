//! Which process uses a socket, as its calls tell.

use aya_ebpf::{btf_maps::LruHashMap, macros::btf_map};
use nsp_common::{event::Record, learned::Caller};

/// The last caller, by the socket's cookie. Only sockets of the guarded network namespace are in it.
#[btf_map]
static SOCKETS: LruHashMap<u64, Caller, 32768> = LruHashMap::new();

/// Who uses a socket.
#[inline(always)]
pub(crate) fn caller(cookie: u64) -> Option<Caller> {
    super::copied!(SOCKETS, &cookie)
}

/// Writes who uses a socket into a record, from one map's memory to the other's: the stack has no room.
#[inline(always)]
pub(crate) fn sign(cookie: u64, record: &mut Record) {
    let Some(caller) = SOCKETS.get_ptr(&cookie) else { return };
    // SAFETY: a map value, not null; plain integers (see copied!).
    unsafe {
        record.pid = (*caller).pid;
        record.cgroup = (*caller).cgroup;
        let from: *const u64 = (&raw const (*caller).comm).cast();
        let to: *mut u64 = (&raw mut record.comm).cast();
        to.write_volatile(from.read_volatile());
        to.add(1).write_volatile(from.add(1).read_volatile());
    }
}

/// Notes who uses a socket.
#[inline(always)]
pub(crate) fn set_caller(cookie: u64, caller: &Caller) {
    // Only people miss it, and programs that would learn at once what they learn by TC; who has a
    // perimeter of its own is refused where its socket is not here (`send.rs`).
    let _set = SOCKETS.insert(&cookie, caller, 0);
}
