//! What an agent takes over from the one before it, as files: for whoever tries files that no agent wrote.

use std::path::Path;

use nsp_common::verdict::Direction;

pub use super::store::StoreError;
use super::store::{self, learned};

/// Reads what lies in the directory as an agent does that starts, gives numbers as it does, and saves all
/// of it again. What makes no sense is set aside, and nothing is taken over from it.
///
/// # Errors
/// When a file can be neither read nor set aside, or the directory is not writable.
pub fn take_over(directory: &Path) -> Result<(), StoreError> {
    let mut state = store::load(directory)?;
    let _association = state.identities.association("a resource");
    let _rule = state.identities.rule("a profile", Direction::Inbound, "a rule");
    let _profile = state.identities.profile("a profile");
    let _name = state.identities.name("a.name.example");
    store::save(directory, &state)?;
    if let learned::Found::Remembered(remembered) = learned::load(directory)? {
        let (addresses, _) = remembered.still_good(0, u32::MAX, |_| true, |_| false);
        let remembered = learned::Remembered::new(addresses);
        learned::Saver::default().save(directory, &remembered, 1)?;
    }
    Ok(())
}
