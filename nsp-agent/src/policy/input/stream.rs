//! A file while it is read: bounded, hashed, and seen to be UTF-8 or not.

use std::{
    fs::File,
    io::{self, Read, Take},
};

use sha2::{Digest as _, Sha256};

use crate::progress::Progress;

/// A file that is read once, from its start to its end.
#[derive(Debug)]
pub(crate) struct Stream {
    file: Take<File>,
    length: u64,
    digest: Sha256,
    text: Utf8,
    /// Why it could not be read: whoever reads may not say, so it is said in the end.
    failed: Option<io::Error>,
    progress: Progress,
}

/// What there is to know of a file that was read.
pub(super) struct Ended {
    /// Bytes read.
    pub(super) length: u64,
    /// Whether they are text.
    pub(super) is_utf8: bool,
    /// Their SHA-256.
    pub(super) digest: [u8; 32],
}

impl Stream {
    /// At the start of a file; no more than `bytes_max` bytes of it are read.
    pub(super) fn of(file: File, bytes_max: u64, progress: Progress) -> Self {
        let (digest, text) = (Sha256::new(), Utf8::default());
        Self { file: file.take(bytes_max), length: 0, digest, text, failed: None, progress }
    }

    /// Reads what is left.
    pub(super) fn finish(mut self) -> io::Result<Ended> {
        if self.failed.is_none() {
            io::copy(&mut self, &mut io::sink())?;
        }
        let Self { file: _, length, digest, text, failed, progress: _ } = self;
        match failed {
            Some(error) => Err(error),
            None => {
                Ok(Ended { length, is_utf8: text.is_whole(), digest: digest.finalize().into() })
            }
        }
    }
}

impl Read for Stream {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let read = self.file.read(buffer).map_err(|error| {
            let copy = io::Error::new(error.kind(), error.to_string());
            if error.kind() != io::ErrorKind::Interrupted {
                self.failed = Some(error);
            }
            copy
        })?;
        let bytes = &buffer[..read];
        self.length += read as u64;
        self.digest.update(bytes);
        self.text.add(bytes);
        self.progress.advance(read as u64);
        Ok(read)
    }
}

/// Whether bytes that come in parts are UTF-8.
#[derive(Debug, Default)]
struct Utf8 {
    is_broken: bool,
    /// The start of a character that the last part cut.
    cut: Vec<u8>,
}

impl Utf8 {
    fn add(&mut self, mut bytes: &[u8]) {
        while !self.is_broken
            && !self.cut.is_empty()
            && let [first, rest @ ..] = bytes
        {
            self.cut.push(*first);
            bytes = rest;
            match str::from_utf8(&self.cut) {
                Ok(_) => self.cut.clear(),
                Err(error) => self.is_broken = error.error_len().is_some(),
            }
        }
        if self.is_broken {
            return;
        }
        if let Err(error) = str::from_utf8(bytes) {
            match error.error_len() {
                None => self.cut.extend_from_slice(&bytes[error.valid_up_to()..]),
                Some(_) => self.is_broken = true,
            }
        }
    }

    /// Whether all of them were text, and the last character is not cut.
    fn is_whole(&self) -> bool {
        !self.is_broken && self.cut.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn parts(text: &[u8], length: usize) -> Vec<Vec<u8>> {
        text.chunks(length).map(<[u8]>::to_vec).collect()
    }

    proptest! {
        #[test]
        fn text_in_parts_is_text_as_a_whole(
            parts in prop_oneof![
                prop::collection::vec(prop::collection::vec(any::<u8>(), 0..4), 0..6),
                ("[aé€𐍈]{0,12}", 1..4_usize).prop_map(|(text, length)| parts(text.as_bytes(), length)),
                ("[aé€𐍈]{1,12}", 1..4_usize).prop_map(|(text, length)| {
                    parts(&text.as_bytes()[..text.len() - 1], length)
                }),
            ],
        ) {
            let mut text = Utf8::default();
            parts.iter().for_each(|part| text.add(part));
            prop_assert_eq!(text.is_whole(), str::from_utf8(&parts.concat()).is_ok());
        }
    }
}
