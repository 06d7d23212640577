//! What the demo prints: steps, commands with their output, claims, tables.

use std::{
    env,
    io::{self, IsTerminal as _, Write as _},
};

use super::{Told, failure::Failure, stop};

/// A colour of the terminal, by its SGR number.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Colour {
    Bold,
    Dim,
    Red,
    Green,
    Yellow,
    Cyan,
}

impl Colour {
    const fn number(self) -> u8 {
        match self {
            Self::Bold => 1,
            Self::Dim => 2,
            Self::Red => 31,
            Self::Green => 32,
            Self::Yellow => 33,
            Self::Cyan => 36,
        }
    }
}

/// Standard output, in colour where somebody looks at it and has not asked for none.
#[derive(Clone, Copy, Debug)]
pub(super) struct Screen {
    colours: bool,
}

impl Screen {
    /// Colours on a terminal, unless `NO_COLOR` is set (no-color.org) or the terminal is dumb.
    pub(super) fn new() -> Self {
        let unwanted = env::var_os("NO_COLOR").is_some_and(|value| !value.is_empty());
        let dumb = env::var_os("TERM").is_some_and(|value| value == "dumb");
        Self { colours: io::stdout().is_terminal() && !unwanted && !dumb }
    }

    /// `text` in a colour, or as it is.
    pub(super) fn paint(self, colour: Colour, text: &str) -> String {
        if self.colours && !text.is_empty() {
            format!("\x1b[{}m{text}\x1b[0m", colour.number())
        } else {
            text.to_owned()
        }
    }

    /// One line. A reader that has gone stops the demo, and is no reason to panic.
    pub(super) fn line(self, text: &str) {
        if writeln!(io::stdout(), "{}", text.trim_end()).is_err() {
            stop::ask();
        }
    }

    /// The head of a step.
    pub(super) fn step(self, number: usize, title: &str) -> Told {
        stop::check()?;
        let rule = "─".repeat(94_usize.saturating_sub(title.chars().count()));
        self.line("");
        self.line(&format!(
            "{} {} {}",
            self.paint(Colour::Cyan, &format!("{number}.")),
            self.paint(Colour::Bold, title),
            self.paint(Colour::Dim, &rule)
        ));
        Ok(())
    }

    /// A sentence or two about what follows.
    pub(super) fn say(self, text: &str) {
        for line in text.lines() {
            self.line(&format!("   {line}"));
        }
    }

    /// A command, as a person would type it.
    pub(super) fn command(self, text: &str) {
        self.line("");
        self.line(&format!(
            "   {} {}",
            self.paint(Colour::Dim, "$"),
            self.paint(Colour::Bold, text)
        ));
    }

    /// What a command printed.
    pub(super) fn output<'a>(self, lines: impl IntoIterator<Item = &'a str>) {
        for line in lines {
            self.line(&format!("     {}", self.paint(Colour::Dim, line)));
        }
    }

    /// A sentence that has been verified; the demo ends when it is not true.
    pub(super) fn claim(self, holds: bool, sentence: &str) -> Told {
        let mark = if holds { Colour::Green } else { Colour::Red };
        let sign = if holds { "✓" } else { "✗" };
        self.line(&format!("   {} {sentence}", self.paint(mark, sign)));
        if holds { Ok(()) } else { Err(Failure::Untrue(sentence.to_owned())) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn colours_are_left_out_where_nobody_sees_them() {
        assert_eq!(Screen { colours: false }.paint(Colour::Red, "closed"), "closed");
        assert_eq!(Screen { colours: true }.paint(Colour::Red, "closed"), "\x1b[31mclosed\x1b[0m");
        assert_eq!(Screen { colours: true }.paint(Colour::Red, ""), "");
    }

    #[test]
    fn claim_that_does_not_hold_is_the_failure() {
        let screen = Screen { colours: false };
        assert!(screen.claim(true, "the port is closed").is_ok());
        let failure = screen.claim(false, "the port is closed").unwrap_err();
        assert_eq!(failure.to_string(), "not true: the port is closed");
    }
}
