//! What became of an attempt to reach somebody.

use rustix::io::Errno;

/// What the program that tried would have seen.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Outcome {
    /// The TCP handshake was completed.
    Connected,
    /// The datagram or echo request was answered.
    Answered,
    /// The other side said no: RST, or port unreachable.
    Refused,
    /// Silence until the deadline, or until the kernel gave up.
    TimedOut,
    /// The local kernel said no at once: EPERM or EACCES, as a cgroup hook's denial does, or
    /// ENOBUFS, as a drop at TC egress does for a raw socket.
    PermissionDenied,
    /// There is no way there, or a router on it said so.
    Unreachable,
}

impl Outcome {
    /// Whether the other side was reached and took part.
    pub fn is_success(self) -> bool {
        matches!(self, Self::Connected | Self::Answered)
    }

    /// What an error of the socket means.
    ///
    /// # Panics
    /// On an error that has nothing to do with the network: then the test is wrong.
    pub(super) fn of(error: Errno) -> Self {
        match error {
            Errno::CONNREFUSED | Errno::CONNRESET => Self::Refused,
            Errno::TIMEDOUT | Errno::AGAIN => Self::TimedOut,
            Errno::PERM | Errno::ACCESS | Errno::NOBUFS => Self::PermissionDenied,
            Errno::NETUNREACH | Errno::HOSTUNREACH => Self::Unreachable,
            other => panic!("an error that no network gives: {other}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn errors_are_what_a_program_would_tell() {
        assert_eq!(Outcome::of(Errno::CONNREFUSED), Outcome::Refused);
        assert_eq!(Outcome::of(Errno::PERM), Outcome::PermissionDenied);
        assert_eq!(Outcome::of(Errno::HOSTUNREACH), Outcome::Unreachable);
        assert!(!Outcome::TimedOut.is_success() && Outcome::Answered.is_success());
    }

    #[test]
    #[should_panic(expected = "no network gives")]
    fn mistake_in_the_test_is_not_an_outcome() {
        Outcome::of(Errno::INVAL);
    }
}
