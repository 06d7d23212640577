//! Choosing the distribution's compiler for the kernel programs.

use super::{apt, linker};
use crate::bpf::compiler::{self, Version};

/// A family of packages: compiler, cargo of the same release, and the library's sources. `{v}`
/// stands for a release such as `1.96`.
struct Family {
    packages: [&'static str; 3],
}

/// Where distributions put a recent Rust. The first family that is new enough wins.
const FAMILIES: [Family; 3] = [
    // Debian's recent Rust beside its stable one, kept up for browsers.
    Family { packages: ["rustc-web", "cargo-web", "rust-web-src"] },
    // Ubuntu's releases side by side.
    Family { packages: ["rustc-{v}", "cargo-{v}", "rust-{v}-src"] },
    // The release the distribution is built with.
    Family { packages: ["rustc", "cargo", "rust-src"] },
];

/// What to install, once chosen.
pub(crate) struct Choice {
    pub(crate) packages: Vec<String>,
    pub(crate) version: String,
    pub(crate) llvm: u32,
}

/// The best compiler the package lists offer: new enough for the workspace, with an LLVM that
/// bpf-linker can be built for.
pub(crate) fn choose() -> Option<Choice> {
    FAMILIES.iter().flat_map(instances).find_map(|packages| {
        let version = apt::candidate(&packages[0])?;
        // Neither the epoch nor the packaging revision counts.
        let upstream = version.split_once(':').map_or(version.as_str(), |(_, rest)| rest);
        if Version::parse(upstream)? < compiler::minimum() {
            return None;
        }
        let llvm = apt::llvm_of(&packages[0])?;
        let library = linker::llvm_package(llvm);
        linker::recipe(llvm, false)?;
        let mut packages = packages;
        packages.push(library);
        packages.iter().all(|it| apt::candidate(it).is_some()).then_some(Choice {
            packages,
            version: upstream.to_owned(),
            llvm,
        })
    })
}

/// The package names of a family, newest release first.
fn instances(family: &Family) -> Vec<Vec<String>> {
    let Family { packages } = family;
    if !packages[0].contains("{v}") {
        return vec![packages.iter().map(|&it| it.to_owned()).collect()];
    }
    let mut releases: Vec<Version> = apt::names(r"^rustc-1\.[0-9]+$")
        .iter()
        .filter_map(|name| Version::parse(name.strip_prefix("rustc-")?))
        .collect();
    releases.sort_by_key(|&it| std::cmp::Reverse(it));
    let named = |Version(major, minor)| {
        packages.iter().map(|it| it.replace("{v}", &format!("{major}.{minor}"))).collect()
    };
    releases.into_iter().map(named).collect()
}
