//! What the kernel programs and the agent share: the packet, the decision, the layouts.
//!
//! Everything here is pure: no maps, no context, no I/O, no allocation. The kernel programs inline
//! it, the agent and the tests call it as an ordinary library, and both must come to the same
//! verdict. Start reading at [`decide`].
//!
//! **Invariant:** nothing in this crate may panic, loop without a bound that the compiler can see,
//! or look at the wall clock.
#![cfg_attr(not(any(test, feature = "user")), no_std)]
#![cfg_attr(not(feature = "user"), forbid(unsafe_code))]

pub mod address;
pub mod ageing;
#[cfg(feature = "bench")]
pub mod bench;
pub mod class;
pub mod decide;
pub mod decision;
pub mod dns;
pub mod event;
pub mod explain;
pub mod flow;
pub mod flow_filter;
pub mod flow_key;
pub mod generation;
pub mod learned;
pub mod link;
pub mod name;
pub mod net;
pub mod order;
pub mod overlay;
pub mod packet;
pub mod pinned;
pub mod ranges;
pub mod selector;
pub mod verdict;

/// Version of every layout that crosses the kernel boundary.
///
/// Raise it whenever a shared struct, a map's key or the meaning of a field changes: pinned maps of
/// another version are not adopted.
pub const LAYOUT_VERSION: u32 = 5;

/// Implements `aya::Pod` for shared structs, next to their definition.
///
/// Sound only for `#[repr(C)]` types of plain integers without implicit padding, which the size
/// assertion that goes with each use makes sure of.
macro_rules! shared {
    ($type:ty, $size:expr) => {
        const _: () = assert!(size_of::<$type>() == $size);
        // SAFETY: repr(C), integers and arrays of them only, every padding byte is a named field
        // (the size above is the sum of the fields), so any bit pattern is a value.
        #[cfg(feature = "user")]
        unsafe impl aya::Pod for $type {}

        #[cfg(feature = "user")]
        impl $type {
            /// Its bytes, as they lie in a map.
            pub fn to_bytes(&self) -> Vec<u8> {
                // SAFETY: a value of plain integers without implicit padding, see above.
                let bytes = unsafe {
                    core::slice::from_raw_parts(core::ptr::from_ref(self).cast::<u8>(), $size)
                };
                bytes.to_vec()
            }

            /// The value of these bytes, or `None` when they are too few.
            pub fn from_bytes(bytes: &[u8]) -> Option<Self> {
                let bytes = bytes.get(..$size)?;
                // SAFETY: as many bytes as the type has, any of which are a value; the read does
                // not ask for alignment.
                Some(unsafe { bytes.as_ptr().cast::<Self>().read_unaligned() })
            }
        }
    };
}
pub(crate) use shared;
