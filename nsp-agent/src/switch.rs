//! The operator's switch: whether the perimeter is on at all.
//!
//! It is a file in the state directory, so that it holds with an agent that runs, hangs or is gone, and over a
//! boot. The agent looks at it before it hooks anything, and every second. The kernel's command line can be the
//! switch as well, for a host that cannot be reached.

use std::{
    fs, io,
    path::Path,
    time::{Duration, SystemTime},
};

use rustix::time::{ClockId, clock_gettime};
use serde::{Deserialize, Serialize};

use crate::{host::boot, whole_file};

const FILE: &str = "switch.json";

/// The word on the kernel's command line that begins a boot without the perimeter.
pub const WORD: &str = "nsp.off";

/// What somebody asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub enum Touch {
    /// Off.
    Off {
        /// For so long; for ever when absent.
        seconds: Option<u64>,
    },
    /// On.
    On,
}

/// What the file says.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub enum Switch {
    /// No hooks.
    Off {
        /// When it is on again by itself.
        until: Option<Until>,
    },
    /// On, in this boot also when the command line says otherwise.
    On {
        /// The boot in which somebody said so.
        boot: String,
    },
}

/// An instant by two clocks. The one that runs through suspend and that nobody sets counts, but it begins anew
/// with each boot; in another one the wall clock has to do.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Until {
    boot: String,
    boot_s: u64,
    wall_s: u64,
    /// From when it was said. A wall clock that was never set would make years of it.
    seconds: u64,
}

/// The same clocks now.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Clock {
    /// [`boot::id`]
    boot: String,
    /// Seconds since it began (`CLOCK_BOOTTIME`).
    boot_s: u64,
    /// Seconds since 1970.
    wall_s: u64,
}

impl Clock {
    /// Reads them.
    pub fn now() -> Self {
        let wall = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH);
        Self {
            boot: boot::id(),
            boot_s: clock_gettime(ClockId::Boottime).tv_sec.try_into().unwrap_or(0),
            wall_s: wall.map_or(0, |it| it.as_secs()),
        }
    }
}

/// Whether the perimeter is on, and why not.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Position {
    /// On.
    On,
    /// Off.
    Off {
        /// How long still; until somebody says otherwise when absent.
        left: Option<Duration>,
        /// Because of the command line, and not of `nsp off`.
        by_command_line: bool,
    },
}

/// Where the switch stands, and why it cannot be read if it cannot: then the command line alone says it.
pub fn position(state_dir: &Path, command_line: &Path) -> (Position, Option<io::Error>) {
    let (touched, error) = match Switch::read(state_dir) {
        Ok(touched) => (touched, None),
        Err(error) => (None, Some(error)),
    };
    let by_command_line = boot::has_word(command_line, WORD);
    (Switch::position(touched.as_ref(), &Clock::now(), by_command_line), error)
}

impl Switch {
    /// Off, for ever or for so many seconds.
    pub fn off(seconds: Option<u64>, clock: &Clock) -> Self {
        let until = |seconds| Until {
            boot: clock.boot.clone(),
            boot_s: clock.boot_s.saturating_add(seconds),
            wall_s: clock.wall_s.saturating_add(seconds),
            seconds,
        };
        Self::Off { until: seconds.map(until) }
    }

    /// On.
    pub fn on(clock: &Clock) -> Self {
        Self::On { boot: clock.boot.clone() }
    }

    /// Reads it; nobody has touched it where there is none.
    ///
    /// # Errors
    /// When it is there and cannot be read, or makes no sense.
    pub fn read(state_dir: &Path) -> io::Result<Option<Self>> {
        match fs::read(state_dir.join(FILE)) {
            Ok(text) => Ok(Some(serde_json::from_slice(&text)?)),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// What becomes of it when somebody touches it now.
    pub fn touched(touch: Touch) -> Self {
        let clock = Clock::now();
        match touch {
            Touch::Off { seconds } => Self::off(seconds, &clock),
            Touch::On => Self::on(&clock),
        }
    }

    /// Writes it whole or not at all, and to the disk.
    ///
    /// # Errors
    /// When it cannot be written; it is as it was.
    pub fn write(&self, state_dir: &Path) -> io::Result<()> {
        let mut text = serde_json::to_vec(self)?;
        text.push(b'\n');
        // Without an agent several verbs may write at once.
        let draft = format!("new-{}", std::process::id());
        whole_file::write(&state_dir.join(FILE), &draft, &text)
    }

    /// Whether the perimeter is on, by a switch that somebody touched or nobody did.
    pub fn position(touched: Option<&Self>, clock: &Clock, off_by_command_line: bool) -> Position {
        let by_command_line = match off_by_command_line {
            true => Position::Off { left: None, by_command_line: true },
            false => Position::On,
        };
        match touched {
            None => by_command_line,
            Some(Self::On { boot }) if *boot == clock.boot => Position::On,
            Some(Self::On { .. }) => by_command_line,
            Some(Self::Off { until: None }) => Position::Off { left: None, by_command_line: false },
            Some(Self::Off { until: Some(until) }) => match until.left(clock) {
                0 => by_command_line,
                left => {
                    Position::Off { left: Some(Duration::from_secs(left)), by_command_line: false }
                }
            },
        }
    }
}

impl Until {
    /// Seconds until then.
    fn left(&self, clock: &Clock) -> u64 {
        if self.boot == clock.boot {
            self.boot_s.saturating_sub(clock.boot_s)
        } else {
            self.wall_s.saturating_sub(clock.wall_s).min(self.seconds)
        }
    }
}

#[cfg(test)]
mod tests {
    use rstest::rstest;

    use super::*;

    const OFF: Position = Position::Off { left: None, by_command_line: false };
    const BY_COMMAND_LINE: Position = Position::Off { left: None, by_command_line: true };

    fn clock(boot: &str, boot_s: u64, wall_s: u64) -> Clock {
        Clock { boot: boot.to_owned(), boot_s, wall_s }
    }

    fn first() -> Clock {
        clock("first", 100, 10_000)
    }

    fn left(seconds: u64) -> Position {
        Position::Off { left: Some(Duration::from_secs(seconds)), by_command_line: false }
    }

    #[rstest]
    #[case::untouched(None, false, Position::On)]
    #[case::untouched_and_the_command_line(None, true, BY_COMMAND_LINE)]
    #[case::off(Some(Switch::off(None, &first())), false, OFF)]
    #[case::on(Some(Switch::on(&first())), false, Position::On)]
    #[case::on_over_the_command_line(Some(Switch::on(&first())), true, Position::On)]
    #[case::on_in_another_boot(Some(Switch::on(&clock("before", 1, 1))), true, BY_COMMAND_LINE)]
    #[case::off_for_a_time(Some(Switch::off(Some(60), &first())), false, left(60))]
    fn position_is_what_was_said_last(
        #[case] touched: Option<Switch>,
        #[case] by_command_line: bool,
        #[case] expected: Position,
    ) {
        assert_eq!(Switch::position(touched.as_ref(), &first(), by_command_line), expected);
    }

    #[rstest]
    #[case::still(clock("first", 159, 10_059), left(1))]
    #[case::over(clock("first", 160, 10_060), Position::On)]
    #[case::wall_clock_set_back(clock("first", 160, 5), Position::On)]
    #[case::wall_clock_set_ahead(clock("first", 110, 99_999), left(50))]
    #[case::another_boot(clock("second", 5, 10_040), left(20))]
    #[case::another_boot_and_no_time_yet(clock("second", 5, 0), left(60))]
    #[case::another_boot_later(clock("second", 5, 10_060), Position::On)]
    fn time_runs_by_the_clock_that_nobody_sets(#[case] now: Clock, #[case] expected: Position) {
        let switch = Switch::off(Some(60), &first());
        assert_eq!(Switch::position(Some(&switch), &now, false), expected);
    }

    #[test]
    fn it_is_kept_and_nonsense_is_an_error() {
        let directory = tempfile::tempdir().unwrap();
        assert_eq!(Switch::read(directory.path()).unwrap(), None);
        for switch in
            [Switch::off(None, &first()), Switch::off(Some(1), &first()), Switch::on(&first())]
        {
            switch.write(directory.path()).unwrap();
            assert_eq!(Switch::read(directory.path()).unwrap(), Some(switch));
        }
        fs::write(directory.path().join(FILE), "off").unwrap();
        assert!(Switch::read(directory.path()).is_err());
    }
}
