//! What must be true of any bytes at all. Everything here panics when it is not.

use std::str::FromStr as _;

use nsp_agent::policy::Fqdn;
use nsp_common::{
    dns::{MESSAGE_MAX, Progress},
    name::{NAME_LEN_MAX, NameKey},
};

use super::{
    reference::{self, Refusal},
    subject::{self, Lesson},
};
use crate::packet::dns::wire_name;

/// Pointers in one name that the product follows.
const JUMPS_MAX: usize = 16;
/// Bytes of a header: no pointer leads there.
const HEADER_LEN: u8 = 12;

/// What two readers make of an answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Reading {
    /// They read the same.
    Alike(Lesson),
    /// The other refuses it for parameters of a service that say nothing about addresses, or for a name
    /// that runs on over the pointer that led to it.
    OursAlone(Lesson),
    /// It teaches nothing.
    Refused,
}

impl Reading {
    /// What the product must learn from it.
    pub fn lesson(self) -> Option<Lesson> {
        match self {
            Self::Alike(lesson) | Self::OursAlone(lesson) => Some(lesson),
            Self::Refused => None,
        }
    }
}

/// Reads an answer with both readers.
///
/// # Panics
/// When they disagree, or the product's leaves its bounds.
pub fn answer(bytes: &[u8]) -> Reading {
    let ours = subject::read(bytes);
    if let Ok(lesson) = &ours {
        let key = &lesson.key;
        assert!((1..=NAME_LEN_MAX).contains(&key.len()) && key.last() == Some(&0), "{key:02x?}");
        // The root is no name that a policy can have.
        assert_eq!(NameKey::text(key).is_some(), key.len() > 1, "{key:02x?}");
    }
    // It would not be copied.
    if bytes.len() > MESSAGE_MAX {
        assert!(ours.is_err());
        return Reading::Refused;
    }
    match (reference::read(bytes), ours) {
        (Ok(lesson), Ok(ours)) => {
            assert_eq!(ours, lesson, "ours (left), the other's (right): {bytes:02x?}");
            Reading::Alike(ours)
        }
        (Err(Refusal::Service | Refusal::Overlap), Ok(ours)) => Reading::OursAlone(ours),
        (Err(Refusal::Broken), Ok(ours)) => {
            panic!("the other reader refuses what teaches us {ours:?}: {bytes:02x?}")
        }
        (Err(_), Err(_)) => Reading::Refused,
        (Ok(_), Err(why)) if is_stricter(bytes, why) => Reading::Refused,
        (Ok(lesson), Err(why)) => {
            panic!("{why:?}, and the other reader has {lesson:?}: {bytes:02x?}")
        }
    }
}

/// Whether the message has what the product refuses on purpose and the other reader admits.
fn is_stricter(bytes: &[u8], why: Progress) -> bool {
    let pointers = || bytes.windows(2).filter(|it| it[0] >= 0xc0);
    match why {
        // What lies in the header is no name, whatever it looks like; and a name has only so many
        // pointers.
        Progress::BadName => {
            pointers().any(|it| it[0] == 0xc0 && it[1] < HEADER_LEN)
                || pointers().count() > JUMPS_MAX
        }
        // So long a walk is given up.
        Progress::Going => true,
        _ => false,
    }
}

/// Takes bytes for a name on the wire, and for text: of a key, and of a policy.
///
/// # Panics
/// When a name does not come out as it went in.
pub fn name(bytes: &[u8]) {
    on_the_wire(bytes);
    if let Ok(text) = str::from_utf8(bytes) {
        as_text(text);
        in_a_policy(text);
    }
}

fn on_the_wire(bytes: &[u8]) {
    let Ok(lesson) = subject::read(&asked(bytes)) else { return };
    let Some(text) = NameKey::text(&lesson.key) else {
        assert_eq!(lesson.key, [0], "only the root has no text");
        return;
    };
    assert!(text.bytes().all(|it| it.is_ascii_graphic()), "{text:?}");
    // What is escaped is not text of a policy.
    if !text.contains('\\') {
        let key = NameKey::of(&text, false).unwrap_or_else(|| panic!("{text} is no name"));
        assert_eq!(key.bytes[..usize::from(key.length)], lesson.key, "{text}");
    }
}

fn as_text(text: &str) {
    for below in [false, true] {
        let Some(key) = NameKey::of(text, below) else { continue };
        let length = usize::from(key.length);
        assert!(length <= NAME_LEN_MAX, "{text}");
        assert!(key.bytes[length..].iter().all(|it| *it == 0), "{text}");
        // The kernel writes keys of names, and none of what is below one.
        if below {
            continue;
        }
        let shown = NameKey::text(&key.bytes[..length]).unwrap_or_else(|| panic!("{text}"));
        if text.bytes().all(|it| it.is_ascii_graphic() && it != b'\\') {
            assert_eq!(shown, text);
        }
    }
    // As a program would ask for it.
    if let Some(key) = NameKey::of(&text.to_ascii_lowercase(), false) {
        let lesson = subject::read(&asked(&wire_name(text))).unwrap_or_else(|why| {
            panic!("{text:?} has a key and cannot be asked for: {why:?}");
        });
        assert_eq!(lesson.key, key.bytes[..usize::from(key.length)], "{text}");
    }
}

fn in_a_policy(text: &str) {
    let Ok(fqdn) = Fqdn::from_str(text) else { return };
    let shown = fqdn.to_string();
    assert_eq!(shown.parse::<Fqdn>().ok().as_ref(), Some(&fqdn), "{text:?} is shown as {shown:?}");
    let base = fqdn.base();
    assert!(!base.bytes().any(|it| it.is_ascii_uppercase()), "{base:?}");
    assert!(NameKey::of(base, fqdn.is_wildcard()).is_some(), "{base:?} has no key");
}

/// A question about the name that these bytes are on the wire.
fn asked(name: &[u8]) -> Vec<u8> {
    [&[0, 7, 1, 0, 0, 1, 0, 0, 0, 0, 0, 0][..], name, &[0, 1, 0, 1]].concat()
}
