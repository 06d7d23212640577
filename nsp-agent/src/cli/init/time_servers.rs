//! The time servers that this host is configured to ask: without them its clock drifts away once
//! outbound traffic is enforced.
//!
//! Read from the files of systemd-timesyncd, chrony and the two ntpds. Which of them runs is not
//! looked at: a rule too many is seen by whoever reads the policy, a missing one by nobody.

use std::{
    collections::BTreeSet,
    fs, io,
    net::IpAddr,
    path::{Path, PathBuf},
};

use crate::policy::model::Fqdn;

const TIMESYNCD: &str = "systemd/timesyncd.conf";
const TIMESYNCD_PARTS: (&str, &str) = ("systemd/timesyncd.conf.d", "conf");
/// Files of daemons whose lines begin with a word such as `server`: chrony at its two places, ntp,
/// ntpsec.
const DAEMONS: [&str; 4] = ["chrony/chrony.conf", "chrony.conf", "ntp.conf", "ntpsec/ntp.conf"];
/// Directories that these read too, and how the names of their files end.
const DAEMON_PARTS: [(&str, &str); 3] =
    [("chrony/conf.d", "conf"), ("chrony/sources.d", "sources"), ("ntpsec/ntp.d", "conf")];

/// What was found.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct TimeServers {
    /// By name.
    pub(super) names: BTreeSet<Fqdn>,
    /// By address.
    pub(super) addresses: BTreeSet<IpAddr>,
    /// The files that name them.
    pub(super) files: Vec<PathBuf>,
    /// What could not be read or understood.
    pub(super) notes: Vec<String>,
}

/// Looks through the files below `etc`.
pub(super) fn read(etc: &Path) -> TimeServers {
    let mut found = TimeServers::default();
    let main = etc.join(TIMESYNCD);
    let parts = files_in(&etc.join(TIMESYNCD_PARTS.0), TIMESYNCD_PARTS.1);
    for file in [&main].into_iter().chain(&parts) {
        found.take(file, |text| set_in(text, ""));
    }
    let parts =
        DAEMON_PARTS.iter().flat_map(|(directory, end)| files_in(&etc.join(directory), end));
    for file in DAEMONS.iter().map(|file| etc.join(file)).chain(parts) {
        found.take(&file, directives);
    }
    if found.is_empty() {
        // timesyncd then asks those that it was built with, and its file has them as a comment.
        found.take(&main, |text| set_in(text, "#"));
    }
    found
}

impl TimeServers {
    /// Whether there is none.
    pub(super) fn is_empty(&self) -> bool {
        self.names.is_empty() && self.addresses.is_empty()
    }

    /// Adds the servers of a file that `servers` finds in its text.
    fn take(&mut self, file: &Path, servers: impl Fn(&str) -> Vec<&str>) {
        let text = match fs::read(file) {
            Ok(bytes) => String::from_utf8_lossy(&bytes).into_owned(),
            Err(error) if error.kind() == io::ErrorKind::NotFound => return,
            Err(error) => {
                return self.notes.push(format!("cannot read {}: {error}", file.display()));
            }
        };
        let before = self.names.len() + self.addresses.len();
        for server in servers(&text) {
            self.add(server, file);
        }
        if self.names.len() + self.addresses.len() > before {
            self.files.push(file.to_owned());
        }
    }

    fn add(&mut self, server: &str, file: &Path) {
        if let Ok(address) = server.parse::<IpAddr>() {
            let address = address.to_canonical();
            // A loopback address stands for a clock of this host (127.127.1.0), a multicast one
            // passes without a rule.
            let elsewhere =
                !address.is_loopback() && !address.is_multicast() && !address.is_unspecified();
            self.addresses.extend(elsewhere.then_some(address));
        } else if let Ok(name) = server.parse() {
            self.names.insert(name);
        } else if server != "localhost" {
            self.notes.push(format!(
                "time server {server} of {} is neither an address nor a full name, and is in no \
                 rule",
                file.display()
            ));
        }
    }
}

/// The values of `NTP=` and `FallbackNTP=`, whose lines begin with `mark`. An empty value takes back
/// what stood before it.
fn set_in<'a>(text: &'a str, mark: &str) -> Vec<&'a str> {
    ["NTP", "FallbackNTP"]
        .iter()
        .flat_map(|key| {
            let value = |line: &'a str| {
                let value = line.trim().strip_prefix(mark)?.strip_prefix(key)?.trim_start();
                value.strip_prefix('=').map(str::trim)
            };
            text.lines().filter_map(value).fold(Vec::new(), |mut servers, value| {
                if value.is_empty() {
                    servers.clear();
                }
                servers.extend(value.split_whitespace());
                servers
            })
        })
        .collect()
}

/// The servers of lines such as `pool 2.debian.pool.ntp.org iburst`, in chrony's and ntpd's files.
fn directives(text: &str) -> Vec<&str> {
    let server = |line| {
        let mut words = str::split_whitespace(line);
        let directive = words.next()?.to_ascii_lowercase();
        let names_server = ["server", "pool", "peer"].contains(&&*directive);
        // ntpd takes the family before the server.
        names_server.then(|| words.find(|word| !word.starts_with('-'))).flatten()
    };
    text.lines().filter_map(server).collect()
}

/// The files of a directory whose names end so, in order; none where there is no directory.
fn files_in(directory: &Path, end: &str) -> Vec<PathBuf> {
    let entries = fs::read_dir(directory).into_iter().flatten().flatten();
    let mut files: Vec<PathBuf> = entries.map(|entry| entry.path()).collect();
    files.retain(|file| file.extension().is_some_and(|it| it == end));
    files.sort();
    files
}

#[cfg(test)]
mod tests {
    use rstest::rstest;

    use super::*;

    /// What is found where these files are all there is.
    fn found(files: &[(&str, &str)]) -> (Vec<String>, Vec<String>, TimeServers) {
        let etc = tempfile::tempdir().unwrap();
        for (file, text) in files {
            let path = etc.path().join(file);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, text).unwrap();
        }
        let found = read(etc.path());
        let names = found.names.iter().map(ToString::to_string).collect();
        let addresses = found.addresses.iter().map(ToString::to_string).collect();
        (names, addresses, found)
    }

    #[rstest]
    #[case::nothing(&[], &[], &[])]
    #[case::timesyncd(
        &[("systemd/timesyncd.conf", "[Time]\nNTP=ntp.example.com 192.0.2.123\nFallbackNTP = 2001:db8::123\n")],
        &["ntp.example.com"], &["192.0.2.123", "2001:db8::123"])]
    #[case::timesyncd_part(
        &[("systemd/timesyncd.conf", "[Time]\n"), ("systemd/timesyncd.conf.d/a.conf", "NTP=a.example.com\n"),
          ("systemd/timesyncd.conf.d/b.conf.dpkg-old", "NTP=b.example.com\n")],
        &["a.example.com"], &[])]
    #[case::timesyncd_takes_back(
        &[("systemd/timesyncd.conf", "NTP=a.example.com\nNTP=\nNTP=b.example.com\n")],
        &["b.example.com"], &[])]
    #[case::timesyncd_as_built(
        &[("systemd/timesyncd.conf", "[Time]\n#NTP=\n#FallbackNTP=0.debian.pool.ntp.org 1.debian.pool.ntp.org\n")],
        &["0.debian.pool.ntp.org", "1.debian.pool.ntp.org"], &[])]
    #[case::what_is_set_counts_before_what_was_built_in(
        &[("systemd/timesyncd.conf", "#FallbackNTP=0.debian.pool.ntp.org\n"), ("chrony/chrony.conf", "server 192.0.2.123\n")],
        &[], &["192.0.2.123"])]
    #[case::chrony(
        &[("chrony/chrony.conf", "# server no.example.com\n! pool no.example.com\npool 2.debian.pool.ntp.org iburst\n\
            Server ntp.example.com minpoll 4\nrefclock PHC /dev/ptp0\nmakestep 1 3\n"),
          ("chrony/sources.d/own.sources", "peer 192.0.2.124\n"), ("chrony/conf.d/own.conf", "server 192.0.2.125\n")],
        &["2.debian.pool.ntp.org", "ntp.example.com"], &["192.0.2.124", "192.0.2.125"])]
    #[case::chrony_elsewhere(&[("chrony.conf", "server ntp.example.com\n")], &["ntp.example.com"], &[])]
    #[case::ntp(
        &[("ntp.conf", "driftfile /var/lib/ntp/ntp.drift\nserver -4 ntp.example.com iburst\nserver 127.127.1.0\n\
            restrict 192.0.2.1\npool\n")],
        &["ntp.example.com"], &[])]
    #[case::ntpsec(&[("ntpsec/ntp.conf", "pool NTP.Example.com.\n")], &["ntp.example.com"], &[])]
    #[case::this_host(&[("ntp.conf", "server localhost\nserver ::1\nserver 0.0.0.0\nserver 224.0.1.1\n")], &[], &[])]
    #[case::mapped(&[("ntp.conf", "server ::ffff:192.0.2.123\n")], &[], &["192.0.2.123"])]
    fn servers(
        #[case] files: &[(&str, &str)],
        #[case] expected_names: &[&str],
        #[case] expected_addresses: &[&str],
    ) {
        let (names, addresses, found) = found(files);
        assert_eq!(names, expected_names);
        assert_eq!(addresses, expected_addresses);
        assert_eq!(found.files.is_empty(), found.is_empty());
        assert_eq!(found.notes, [""; 0]);
    }

    #[test]
    fn what_can_be_in_no_rule_is_a_note() {
        let (_, _, found) = found(&[("ntp.conf", "server timehost\nserver fe80::1%eth0\n")]);
        assert!(found.is_empty());
        assert_eq!(found.notes.len(), 2);
        assert!(found.notes[0].starts_with("time server timehost of "), "{:?}", found.notes);
    }

    #[test]
    fn a_file_that_cannot_be_read_is_a_note() {
        let etc = tempfile::tempdir().unwrap();
        fs::create_dir_all(etc.path().join("ntp.conf")).unwrap();
        let found = read(etc.path());
        assert_eq!(found.notes.len(), 1);
        assert!(found.notes[0].contains("ntp.conf: "), "{:?}", found.notes);
    }
}
