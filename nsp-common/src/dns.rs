//! DNS messages, one byte or one record a step: questions that go out, and answers that come in.
//!
//! The kernel programs run [`step`] under `bpf_loop`, tests in an ordinary loop. A message is copied
//! first, up to [`MESSAGE_MAX`] bytes; every index is masked, every pointer leads backwards, and
//! every walk has an end: after [`STEPS_MAX`] steps, of which real answers need a tenth, it is given up.
//!
//! What counts of an answer (RFC 1034 3.7, 3.6.2): the addresses (A, AAAA) of the name that was asked
//! for, or of a name that a chain of CNAMEs leads to from there, in the order of the records; and the
//! address hints of SVCB and HTTPS records of the asked name (RFC 9460). Other records are passed
//! over. Nothing is known before the last record is read: a message that breaks off teaches nothing.

mod name;
mod records;

use crate::name::{BACKWARD_END, BackwardKey};

/// Longest message that is read.
pub const MESSAGE_MAX: usize = 2048;
/// Steps of a walk. Names that pointers lead to are read byte by byte again, so that a message made for
/// it could take fifty thousand.
pub const STEPS_MAX: u32 = 8192;
/// Names in a chain of CNAMEs, the asked one included.
pub const CHAIN_MAX: usize = 16;
/// Addresses of one answer.
pub const ADDRESSES_MAX: usize = 64;
/// Pointers in one name.
const JUMPS_MAX: u8 = 16;
const HEADER_LEN: u16 = 12;

/// Record types.
pub mod kind {
    /// An IPv4 address.
    pub const A: u16 = 1;
    /// Another name for the owner.
    pub const CNAME: u16 = 5;
    /// An IPv6 address.
    pub const AAAA: u16 = 28;
    /// A service's parameters (RFC 9460).
    pub const SVCB: u16 = 64;
    /// The same for HTTP.
    pub const HTTPS: u16 = 65;
}

/// A message, copied.
pub type Message = [u8; MESSAGE_MAX];

/// How a walk stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum Progress {
    /// Another step.
    Going = 0,
    /// All that was wanted is read.
    Done = 1,
    /// It breaks off.
    Truncated = 2,
    /// A name has a bad label, a pointer that does not lead backwards, or no end.
    BadName = 3,
    /// A record whose length does not fit what it holds.
    BadRecord = 4,
    /// More CNAMEs or addresses than are followed.
    TooMany = 5,
}

/// What is read next.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
enum Phase {
    QuestionName = 0,
    QuestionEnd = 1,
    OwnerName = 2,
    Record = 3,
    AliasName = 4,
    AliasEnd = 5,
    TargetName = 6,
    Parameter = 7,
    Hint = 8,
}

/// One address of an answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(C)]
pub struct Found {
    /// As in [`crate::address::Address`]: IPv4 in its mapped form.
    pub octets: [u8; 16],
    /// Seconds; a number with the highest bit counts as zero (RFC 2181 8).
    pub ttl_s: u32,
    /// [`crate::address::Family`] as a number.
    pub family: u8,
    /// Zero.
    pub _pad: [u8; 3],
}

/// A message that is being read.
#[derive(Clone, Copy, Debug)]
#[repr(C)]
pub struct Walk {
    /// Hash of the name being read, lower-cased.
    hash: u64,
    /// Names that count: the asked one, and what CNAMEs lead to.
    chain: [u64; CHAIN_MAX],
    /// Where each of them stands.
    chain_at: [u16; CHAIN_MAX],
    /// Bytes of the message.
    length: u16,
    /// The next byte.
    at: u16,
    /// Where to go on after a name with pointers; zero when there was none yet.
    resume: u16,
    /// Pointers lead to before this.
    floor: u16,
    /// Bytes of the name being read.
    name_len: u16,
    /// Where the next byte of the key goes.
    key_at: u16,
    /// Where the key of the asked name begins in its [`BackwardKey`].
    pub key_start: u16,
    /// The asked type.
    pub question_type: u16,
    /// Records of the answer not read yet.
    records_left: u16,
    /// End of the record's data.
    record_end: u16,
    /// End of the parameter.
    parameter_end: u16,
    /// The record's time to live.
    ttl_s: u32,
    label_left: u8,
    jumps: u8,
    chain_len: u8,
    phase: u8,
    /// [`Progress`] as a number.
    pub progress: u8,
    /// The parameter's addresses have so many bytes.
    hint_len: u8,
    /// How many of `found` there are.
    pub found_len: u8,
    /// Zero.
    pub _pad: u8,
    /// The addresses.
    pub found: [Found; ADDRESSES_MAX],
}

/// The fixed part of a message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Header {
    /// Transaction id.
    pub id: u16,
    /// An answer.
    pub is_response: bool,
    /// An ordinary question, or the answer to one.
    pub is_query: bool,
    /// It did not fit and was cut off.
    pub is_truncated: bool,
    /// Zero is "no error".
    pub code: u8,
    /// Questions.
    pub questions: u16,
    /// Records of the answer.
    pub answers: u16,
}

impl Header {
    /// Reads the header; `None` when the message is too short for one.
    #[inline(always)]
    pub const fn of(message: &Message, length: u16) -> Option<Self> {
        if length < HEADER_LEN {
            return None;
        }
        Some(Self {
            id: be16(message, 0),
            is_response: message[2] & 0x80 != 0,
            is_query: message[2] & 0x78 == 0,
            is_truncated: message[2] & 0x02 != 0,
            code: message[3] & 0x0f,
            questions: be16(message, 4),
            answers: be16(message, 6),
        })
    }
}

impl Walk {
    /// Nothing is read.
    #[cfg(feature = "user")]
    pub const EMPTY: Self = Self {
        hash: 0,
        chain: [0; CHAIN_MAX],
        chain_at: [0; CHAIN_MAX],
        length: 0,
        at: 0,
        resume: 0,
        floor: 0,
        name_len: 0,
        key_at: 0,
        key_start: 0,
        question_type: 0,
        records_left: 0,
        record_end: 0,
        parameter_end: 0,
        ttl_s: 0,
        label_left: 0,
        jumps: 0,
        chain_len: 0,
        phase: 0,
        progress: 0,
        hint_len: 0,
        found_len: 0,
        _pad: 0,
        found: [Found { octets: [0; 16], ttl_s: 0, family: 0, _pad: [0; 3] }; ADDRESSES_MAX],
    };

    /// Before the first step over a message of `length` bytes with one question; `answers` records
    /// are read behind it, none to read the question alone.
    #[inline(always)]
    pub fn begin(&mut self, length: u16, answers: u16) {
        self.length = length;
        self.at = HEADER_LEN;
        self.floor = HEADER_LEN;
        self.resume = 0;
        self.hash = HASH_SEED;
        self.name_len = 0;
        self.label_left = 0;
        self.jumps = 0;
        self.key_at = BACKWARD_END;
        self.key_start = BACKWARD_END;
        self.question_type = 0;
        self.records_left = answers;
        self.chain_len = 0;
        self.found_len = 0;
        self.phase = Phase::QuestionName as u8;
        self.progress = Progress::Going as u8;
    }

    /// Hash of the asked name.
    #[inline(always)]
    pub const fn question_hash(&self) -> u64 {
        self.chain[0]
    }

    /// Bytes of the key of the asked name, its zero included.
    #[inline(always)]
    pub const fn key_len(&self) -> u16 {
        BACKWARD_END + 1 - self.key_start
    }

    /// Whether all was read.
    #[inline(always)]
    pub const fn is_done(&self) -> bool {
        self.progress == Progress::Done as u8
    }

    /// Whether it was given up because of more addresses or aliases than are followed. The question was
    /// read.
    #[inline(always)]
    pub const fn is_too_much(&self) -> bool {
        self.progress == Progress::TooMany as u8
    }

    #[inline(always)]
    fn ends(&mut self, progress: Progress) {
        self.progress = progress as u8;
    }

    /// Goes on with a name that begins here; pointers lead to before it.
    #[inline(always)]
    fn expect_name(&mut self, phase: Phase) {
        self.phase = phase as u8;
        self.floor = self.at;
        self.resume = 0;
        self.hash = HASH_SEED;
        self.name_len = 0;
        self.label_left = 0;
        self.jumps = 0;
    }
}

const HASH_SEED: u64 = 0xcbf2_9ce4_8422_2325;

/// The hash after one more byte (FNV-1a). Who may answer can put any name there, so nothing hangs on
/// its strength.
#[inline(always)]
const fn mixed(hash: u64, byte: u8) -> u64 {
    (hash ^ byte as u64).wrapping_mul(0x0000_0100_0000_01b3)
}

/// A byte of the message; any byte beyond its room.
#[inline(always)]
const fn byte(message: &Message, at: u16) -> u8 {
    message[at as usize & (MESSAGE_MAX - 1)]
}

#[inline(always)]
const fn be16(message: &Message, at: u16) -> u16 {
    u16::from_be_bytes([byte(message, at), byte(message, at + 1)])
}

/// One step. True while there is more to do.
#[inline(always)]
pub fn step(message: &Message, key: &mut BackwardKey, walk: &mut Walk) -> bool {
    if walk.progress != Progress::Going as u8 {
        return false;
    }
    match walk.phase {
        phase if phase == Phase::QuestionEnd as u8 => records::question_end(message, walk),
        phase if phase == Phase::Record as u8 => records::record(message, walk),
        phase if phase == Phase::AliasEnd as u8 => records::alias_end(walk),
        phase if phase == Phase::Parameter as u8 => records::parameter(message, walk),
        phase if phase == Phase::Hint as u8 => records::hint(message, walk),
        _ => name::step(message, key, walk),
    }
    walk.progress == Progress::Going as u8
}

/// Reads a whole message.
#[cfg(feature = "user")]
pub fn read(message: &Message, key: &mut BackwardKey, walk: &mut Walk) {
    let mut left = STEPS_MAX;
    while left > 0 && step(message, key, walk) {
        left -= 1;
    }
}

crate::shared!(Found, 24);
