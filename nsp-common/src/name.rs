//! Names as keys of a longest-prefix table: labels from the top down, each with its length before it.
//!
//! `www.example.com` is `\3com\7example\3www\0`. No content of a label can imitate a boundary, for a
//! label is as long as its length says. The zero at the end is the root's label turned round: a key
//! with it is an exact name; without it, all that is below.

/// Bytes of a name on the wire, the root's label included (RFC 1035 2.3.4).
pub const NAME_LEN_MAX: usize = 255;

/// Room for the bytes of a key: what a trie of the kernel takes at most (`LPM_DATA_SIZE_MAX`).
pub const KEY_LEN: usize = 256;

/// The key of a name that is written from its end: a name on the wire begins with its lowest label.
///
/// The key lies where [`crate::dns::Walk::key_start`] says, with four bytes of room for the length of its prefix
/// before it and as many bytes behind it as the kernel reads.
#[repr(C)]
pub struct BackwardKey {
    /// The bytes.
    pub bytes: [u8; BACKWARD_LEN],
}

/// Where the zero of every key lies.
pub const BACKWARD_END: u16 = 511;
/// Room for a prefix length, the longest key, and as many bytes behind the shortest.
pub const BACKWARD_LEN: usize = 768;

const _: () = assert!(BACKWARD_END as usize + 1 - NAME_LEN_MAX >= 4);
const _: () = assert!(BACKWARD_END as usize - 4 + 4 + KEY_LEN <= BACKWARD_LEN);

/// A key as the agent writes it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[cfg(feature = "user")]
pub struct NameKey {
    /// The bytes, zeros behind them.
    pub bytes: [u8; KEY_LEN],
    /// How many there are.
    pub length: u16,
}

#[cfg(feature = "user")]
impl NameKey {
    /// The key of a name in lower-case A-labels without the root's dot: of itself, or of all that is
    /// below it. `None` when it is too long, or has an empty label.
    pub fn of(name: &str, below: bool) -> Option<Self> {
        let mut key = Self { bytes: [0; KEY_LEN], length: 0 };
        let mut at = 0;
        for label in name.rsplit('.') {
            let (length, end) = (u8::try_from(label.len()).ok()?, at + 1 + label.len());
            if length == 0 || length > 63 || end >= NAME_LEN_MAX {
                return None;
            }
            key.bytes[at] = length;
            key.bytes[at + 1..end].copy_from_slice(label.as_bytes());
            at = end;
        }
        key.length = u16::try_from(at).ok()? + u16::from(!below);
        Some(key)
    }

    /// The name of a key that the kernel wrote, in lower case without the root's dot; what is not
    /// printable is escaped as in a zone file (RFC 4343 2.1). `None` where the bytes are no key.
    pub fn text(key: &[u8]) -> Option<String> {
        let mut rest = key.strip_suffix(&[0]).unwrap_or(key);
        let mut labels = Vec::new();
        while let Some((length, behind)) = rest.split_first() {
            let (label, behind) = behind.split_at_checked(usize::from(*length))?;
            let mut text = String::new();
            for byte in label {
                match byte {
                    b'.' | b'\\' => text.push_str(&format!("\\{}", char::from(*byte))),
                    b'!'..=b'~' => text.push(char::from(*byte)),
                    _ => text.push_str(&format!("\\{byte:03}")),
                }
            }
            labels.push(text);
            rest = behind;
        }
        labels.reverse();
        (!labels.is_empty()).then(|| labels.join("."))
    }

    /// Length of the prefix, in bits.
    pub const fn bits(&self) -> u32 {
        self.length as u32 * 8
    }
}

#[cfg(all(test, feature = "user"))]
mod tests {
    use super::*;

    fn key(name: &str, below: bool) -> Vec<u8> {
        let key = NameKey::of(name, below).expect("a name");
        key.bytes[..usize::from(key.length)].to_vec()
    }

    fn covers(wildcard: &str, name: &str) -> bool {
        key(name, false).starts_with(&key(wildcard, true))
    }

    #[test]
    fn labels_are_reversed_with_their_lengths() {
        assert_eq!(key("www.example.com", false), b"\x03com\x07example\x03www\x00");
        assert_eq!(key("example.com", true), b"\x03com\x07example");
    }

    #[test]
    fn what_is_below_is_covered_and_a_longer_label_is_not() {
        assert!(covers("example.com", "www.example.com"));
        assert!(covers("example.com", "a.b.example.com"));
        assert!(!covers("example.com", "notexample.com"));
        assert!(!covers("example.com", "example.comet"));
        assert!(!covers("example.com", "www.example.org"));
    }

    #[test]
    fn no_label_imitates_a_boundary() {
        // A label of eleven bytes whose content is "\7example\3www" looks like two labels to a key
        // without lengths in front.
        let imitation = "\u{7}example\u{3}ww";
        assert!(!covers("example.com", &format!("{imitation}.com")));
    }

    #[test]
    fn keys_are_shown_as_the_names_they_are() {
        assert_eq!(NameKey::text(&key("www.example.com", false)).unwrap(), "www.example.com");
        assert_eq!(NameKey::text(b"\x03com\x04a.b\xff\x00").unwrap(), "a\\.b\\255.com");
        assert_eq!(NameKey::text(b"\x05com\x00"), None);
        assert_eq!(NameKey::text(b"\x00"), None);
    }

    #[test]
    fn too_long_and_empty_are_no_names() {
        let label = "a".repeat(63);
        let fits = [&*label, &*label, &*label, &"a".repeat(61)].join(".");
        assert_eq!(fits.len() + 2, NAME_LEN_MAX);
        assert!(NameKey::of(&fits, false).is_some());
        assert!(NameKey::of(&format!("{fits}a"), false).is_none());
        assert!(NameKey::of("a..b", false).is_none());
        assert!(NameKey::of(&"a".repeat(64), false).is_none());
    }
}
