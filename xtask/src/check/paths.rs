//! No file names a place on the machine of whoever wrote it.

use anyhow::Result;

use super::{Context, verdict};

/// Directories of people and of build machines. Split, or this file would find itself.
const MACHINE: [&str; 4] =
    [concat!("/wo", "rk/"), concat!("/ro", "ot/"), concat!("/Use", "rs/"), concat!("/ho", "me/")];

/// Looks in every text file.
pub(crate) fn run(context: &Context) -> Result<()> {
    let mut findings = Vec::new();
    for file in context.tree.all() {
        for (index, line) in file.text.lines().enumerate() {
            if let Some(directory) = machine_path(line) {
                findings.push(format!("{}:{}: names {directory}…", file.path, index + 1));
            }
        }
    }
    verdict(&findings)
}

/// The directory, if the line has an absolute path to it.
fn machine_path(line: &str) -> Option<&'static str> {
    let absolute = |at: usize| {
        !line[..at]
            .ends_with(|it: char| it.is_alphanumeric() || matches!(it, '.' | '_' | '-' | '}'))
    };
    MACHINE.into_iter().find(|needle| line.match_indices(needle).any(|(at, _)| absolute(at)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn absolute_paths_are_found_and_relative_ones_are_not() {
        let [first, ..] = MACHINE;
        assert!(machine_path(&format!("see {first}x")).is_some());
        assert!(machine_path(&format!("see docs{first}x")).is_none());
        assert!(machine_path(&format!("see ..{first}x")).is_none());
    }
}
