//! Addresses learned for names: which names, and until when.

/// Names that one address can stand for at a time. Shared hosting puts thousands of names on an
/// address; those a policy lists are few.
pub const NAMES_PER_ADDRESS: usize = 8;

/// One name of an address.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[repr(C)]
pub struct LearnedName {
    /// Identity of the name; zero is a free place.
    pub name: u32,
    /// Second of the coarse monotonic clock at which it ends for new conversations.
    pub expires_s: u32,
}

/// Value of the learned-address table.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[repr(C)]
pub struct Learned {
    /// The names, in no order.
    pub names: [LearnedName; NAMES_PER_ADDRESS],
}

impl LearnedName {
    /// Whether it may open a conversation now.
    #[inline(always)]
    pub const fn is_valid(&self, now_ns: u64) -> bool {
        self.name != 0 && now_ns / 1_000_000_000 < self.expires_s as u64
    }
}

crate::shared!(LearnedName, 8);
crate::shared!(Learned, 64);
