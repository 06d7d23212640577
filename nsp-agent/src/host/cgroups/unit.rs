//! systemd's units in the hierarchy.
//!
//! Only units of the system's own manager count: those that lie in slices and nothing else. Below
//! a service or scope the hierarchy belongs to that unit, to a user's manager or to a container;
//! were names taken from there, any user could become `postgresql@x.service`.

use super::{Cgroup, Tree};
use crate::host::pattern::Pattern;

/// A cgroup that a selector found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CgroupMatch {
    /// Its path from the root of the hierarchy.
    pub path: String,
    /// Its id.
    pub id: u64,
    /// The systemd unit it belongs to.
    pub unit: Option<String>,
}

/// What a unit glob found.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct UnitMatches {
    /// The cgroups of the units, in the order of paths.
    pub matches: Vec<CgroupMatch>,
    /// A slice that all of them lie in and nothing else does, so that its id stands for them while
    /// they come and go: found because it holds nothing else now, or because systemd makes it for
    /// the instances of the template (`system-postgresql.slice`). It is there without matches too,
    /// as long as systemd keeps the empty slice; a slice that was removed comes back as another.
    pub stable_ancestor: Option<u64>,
}

impl Tree {
    /// The cgroup with this path from the root of the hierarchy.
    pub fn resolve_path(&self, path: &str) -> Option<CgroupMatch> {
        self.find(path).map(CgroupMatch::new)
    }

    /// The cgroups of the units whose name matches.
    pub fn resolve_unit(&self, pattern: &Pattern) -> UnitMatches {
        let units = || self.cgroups().iter().filter_map(|it| Some((it, unit_name(&it.path)?)));
        let matching: Vec<&Cgroup> =
            units().filter(|(_, unit)| pattern.matches(unit)).map(|(cgroup, _)| cgroup).collect();
        // A glob over slices: what lies in a matching slice is covered by it.
        let covered = |path: &str| matching.iter().any(|it| is_within(path, &it.path));
        let holds_nothing_else = |slice: &Cgroup| {
            let inside = |it: &&Cgroup| it.path != slice.path && is_within(&it.path, &slice.path);
            let is_slice = |path| unit_name(path).is_some_and(|name| name.ends_with(".slice"));
            self.cgroups().iter().filter(inside).all(|it| covered(&it.path) || is_slice(&it.path))
        };
        let stable = self.template_slice(pattern).filter(|slice| holds_nothing_else(slice));
        let stable = stable.or_else(|| {
            let first = matching.first()?;
            let slice = self.find(parent(&first.path))?;
            let all_in_it = matching.iter().all(|it| is_within(&it.path, &slice.path));
            (all_in_it && !is_shared(&slice.path) && holds_nothing_else(slice)).then_some(slice)
        });
        UnitMatches {
            stable_ancestor: stable.map(|slice| slice.id),
            matches: matching.into_iter().map(CgroupMatch::new).collect(),
        }
    }

    /// The slice that systemd makes for the instances of a template, if the pattern is about one
    /// template: `postgresql@*.service` has `/system.slice/system-postgresql.slice`.
    fn template_slice(&self, pattern: &Pattern) -> Option<&Cgroup> {
        let (template, _) = pattern.as_str().split_once('@')?;
        if template.contains(['*', '?', '[']) {
            return None;
        }
        // A dash would be a step down in the tree of slices.
        let name = format!("system-{}.slice", template.replace('-', "\\x2d"));
        self.find(&format!("/system.slice/{name}"))
    }
}

impl CgroupMatch {
    fn new(cgroup: &Cgroup) -> Self {
        let Cgroup { path, id } = cgroup;
        Self { path: path.clone(), id: *id, unit: unit_of(path).map(Into::into) }
    }
}

/// The unit that a cgroup belongs to: the first service or scope of its path, or else the innermost
/// slice. Paths are from the root of the hierarchy.
pub fn unit_of(path: &str) -> Option<&str> {
    let mut unit = None;
    for part in path.split('/').filter(|part| !part.is_empty()) {
        let name = unescape(part);
        if name.ends_with(".service") || name.ends_with(".scope") {
            return Some(name);
        }
        if !name.ends_with(".slice") {
            break;
        }
        unit = Some(name);
    }
    unit
}

/// The name of the unit whose own cgroup this is; `None` for a cgroup inside a unit.
fn unit_name(path: &str) -> Option<&str> {
    let (above, last) = path.rsplit_once('/')?;
    let in_slices = above.split('/').all(|part| part.is_empty() || part.ends_with(".slice"));
    let name = unescape(last);
    let is_unit = [".service", ".scope", ".slice"].iter().any(|kind| name.ends_with(kind));
    (in_slices && is_unit).then_some(name)
}

/// systemd puts `_` before a name that the kernel could take for a file of its own.
fn unescape(part: &str) -> &str {
    part.strip_prefix('_').unwrap_or(part)
}

/// Slices that units land in without anyone asking for it.
fn is_shared(path: &str) -> bool {
    matches!(path, "/" | "/system.slice" | "/user.slice" | "/machine.slice")
}

fn parent(path: &str) -> &str {
    match path.rsplit_once('/') {
        Some(("", _)) | None => "/",
        Some((above, _)) => above,
    }
}

fn is_within(path: &str, ancestor: &str) -> bool {
    ancestor == "/"
        || path.strip_prefix(ancestor).is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
}

#[cfg(test)]
mod tests;
