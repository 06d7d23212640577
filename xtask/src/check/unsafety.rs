//! Every use of `unsafe` says why it is sound.

use anyhow::Result;

use super::source::{self, has_word};
use super::{Context, verdict};

/// Looks above every block, impl, fn and extern. Clippy does so too, but for blocks and impls only.
pub(crate) fn run(context: &Context) -> Result<()> {
    let mut findings = Vec::new();
    for file in context.tree.ending(".rs") {
        findings.extend(
            unexplained(&file.text)
                .into_iter()
                .map(|line| format!("{}:{line}: unsafe without a SAFETY comment above", file.path)),
        );
    }
    verdict(&findings)
}

/// The numbers of lines with an unexplained `unsafe`.
fn unexplained(text: &str) -> Vec<usize> {
    let lines: Vec<&str> = text.lines().collect();
    let code = source::code(text);
    let uses = code.lines().enumerate().filter(|(_, line)| is_use(line));
    uses.filter(|&(index, _)| !is_explained(&lines, index)).map(|(index, _)| index + 1).collect()
}

/// `#[unsafe(no_mangle)]` is an attribute and `unsafe fn(…)` a type; neither does anything.
fn is_use(line: &str) -> bool {
    let rest = |at: usize| line[at + "unsafe".len()..].trim_start();
    has_word(line, "unsafe")
        && line.match_indices("unsafe").any(|(at, _)| {
            let rest = rest(at);
            !rest.starts_with('(')
                && !rest.starts_with("fn(")
                && !rest.starts_with("extern \"C\" fn(")
        })
}

/// SAFETY in the three lines above, or anywhere in the comments and attributes right above.
fn is_explained(lines: &[&str], index: usize) -> bool {
    let says = |line: &&str| line.contains("SAFETY:") || line.contains("# Safety");
    let near = &lines[index.saturating_sub(3)..=index];
    let attached = |line: &&&str| {
        let line = line.trim_start();
        line.starts_with("//") || line.starts_with("#[")
    };
    near.iter().any(says) || lines[..index].iter().rev().take_while(attached).any(says)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn explained_uses_pass() {
        for text in [
            "// SAFETY: in bounds.\nunsafe { read(x) }",
            "// SAFETY: in bounds.\nlet x =\n    unsafe { read(x) };",
            "/// # Safety\n///\n/// One.\n/// Two.\n/// Three.\n#[inline]\npub unsafe fn f() {}",
            "#[unsafe(no_mangle)]\nstatic X: u8 = 0;",
            "type Callback = unsafe fn(u32);",
            "// unsafe { }",
        ] {
            assert!(unexplained(text).is_empty(), "{text}");
        }
    }

    #[test]
    fn unexplained_uses_are_found() {
        assert_eq!(unexplained("fn f() {\n    unsafe { g() }\n}"), [2]);
        assert_eq!(unexplained("unsafe impl Pod for X {}"), [1]);
        assert_eq!(unexplained("// SAFETY: a.\nunsafe { a() }\nb();\nc();\nunsafe { d() }"), [5]);
    }
}
