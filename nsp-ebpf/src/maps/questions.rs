//! Questions that wait for their answers, a quota of them for each cgroup, and who resolves for others.

use aya_ebpf::{
    btf_maps::{HashMap, LruHashMap, PerCpuArray},
    macros::btf_map,
};
use nsp_common::{
    dns::{Message, Walk},
    flow_key::FlowKey,
    learned::{Asked, AskerPlace, Naming, QUESTIONS_PER_CGROUP, QuestionKey, Wanted},
    name::BackwardKey,
};

use crate::atomic::add as add_word;

/// Questions to trusted resolvers that wait for their answers.
#[btf_map]
static QUESTIONS: LruHashMap<QuestionKey, Asked, 32768> = LruHashMap::new();

/// The next place of each cgroup that asks.
#[btf_map]
static ASKERS: LruHashMap<u64, u64, 1024> = LruHashMap::new();

/// Which question has which place of its asker: who asks without end forgets its own questions.
#[btf_map]
static ASKER_PLACES: LruHashMap<AskerPlace, QuestionKey, 32768> = LruHashMap::new();

/// Cgroups whose programs resolve names for others: bits of [`nsp_common::link::resolving`].
#[btf_map]
static RESOLVING: HashMap<u64, u32, 256> = HashMap::new();

/// Where in the stream of a resolver's answers by TCP the next message begins. What lies elsewhere may be
/// the inside of a message, which who owns a zone chooses.
#[btf_map]
static STREAMS: LruHashMap<FlowKey, u32, 4096> = LruHashMap::new();

/// What a program works on while it reads a message.
#[repr(C)]
pub(crate) struct Reading {
    /// The message.
    pub(crate) message: Message,
    /// The key of the asked name.
    pub(crate) key: BackwardKey,
    /// How far it is read.
    pub(crate) walk: Walk,
    /// The question that it is, or answers.
    pub(crate) question: QuestionKey,
    /// What is remembered of the question.
    pub(crate) asked: Asked,
    /// The place of the question in its asker's quota.
    pub(crate) place: AskerPlace,
    /// What its addresses are called.
    pub(crate) naming: Naming,
    /// What the agent is to ask for.
    pub(crate) wanted: Wanted,
}

/// One a hook, as [`super::work`].
#[btf_map]
static READINGS: PerCpuArray<Reading, 6> = PerCpuArray::new();

/// The place of a hook, as it is.
#[inline(always)]
pub(crate) fn reading(hook: u32) -> Option<&'static mut Reading> {
    let pointer = READINGS.get_ptr_mut(hook)?;
    // SAFETY: per-processor memory of the map's value type; programs of one hook do not interrupt
    // each other, so nobody else holds it.
    Some(unsafe { &mut *pointer })
}

/// Remembers the question of a reading, which `cgroup` asked. Beyond the cgroup's quota its oldest one
/// is forgotten.
#[inline(always)]
pub(crate) fn ask(reading: &mut Reading, cgroup: u64) -> bool {
    reading.place = AskerPlace { cgroup, index: turn(cgroup) % QUESTIONS_PER_CGROUP, _pad: 0 };
    // SAFETY: the key is this processor's; the value is used at once (see copied!).
    if let Some(oldest) = unsafe { ASKER_PLACES.get(&reading.place) } {
        // It may be answered long since.
        let _gone = QUESTIONS.remove(oldest);
    }
    // At worst the question is in nobody's quota.
    let _placed = ASKER_PLACES.insert(&reading.place, &reading.question, 0);
    QUESTIONS.insert(&reading.question, &reading.asked, 0).is_ok()
}

/// Counts the questions of a cgroup.
#[inline(always)]
fn turn(cgroup: u64) -> u32 {
    if let Some(next) = ASKERS.get_ptr_mut(&cgroup) {
        // SAFETY: an aligned word of a map value, not null.
        return unsafe {
            let turn = *next;
            add_word(next, 1);
            turn as u32
        };
    }
    let _put = ASKERS.insert(&cgroup, &1, 0);
    0
}

/// What is remembered of a question.
#[inline(always)]
pub(crate) fn asked(key: &QuestionKey) -> Option<Asked> {
    super::copied!(QUESTIONS, key)
}

/// The question is answered: true for the first to say so.
#[inline(always)]
pub(crate) fn answered(key: &QuestionKey) -> bool {
    QUESTIONS.remove(key).is_ok()
}

/// Where the next message of a stream begins, as a sequence number.
#[inline(always)]
pub(crate) fn stream(key: &FlowKey) -> Option<u32> {
    super::copied!(STREAMS, key)
}

/// The next message of a stream begins there.
#[inline(always)]
pub(crate) fn set_stream(key: &FlowKey, next: u32) {
    // Without it the stream is not read.
    let _set = STREAMS.insert(key, &next, 0);
}

/// What a cgroup resolves for others; under zero, what holds for all.
#[inline(always)]
pub(crate) fn resolving(cgroup: u64) -> u32 {
    super::copied!(RESOLVING, &cgroup).unwrap_or(0)
}
