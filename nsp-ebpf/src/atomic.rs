//! Atomic addition. The BPF target declares no atomic read-modify-write to the library, although
//! every kernel since 3.18 has this instruction (`BPF_XADD`).

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
