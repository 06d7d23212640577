//! Points where the compiler forgets what it knows of memory.
//!
//! The verifier walks every way through a program and prunes those that meet in equal states. Values
//! that the compiler carries in registers across the end of parsing or deciding keep the ways apart:
//! tens of reasons times tens of header layouts exceed its million instructions. Read back from a
//! map's memory they are just unknown numbers, and the ways meet.

/// Makes the compiler take every later read from memory.
#[inline(always)]
pub(crate) fn forget() {
    // SAFETY: no instruction at all; without `nomem` it may have changed any memory.
    unsafe { core::arch::asm!("", options(nostack, preserves_flags)) }
}

/// The same value, about which the compiler knows nothing.
#[inline(always)]
pub(crate) fn opaque(mut value: usize) -> usize {
    // SAFETY: a move of the register to itself. (Without any instruction two lines of debug
    // information would share an offset, which the kernel refuses.)
    unsafe { core::arch::asm!("{0} = {0}", inout(reg) value, options(nomem, nostack)) }
    value
}

/// The value is read here, although nobody wants it yet.
#[inline(always)]
pub(crate) fn read(value: u32) {
    // SAFETY: a move of a register to itself.
    unsafe {
        core::arch::asm!("{0} = {0}", inout(reg) u64::from(value) => _, options(nomem, nostack));
    }
}

/// Zero, which no processor knows before it has read `value`: added to an address it keeps the reads there
/// behind that one, also where reads pass each other (aarch64). The verifier knows it for zero.
#[inline(always)]
pub(crate) fn zero_after(mut value: u64) -> usize {
    // SAFETY: one instruction on a register.
    unsafe { core::arch::asm!("{0} &= 0", inout(reg) value, options(nomem, nostack)) }
    value as usize
}
