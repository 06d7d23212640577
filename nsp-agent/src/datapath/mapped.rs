//! Array maps in memory: a generation is written by copying, not by a system call an entry.
//!
//! The agent's only unsafe file. A map made with `BPF_F_MMAPABLE` (kernel 5.5) is mapped whole and
//! shared; kernel programs read it while the agent writes, so it is only ever touched through raw
//! pointers and atomics, never through references.
#![expect(unsafe_code, reason = "mapping kernel memory, which no safe interface offers")]

use std::{
    io,
    os::fd::AsFd,
    ptr::NonNull,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
};

use aya::{
    Ebpf, Pod,
    maps::{Array, IterableMap as _, Map, MapData},
};
use rustix::mm::{MapFlags, ProtFlags, mmap, munmap};

use super::DatapathError;

/// One array map, mapped.
pub(super) struct Mapped {
    memory: NonNull<u8>,
    length: usize,
    stride: usize,
    entries: usize,
    /// Keeps the map alive beside the mapping.
    _map: Map,
}

// SAFETY: the memory belongs to this value and to the kernel; every write goes through `&mut self`
// or an atomic.
unsafe impl Send for Mapped {}
// SAFETY: by `&self` there are atomics only.
unsafe impl Sync for Mapped {}

impl Mapped {
    /// Maps the array `name` of `entries` values of `value_size` bytes.
    pub(super) fn new(
        ebpf: &mut Ebpf,
        name: &'static str,
        entries: usize,
        value_size: usize,
    ) -> Result<Self, DatapathError> {
        let map = ebpf.take_map(name).ok_or_else(|| DatapathError::Mmap {
            map: name,
            source: io::Error::new(io::ErrorKind::NotFound, "the object has no such map"),
        })?;
        Self::over(map, name, entries, value_size)
    }

    /// Maps an array that others hold as well.
    pub(super) fn same<T: Pod>(
        array: &Array<MapData, T>,
        name: &'static str,
    ) -> Result<Arc<Self>, DatapathError> {
        let failed = |source| DatapathError::Mmap { map: name, source };
        let fd = array.map().fd().as_fd().try_clone_to_owned().map_err(failed)?;
        let map = MapData::from_fd(fd).and_then(Map::from_map_data);
        let map =
            map.map_err(|source| DatapathError::Map { operation: "open", map: name, source })?;
        Self::over(map, name, array.len() as usize, size_of::<T>()).map(Arc::new)
    }

    /// Maps an array that was found elsewhere.
    pub(super) fn over(
        map: Map,
        name: &'static str,
        entries: usize,
        value_size: usize,
    ) -> Result<Self, DatapathError> {
        let failed = |source| DatapathError::Mmap { map: name, source };
        let Map::Array(data) = &map else {
            return Err(failed(io::Error::new(io::ErrorKind::InvalidInput, "not an array")));
        };
        // The kernel rounds each value up to eight bytes and the whole to pages (arraymap.c).
        let stride = value_size.next_multiple_of(8);
        let length = (stride * entries).next_multiple_of(rustix::param::page_size());
        // SAFETY: a fresh shared mapping at an address of the kernel's choice; it is not file
        // memory that somebody could truncate.
        let memory = unsafe {
            mmap(
                std::ptr::null_mut(),
                length,
                ProtFlags::READ | ProtFlags::WRITE,
                MapFlags::SHARED,
                data.fd().as_fd(),
                0,
            )
        }
        .map_err(|error| failed(error.into()))?;
        let memory = NonNull::new(memory.cast::<u8>())
            .ok_or_else(|| failed(io::Error::other("mapped at address zero")))?;
        Ok(Self { memory, length, stride, entries, _map: map })
    }

    /// Copies values into consecutive entries from `first`.
    ///
    /// # Panics
    /// When they do not fit: sizes are checked before a generation is written.
    pub(super) fn write<T: Pod>(&mut self, first: usize, values: &[T]) {
        assert!(size_of::<T>() <= self.stride && first + values.len() <= self.entries);
        for (index, value) in values.iter().enumerate() {
            // SAFETY: inside the mapping by the assertion; entries are aligned to eight bytes, and
            // shared types to no more.
            unsafe {
                self.memory.as_ptr().add((first + index) * self.stride).cast::<T>().write(*value);
            }
        }
    }

    /// Writes zeros into consecutive entries.
    pub(super) fn clear(&mut self, first: usize, count: usize) {
        assert!(first + count <= self.entries);
        // SAFETY: inside the mapping by the assertion.
        unsafe {
            self.memory.as_ptr().add(first * self.stride).write_bytes(0, count * self.stride);
        }
    }

    /// Writes zeros into bytes of an entry, from its byte `at`.
    pub(super) fn clear_bytes(&mut self, entry: usize, at: usize, count: usize) {
        assert!(entry < self.entries && at + count <= self.stride);
        // SAFETY: inside the entry by the assertion.
        unsafe { self.memory.as_ptr().add(entry * self.stride + at).write_bytes(0, count) };
    }

    /// Copies values side by side into one large entry, from its element `at`.
    pub(super) fn write_into<T: Pod>(&mut self, entry: usize, at: usize, values: &[T]) {
        assert!(entry < self.entries && (at + values.len()) * size_of::<T>() <= self.stride);
        // SAFETY: inside the entry by the assertion; source and mapping do not overlap.
        unsafe {
            let start = self.memory.as_ptr().add(entry * self.stride).cast::<T>().add(at);
            std::ptr::copy_nonoverlapping(values.as_ptr(), start, values.len());
        }
    }

    /// One word of an entry, as the kernel programs see it.
    pub(super) fn word(&self, entry: usize, word: usize) -> &AtomicU64 {
        assert!(entry < self.entries && word * 8 < self.stride);
        // SAFETY: inside the mapping and aligned to eight bytes; it lives as long as `self`. This side writes
        // it through atomics, or by `clear` when nobody here holds a reference.
        unsafe {
            AtomicU64::from_ptr(self.memory.as_ptr().add(entry * self.stride + word * 8).cast())
        }
    }

    /// Stores a word so that everything written before it is seen by who reads it.
    pub(super) fn store(&self, entry: usize, word: usize, value: u64) {
        self.word(entry, word).store(value, Ordering::Release);
    }
}

impl Drop for Mapped {
    fn drop(&mut self) {
        // SAFETY: the mapping made in `new`, whole, and nothing refers to it any more.
        let unmapped = unsafe { munmap(self.memory.as_ptr().cast(), self.length) };
        debug_assert!(unmapped.is_ok());
    }
}
