//! Atomic addition and exchange. The BPF target declares no atomic read-modify-write to the library,
//! although every kernel since 3.18 has the one instruction (`BPF_XADD`) and since 5.12 the other
//! (`BPF_XCHG`).

/// Adds `value` to the word at `pointer`, once for all processors.
///
/// # Safety
/// `pointer` must be an aligned word of a map value that is valid for writes.
#[inline(always)]
pub(crate) unsafe fn add(pointer: *mut u64, value: u64) {
    // SAFETY: the caller's; the instruction touches nothing but the word.
    unsafe {
        core::arch::asm!(
            "lock *(u64 *)({pointer} + 0) += {value}",
            pointer = in(reg) pointer,
            value = in(reg) value,
            options(nostack),
        );
    }
}

/// Sets bits of the word at `pointer` (`BPF_OR`, kernel 5.12).
///
/// # Safety
/// As [`add`].
#[inline(always)]
pub(crate) unsafe fn or(pointer: *mut u64, bits: u64) {
    // SAFETY: the caller's; the instruction touches nothing but the word.
    unsafe {
        core::arch::asm!(
            "lock *(u64 *)({pointer} + 0) |= {bits}",
            pointer = in(reg) pointer,
            bits = in(reg) bits,
            options(nostack),
        );
    }
}

/// Puts `value` into the word at `pointer`; what was there. Whoever reads it sees all that was written
/// before.
///
/// # Safety
/// `pointer` must be an aligned word of a map value that is valid for reads and writes.
#[inline(always)]
pub(crate) unsafe fn exchange(pointer: *mut u32, value: u32) -> u32 {
    let mut word = u64::from(value);
    // Lints are run for the machine at hand, which has no registers of these names.
    #[cfg(target_arch = "bpf")]
    // SAFETY: the caller's; the instruction touches nothing but the word. (Registers by name: to the
    // compiler they have 64 bits only, to the linker, which writes the code, the halves have names too.)
    unsafe {
        core::arch::asm!(
            "w2 = xchg32_32(r1 + 0, w2)",
            in("r1") pointer,
            inout("r2") word,
            options(nostack),
        );
    }
    #[cfg(not(target_arch = "bpf"))]
    {
        // SAFETY: the caller's.
        word = u64::from(unsafe { pointer.replace(word as u32) });
    }
    word as u32
}
