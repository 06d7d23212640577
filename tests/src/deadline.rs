//! Waiting that always ends.

use std::{
    os::fd::AsFd,
    thread,
    time::{Duration, Instant},
};

use rustix::{
    event::{PollFd, PollFlags, Timespec, poll},
    io::Errno,
};

/// A moment after which nobody waits.
#[derive(Clone, Copy, Debug)]
pub struct Deadline {
    at: Instant,
}

impl Deadline {
    /// That long from now.
    pub fn after(duration: Duration) -> Self {
        Self { at: Instant::now() + duration }
    }

    /// The time left, zero when there is none.
    pub fn left(self) -> Duration {
        self.at.saturating_duration_since(Instant::now())
    }

    /// Whether it has passed.
    pub fn passed(self) -> bool {
        self.left().is_zero()
    }

    /// Asks `ready` every few milliseconds, once more at the end; `None` when it never was.
    pub fn poll<T>(self, mut ready: impl FnMut() -> Option<T>) -> Option<T> {
        loop {
            let last = self.passed();
            match ready() {
                Some(value) => return Some(value),
                None if last => return None,
                None => thread::sleep(self.left().min(Duration::from_millis(2))),
            }
        }
    }

    /// Waits until `file` can be read (or has failed, which reading tells).
    pub fn readable(self, file: impl AsFd) -> bool {
        self.ready(file, PollFlags::IN)
    }

    /// Waits until `file` can be written.
    pub fn writable(self, file: impl AsFd) -> bool {
        self.ready(file, PollFlags::OUT)
    }

    fn ready(self, file: impl AsFd, flags: PollFlags) -> bool {
        loop {
            let timeout = Timespec::try_from(self.left()).expect("a deadline of years, not ages");
            match poll(&mut [PollFd::new(&file, flags)], Some(&timeout)) {
                Ok(ready) => return ready > 0,
                Err(Errno::INTR) if !self.passed() => {}
                Err(Errno::INTR) => return false,
                Err(error) => panic!("poll: {error}"),
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::io::{Write as _, pipe};

    use super::*;

    #[test]
    fn polling_ends_with_the_value_or_the_deadline() {
        let mut asked = 0;
        let deadline = Deadline::after(Duration::from_secs(5));
        let third = deadline.poll(|| {
            asked += 1;
            (asked == 3).then_some(asked)
        });
        assert_eq!(third, Some(3));
        let never = Deadline::after(Duration::from_millis(5));
        assert_eq!(never.poll(|| None::<()>), None);
        assert!(never.passed());
    }

    #[test]
    fn pipe_is_readable_once_written() {
        let (reader, mut writer) = pipe().unwrap();
        assert!(!Deadline::after(Duration::from_millis(1)).readable(&reader));
        assert!(Deadline::after(Duration::from_secs(1)).writable(&writer));
        writer.write_all(b"x").unwrap();
        assert!(Deadline::after(Duration::from_secs(1)).readable(&reader));
    }
}
