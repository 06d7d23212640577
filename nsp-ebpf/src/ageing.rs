//! Takes out conversations that are over, by a timer of the kernel: also when the agent is stuck, and
//! when it is dead, as long as somebody holds the map that the timer is in.
//!
//! The timer goes off ten times a second or more and looks at the next part of the places of proven
//! conversations, so that all are seen in half a minute and no processor is held up
//! (`nsp_common::ageing` has the pace). One timer for all, made when the programs are loaded: one for
//! each conversation would have to be allocated when a packet proves it, and the kernel refuses a good
//! part of such allocations (6.18, `kmalloc_nolock`).

use aya_ebpf::{
    Global, bindings,
    btf_maps::Array,
    cty::c_void,
    helpers::{bpf_ktime_get_coarse_ns, bpf_ktime_get_ns, generated},
    macros::btf_map,
};
use nsp_common::ageing::{Aged, Pace};

use crate::maps;

/// Places of the table of IPv4. The agent sets it with the size of the maps.
#[unsafe(no_mangle)]
static PLACES_COUNT_V4: Global<u32> = Global::new(262_144);
#[unsafe(no_mangle)]
static PLACES_COUNT_V6: Global<u32> = Global::new(65_536);

const USUAL: Pace = Pace::of(262_144, 65_536);

/// Places of IPv4 that are looked at in one go. The agent sets it with their number.
#[unsafe(no_mangle)]
static PLACES_A_TICK_V4: Global<u32> = Global::new(USUAL.v4);
#[unsafe(no_mangle)]
static PLACES_A_TICK_V6: Global<u32> = Global::new(USUAL.v6);
/// Time from one go to the next.
#[unsafe(no_mangle)]
static TICK_MS: Global<u32> = Global::new(USUAL.tick_ms);

/// The timer, and where it goes on.
#[repr(C)]
struct Clock {
    timer: bindings::bpf_timer,
    next_v4: u32,
    next_v6: u32,
}

#[btf_map]
static CLOCK: Array<Clock, 1> = Array::new();

/// What the timer has done, for who asks how it does.
#[btf_map]
static AGED: Array<Aged, 1> = Array::new();

const CLOCK_MONOTONIC: u64 = 1;
/// `-EINVAL`
const INVALID: i32 = -22;
/// `-EBUSY`
const BUSY: i64 = -16;

/// What a walk over a part of the places needs.
#[repr(C)]
struct Walk {
    first: u32,
    count: u32,
    now_ns: u64,
}

/// Frees all places and starts the timer; to be called until it answers zero, and then no more by this agent.
/// Where an agent before has made the timer, places are as they are, and the timer goes on by this program: its
/// own would else hold the one of the agent before. Answers the kernel's error number when it has no memory for
/// the timer now.
#[inline(always)]
pub(crate) fn begin() -> i32 {
    let Some(clock) = CLOCK.get_ptr_mut(0) else { return INVALID };
    // SAFETY: a map value, not null; the kernel checks the rest itself.
    unsafe {
        let timer = &raw mut (*clock).timer;
        let map = (&raw const CLOCK).cast_mut().cast();
        let mut error = generated::bpf_timer_init(timer, map, CLOCK_MONOTONIC);
        if error == 0 {
            let nothing = core::ptr::null_mut();
            generated::bpf_loop(PLACES_COUNT_V4.load(), open_v4 as *mut c_void, nothing, 0);
            generated::bpf_loop(PLACES_COUNT_V6.load(), open_v6 as *mut c_void, nothing, 0);
        }
        if error == 0 || error == BUSY {
            error = generated::bpf_timer_set_callback(timer, tick as *mut c_void);
        }
        if error == 0 {
            error = generated::bpf_timer_start(timer, tick_ns(), 0);
        }
        error as i32
    }
}

extern "C" fn open_v4(index: u32, _nothing: *mut c_void) -> i64 {
    maps::open_place_v4(index);
    0
}

extern "C" fn open_v6(index: u32, _nothing: *mut c_void) -> i64 {
    maps::open_place_v6(index);
    0
}

/// Time from one go to the next.
#[inline(always)]
fn tick_ns() -> u64 {
    u64::from(TICK_MS.load()) * 1_000_000
}

extern "C" fn tick(_map: *mut c_void, _key: *mut u32, clock: *mut Clock) -> i64 {
    // SAFETY: helpers without arguments; and the kernel calls with the map's one value, and never twice
    // at once.
    unsafe {
        let begun_ns = bpf_ktime_get_ns();
        let (v4, v6) = (PLACES_COUNT_V4.load(), PLACES_COUNT_V6.load());
        let parts = (PLACES_A_TICK_V4.load(), PLACES_A_TICK_V6.load());
        (*clock).next_v4 = walk((*clock).next_v4, v4, parts.0, look_v4 as *mut c_void);
        (*clock).next_v6 = walk((*clock).next_v6, v6, parts.1, look_v6 as *mut c_void);
        note(bpf_ktime_get_ns().saturating_sub(begun_ns));
        let _started = generated::bpf_timer_start(&raw mut (*clock).timer, tick_ns(), 0);
    }
    0
}

#[inline(always)]
fn note(took_ns: u64) {
    let Some(aged) = AGED.get_ptr_mut(0) else { return };
    // SAFETY: a map value, not null, that only the timer writes, never twice at once.
    unsafe {
        (*aged).ticks += 1;
        (*aged).spent_ns += took_ns;
        (*aged).longest_ns = (*aged).longest_ns.max(took_ns);
    }
}

/// Looks at the next `part` of `count` places; answers where to go on.
#[inline(always)]
fn walk(first: u32, count: u32, part: u32, look: *mut c_void) -> u32 {
    // SAFETY: a helper without arguments; and one that calls `look` with the walk, which lives.
    unsafe {
        let mut walk = Walk { first, count, now_ns: bpf_ktime_get_coarse_ns() };
        generated::bpf_loop(part, look, (&raw mut walk).cast(), 0);
    }
    (first + part) % count.max(1)
}

extern "C" fn look_v4(index: u32, walk: *mut Walk) -> i64 {
    // SAFETY: the walk that was given to bpf_loop.
    let Walk { first, count, now_ns } = unsafe { &*walk };
    maps::age_v4((first + index) % (*count).max(1), *now_ns);
    0
}

extern "C" fn look_v6(index: u32, walk: *mut Walk) -> i64 {
    // SAFETY: as above.
    let Walk { first, count, now_ns } = unsafe { &*walk };
    maps::age_v6((first + index) % (*count).max(1), *now_ns);
    0
}
