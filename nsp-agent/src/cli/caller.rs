//! The connection that this command's session came by, where it came over the network.
//!
//! sshd says so in the environment of the session (`SSH_CONNECTION`, sshd(8)). `sudo` takes that away, so the
//! processes above are asked too, as far as one may look.

use std::{
    fs,
    net::{IpAddr, SocketAddr},
};

use crate::control::Caller;

const VARIABLE: &str = "SSH_CONNECTION";
/// Processes above that are looked at: who has more is in a loop.
const GENERATIONS_MAX: usize = 64;

/// The connection, or nothing at the console.
pub(super) fn find() -> Option<Caller> {
    if let Ok(text) = std::env::var(VARIABLE) {
        return parse(&text);
    }
    let mut process = std::process::id();
    for _ in 0..GENERATIONS_MAX {
        process = parent(&fs::read_to_string(format!("/proc/{process}/stat")).ok()?)?;
        let environment = fs::read(format!("/proc/{process}/environ")).unwrap_or_default();
        let said = environment
            .split(|byte| *byte == 0)
            .filter_map(|it| std::str::from_utf8(it).ok())
            .find_map(|it| it.strip_prefix(VARIABLE)?.strip_prefix('='));
        if let Some(said) = said {
            return parse(said);
        }
    }
    None
}

/// The fourth field (proc_pid_stat(5)), behind a name in parentheses that may hold anything.
fn parent(stat: &str) -> Option<u32> {
    let (_, rest) = stat.rsplit_once(')')?;
    let parent = rest.split_whitespace().nth(1)?.parse().ok()?;
    (parent != 0).then_some(parent)
}

/// Client address and port, server address and port.
fn parse(text: &str) -> Option<Caller> {
    let fields: Vec<&str> = text.split_whitespace().collect();
    let &[client, client_port, server, server_port] = fields.as_slice() else { return None };
    let end = |address: &str, port: &str| {
        // A link-local address names its device.
        let address: IpAddr = address.split('%').next()?.parse().ok()?;
        Some(SocketAddr::new(address.to_canonical(), port.parse().ok()?))
    };
    Some(Caller { remote: end(client, client_port)?, local: end(server, server_port)? })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn connection_is_read_as_sshd_says_it() {
        let caller = parse("203.0.113.5 51022 192.0.2.1 22").unwrap();
        assert_eq!(caller.remote, "203.0.113.5:51022".parse().unwrap());
        assert_eq!(caller.local, "192.0.2.1:22".parse().unwrap());
        let caller = parse("fe80::1%eth0 51022 fe80::2%eth0 22").unwrap();
        assert_eq!(caller.remote, "[fe80::1]:51022".parse().unwrap());
        let mapped = parse("::ffff:203.0.113.5 51022 ::ffff:192.0.2.1 22").unwrap();
        assert_eq!(mapped.remote, "203.0.113.5:51022".parse().unwrap());
        assert!(parse("UNKNOWN 65535 UNKNOWN 65535").is_none());
        assert!(parse("").is_none());
    }

    #[test]
    fn process_above_is_read_whatever_the_name() {
        assert_eq!(parent("12 (a) b) S 7 12 12"), Some(7));
        assert_eq!(parent("1 (init) S 0 1 1"), None);
        assert_eq!(parent("nonsense"), None);
    }
}
