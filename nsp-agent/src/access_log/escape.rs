//! Characters that could make one record look like two, or drive a terminal.

use std::fmt::{self, Write as _};

/// Whether a character moves the cursor, breaks the line, or turns the text around: the control
/// characters, Unicode's line breaks, and the bidirectional controls.
pub(super) fn is_unsafe(character: char) -> bool {
    character.is_control()
        || matches!(character,
            '\u{61c}' | '\u{200e}' | '\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
}

/// Text for one line of a terminal: what is unsafe shows as `\x1b`, `\u{202e}`, and a backslash
/// doubles.
pub(super) struct OneLine<'a>(pub(super) &'a str);

impl fmt::Display for OneLine<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for character in self.0.chars() {
            match character {
                '\\' => f.write_str("\\\\")?,
                '\n' => f.write_str("\\n")?,
                '\r' => f.write_str("\\r")?,
                '\t' => f.write_str("\\t")?,
                control if is_unsafe(control) && u32::from(control) < 0x100 => {
                    write!(f, "\\x{:02x}", u32::from(control))?;
                }
                control if is_unsafe(control) => write!(f, "{}", control.escape_unicode())?,
                plain => f.write_char(plain)?,
            }
        }
        Ok(())
    }
}

/// JSON text in which what is unsafe is escaped as well. Outside of strings JSON has no such
/// characters, so replacing them anywhere keeps it what it is; they are all in the basic plane.
pub(super) fn harden_json(json: String) -> String {
    if !json.contains(is_unsafe) {
        return json;
    }
    let mut hardened = String::with_capacity(json.len() + 16);
    for character in json.chars() {
        if is_unsafe(character) {
            hardened.push_str(&format!("\\u{:04x}", u32::from(character)));
        } else {
            hardened.push(character);
        }
    }
    hardened
}

#[cfg(test)]
mod tests {
    use rstest::rstest;

    use super::*;

    #[rstest]
    #[case::plain("bücher.example → ok", "bücher.example → ok")]
    #[case::newline("a\nb\r", r"a\nb\r")]
    #[case::ansi("\x1b[2J", r"\x1b[2J")]
    #[case::c1("\u{9b}31m", r"\x9b31m")]
    #[case::delete("\u{7f}", r"\x7f")]
    #[case::right_to_left("\u{202e}gpj", r"\u{202e}gpj")]
    #[case::line_separator("\u{2028}", r"\u{2028}")]
    #[case::backslash(r"\x1b", r"\\x1b")]
    fn one_line(#[case] text: &str, #[case] expected: &str) {
        assert_eq!(OneLine(text).to_string(), expected);
    }

    #[test]
    fn hardened_json_reads_back_the_same() {
        let text = "a\u{9b}b\u{202e}c\u{7f}d\n\u{1b}\"\\ü";
        let json = harden_json(serde_json::to_string(text).unwrap());
        assert!(!json.contains(is_unsafe));
        assert_eq!(serde_json::from_str::<String>(&json).unwrap(), text);
    }
}
