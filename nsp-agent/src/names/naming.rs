//! Names as the kernel remembers them of addresses.

use nsp_common::{
    learned::{Naming, Source},
    name::NameKey,
};

/// The name as it was asked for; `None` where the kernel's bytes are none.
pub fn text(naming: &Naming) -> Option<String> {
    NameKey::text(naming.key.get(..usize::from(naming.length))?)
}

/// Where an address came from, in a word.
pub fn source(number: u8) -> &'static str {
    match number {
        it if it == Source::Answer as u8 => "answer",
        it if it == Source::Stub as u8 => "stub",
        it if it == Source::Agent as u8 => "agent",
        _ => "unknown",
    }
}

/// What to remember of a name that the agent asked for itself; `None` when it has no key.
pub fn by_agent(name: &str, unit: u32, now_s: u32) -> Option<Naming> {
    remembered(name, unit, Source::Agent as u8, now_s)
}

/// What to remember of a name that was learned at `at_s`. Not of one that is shown with escapes: its key
/// is another than its text's.
pub fn remembered(name: &str, unit: u32, source: u8, at_s: u32) -> Option<Naming> {
    let NameKey { bytes, length } = NameKey::of(name, false).filter(|_| !name.contains('\\'))?;
    Some(Naming { at_s, unit, length, source, _pad: 0, key: bytes })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_remembered_is_read_back() {
        let naming = by_agent("a_b.example.com", 7, 100).unwrap();
        assert_eq!(text(&naming).as_deref(), Some("a_b.example.com"));
        assert_eq!((naming.at_s, naming.unit, source(naming.source)), (100, 7, "agent"));
        assert!(by_agent("a\\.b.example.com", 7, 100).is_none());
        assert_eq!(text(&Naming { length: 300, ..naming }), None);
        assert_eq!(text(&Naming { length: 0, ..naming }), None);
    }
}
