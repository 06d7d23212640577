//! Taking away what an agent left, without one.

use std::{io, path::Path};

use super::{
    filter_hook,
    pins::{self, PinDir, PinError},
};

pub use super::pins::PinError as DetachError;

impl PinError {
    /// Whether it is for want of privileges.
    pub fn is_denied(&self) -> bool {
        matches!(self, Self::Io { source, .. } if source.kind() == io::ErrorKind::PermissionDenied)
    }
}

/// Takes away everything in a pin directory, and the filters that an agent left at these interfaces; answers
/// how many hooks that were.
///
/// # Errors
/// When an agent has the directory, or something stays.
pub fn detach(directory: Option<&Path>, interfaces: &[String]) -> Result<usize, PinError> {
    let mut hooks = 0;
    if let Some(directory) = directory
        && exists(directory)?
    {
        let pins = PinDir::open(directory)?;
        hooks += pins.links()?.len();
        pins.remove()?;
    }
    for interface in interfaces {
        hooks += filter_hook::sweep(interface);
    }
    Ok(hooks)
}

/// Takes away the links in a pin directory, whoever has it, and filters; the maps stay. Answers how many hooks
/// that were. An agent that lives and hangs holds its links as well: they are detached under it.
///
/// # Errors
/// When a link stays; the others are gone.
pub fn unhook(directory: Option<&Path>, interfaces: &[String]) -> Result<usize, PinError> {
    let mut hooks = 0;
    let mut result = Ok(());
    match directory.map_or(Ok(Vec::new()), pins::link_files) {
        Ok(files) => {
            for file in files {
                match pins::let_go(&file) {
                    Ok(()) => hooks += 1,
                    Err(error) => result = Err(error),
                }
            }
        }
        Err(error) => result = Err(error),
    }
    for interface in interfaces {
        hooks += filter_hook::sweep(interface);
    }
    result.map(|()| hooks)
}

/// How many links are pinned in a directory, whoever has it; none where nobody may look.
pub fn count_left(directory: &Path) -> usize {
    pins::link_files(directory).map_or(0, |files| files.len())
}

/// Whether there is one; that one may not look is not that there is none.
fn exists(directory: &Path) -> Result<bool, PinError> {
    directory.try_exists().map_err(|source| PinError::Io {
        operation: "look at",
        path: directory.to_owned(),
        source,
    })
}
