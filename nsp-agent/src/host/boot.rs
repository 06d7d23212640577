//! Which boot this is, and what its command line asked for.

use std::{fs, path::Path};

/// Where the kernel shows its command line.
pub const COMMAND_LINE: &str = "/proc/cmdline";

/// The kernel's name for this boot; nothing where it does not say.
pub fn id() -> String {
    let text = fs::read_to_string("/proc/sys/kernel/random/boot_id");
    text.map(|text| text.trim().to_owned()).unwrap_or_default()
}

/// Whether a word stands by itself on the kernel's command line, also behind ` -- `, where words are init's: who
/// writes it there means it.
pub fn has_word(command_line: &Path, word: &str) -> bool {
    let text = fs::read_to_string(command_line).unwrap_or_default();
    text.split_ascii_whitespace().any(|it| it == word)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_are_whole() {
        let file = tempfile::NamedTempFile::new().unwrap();
        fs::write(&file, "BOOT_IMAGE=/vmlinuz root=/dev/vda1 nsp.off quiet\n").unwrap();
        assert!(has_word(file.path(), "nsp.off"));
        for other in ["nsp", "nsp.of", "root", "off"] {
            assert!(!has_word(file.path(), other), "{other}");
        }
        assert!(!has_word(Path::new("/nonexistent"), "nsp.off"));
    }
}
