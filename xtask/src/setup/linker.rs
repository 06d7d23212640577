//! Building a bpf-linker that fits a compiler.

use std::path::Path;

use anyhow::{Context as _, Result, bail};

use crate::bpf::compiler::Compiler;
use crate::bpf::linker;
use crate::{command, workspace};

/// Which bpf-linker to build for an LLVM, and how.
pub(crate) struct Recipe {
    llvm: u32,
    /// Borrow the LLVM inside a rustup toolchain instead of linking the system's. Distributions'
    /// compilers have none inside.
    borrow: bool,
    version: &'static str,
    features: &'static str,
}

/// bpf-linker 0.10 is the last that can borrow; a newer LLVM needs the system's library.
const RECIPES: [Recipe; 3] = [
    Recipe { llvm: 22, borrow: true, version: "0.10.4", features: "llvm-22,rust-llvm-22" },
    Recipe { llvm: 22, borrow: false, version: "0.13.0", features: "llvm-22" },
    Recipe { llvm: 23, borrow: false, version: "0.13.0", features: "llvm-23" },
];

/// The recipe for an LLVM, if there is one.
pub(crate) fn recipe(llvm: u32, borrow: bool) -> Option<&'static Recipe> {
    RECIPES.iter().find(|it| it.llvm == llvm && it.borrow == borrow)
}

/// The recipe for a compiler: borrowing needs no packages, so it comes first where it is possible.
pub(crate) fn recipe_for(compiler: &Compiler) -> Result<&'static Recipe> {
    let borrowed = if compiler.is_system() { None } else { recipe(compiler.llvm, true) };
    borrowed.or_else(|| recipe(compiler.llvm, false)).with_context(|| {
        format!("no bpf-linker is known for {compiler}: take another toolchain (NSP_BPF_TOOLCHAIN)")
    })
}

/// The package with the headers and the shared library of an LLVM.
pub(crate) fn llvm_package(llvm: u32) -> String {
    format!("llvm-{llvm}-dev")
}

impl Recipe {
    /// The package this build needs, unless it is installed.
    pub(crate) fn missing_package(&self) -> Option<String> {
        let config = Path::new(&self.prefix()).join("bin/llvm-config");
        (!self.borrow && !config.exists()).then(|| llvm_package(self.llvm))
    }

    /// One line for people.
    pub(crate) fn describe(&self) -> String {
        let Self { llvm, borrow, version, features: _ } = self;
        let whose = if *borrow { "the toolchain's own" } else { "the system's" };
        format!("bpf-linker {version} on {whose} LLVM {llvm}, one or two minutes to build")
    }

    fn prefix(&self) -> String {
        format!("/usr/lib/llvm-{}", self.llvm)
    }

    /// Builds it into `target/tools` and makes sure that it works with the compiler.
    pub(crate) fn install(&self, compiler: &Compiler) -> Result<()> {
        let Self { llvm: _, borrow, version, features } = self;
        let mut install = command::cargo();
        install.args(["install", "bpf-linker", "--quiet", "--locked", "--force"]);
        install.args(["--version", version, "--no-default-features", "--features", features]);
        install.arg("--root").arg(workspace::tools());
        if !borrow {
            install.env("LLVM_PREFIX", self.prefix());
        }
        command::run(&mut install)?;
        let built = workspace::tools().join("bin/bpf-linker");
        if !linker::fits(&built, compiler) {
            bail!("{} was built but does not link what {compiler} makes", built.display());
        }
        Ok(())
    }
}
