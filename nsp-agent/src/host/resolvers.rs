//! The DNS resolvers that this host asks.
//!
//! What the policy trusts as a resolver is an address on another machine. Programs often ask a
//! stub on this one; for systemd-resolved's its upstreams are read in its place, any other stub's
//! upstreams cannot be known from here, and [`Resolvers::blind`] says so.

use std::{
    fs, io,
    net::IpAddr,
    os::unix::fs::MetadataExt as _,
    path::{Path, PathBuf},
    time::Duration,
};

use tokio::{sync::watch, time};

/// How often the files are looked at.
const POLL: Duration = Duration::from_secs(1);

/// Where systemd-resolved listens for programs of this host.
const RESOLVED_STUBS: [IpAddr; 2] = [
    IpAddr::V4(std::net::Ipv4Addr::new(127, 0, 0, 53)),
    IpAddr::V4(std::net::Ipv4Addr::new(127, 0, 0, 54)),
];

/// The files that name resolvers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ResolverFiles {
    /// What programs read.
    pub resolv_conf: PathBuf,
    /// Where systemd-resolved writes its upstreams, in the same form.
    pub resolved_upstreams: PathBuf,
}

impl Default for ResolverFiles {
    fn default() -> Self {
        Self {
            resolv_conf: "/etc/resolv.conf".into(),
            resolved_upstreams: "/run/systemd/resolve/resolv.conf".into(),
        }
    }
}

/// One resolver.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Resolver {
    /// Its address.
    pub address: IpAddr,
    /// The device that a link-local address belongs to, by name or number.
    pub zone: Option<String>,
    /// The file that names it.
    pub file: PathBuf,
}

/// The resolvers of one moment.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Resolvers {
    /// All of them, without repeats: what programs ask, then the upstreams of systemd-resolved.
    pub all: Vec<Resolver>,
}

/// Why the resolvers cannot be read.
#[derive(Debug, thiserror::Error)]
#[error("cannot read the resolvers from {}: {source}", .path.display())]
pub struct ResolversError {
    path: PathBuf,
    source: io::Error,
}

impl Resolvers {
    /// Those on other machines: what this host's own DNS traffic goes to.
    pub fn remote(&self) -> impl Iterator<Item = &Resolver> {
        self.all.iter().filter(|resolver| !resolver.address.is_loopback())
    }

    /// Those on this machine.
    pub fn local(&self) -> impl Iterator<Item = &Resolver> {
        self.all.iter().filter(|resolver| resolver.address.is_loopback())
    }

    /// Whether programs ask a stub on this machine and nothing tells which resolvers it asks.
    pub fn blind(&self) -> bool {
        self.local().next().is_some() && self.remote().next().is_none()
    }
}

/// Reads the resolvers. Without a `resolv.conf`, or with none named in it, programs ask 127.0.0.1
/// (resolv.conf(5)), and so does the result.
///
/// # Errors
///
/// When a file is there and cannot be read.
pub fn read(files: &ResolverFiles) -> Result<Resolvers, ResolversError> {
    let ResolverFiles { resolv_conf, resolved_upstreams } = files;
    let mut asked = parse(&read_if_there(resolv_conf)?, resolv_conf);
    if asked.is_empty() {
        let address = IpAddr::from([127, 0, 0, 1]);
        asked.push(Resolver { address, zone: None, file: resolv_conf.clone() });
    }
    if asked.iter().any(|resolver| RESOLVED_STUBS.contains(&resolver.address)) {
        asked.extend(parse(&read_if_there(resolved_upstreams)?, resolved_upstreams));
    }
    let mut all: Vec<Resolver> = Vec::new();
    for resolver in asked {
        let known = |it: &Resolver| (it.address, &it.zone) == (resolver.address, &resolver.zone);
        if !all.iter().any(known) {
            all.push(resolver);
        }
    }
    Ok(Resolvers { all })
}

fn read_if_there(path: &Path) -> Result<String, ResolversError> {
    match fs::read(path) {
        Ok(bytes) => Ok(String::from_utf8_lossy(&bytes).into_owned()),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(String::new()),
        Err(source) => Err(ResolversError { path: path.into(), source }),
    }
}

/// The `nameserver` lines of a resolv.conf. What is not an address is passed over, as the C library
/// does.
fn parse(text: &str, file: &Path) -> Vec<Resolver> {
    let resolver = |line: &str| {
        let mut words = line.split_ascii_whitespace();
        let (keyword, value) = (words.next()?, words.next()?);
        let (address, zone) = match value.split_once('%') {
            Some((address, zone)) => (address, Some(zone.to_owned())),
            None => (value, None),
        };
        let address = address.parse::<IpAddr>().ok().filter(|_| keyword == "nameserver")?;
        // The unspecified address means this host.
        let address = match address.to_canonical() {
            IpAddr::V4(v4) if v4.is_unspecified() => IpAddr::from([127, 0, 0, 1]),
            IpAddr::V6(v6) if v6.is_unspecified() => std::net::Ipv6Addr::LOCALHOST.into(),
            address => address,
        };
        Some(Resolver { address, zone, file: file.into() })
    };
    text.lines().filter_map(resolver).collect()
}

/// Follows the files. The receiver holds the resolvers as of now and is marked changed when they
/// are others. A file that cannot be read for a while leaves the last ones in place.
///
/// # Errors
///
/// When the files cannot be read to begin with.
pub fn watch(files: ResolverFiles) -> Result<watch::Receiver<Resolvers>, ResolversError> {
    watch_every(files, POLL)
}

fn watch_every(
    files: ResolverFiles,
    pause: Duration,
) -> Result<watch::Receiver<Resolvers>, ResolversError> {
    let mut seen = stamps(&files);
    let (sender, receiver) = watch::channel(read(&files)?);
    tokio::spawn(async move {
        while tokio::select! { () = time::sleep(pause) => true, () = sender.closed() => false } {
            let now = stamps(&files);
            if now == seen {
                continue;
            }
            match read(&files) {
                Ok(resolvers) => {
                    seen = now;
                    sender.send_if_modified(|known| {
                        let changed = *known != resolvers;
                        *known = resolvers;
                        changed
                    });
                }
                Err(error) => tracing::warn!(%error, "the resolvers stay as they were"),
            }
        }
    });
    Ok(receiver)
}

/// What changes with a file: which one it is, its size and its time of change in seconds and
/// nanoseconds.
type Stamp = Option<(u64, u64, i64, i64)>;

fn stamps(files: &ResolverFiles) -> [Stamp; 2] {
    [&files.resolv_conf, &files.resolved_upstreams].map(|path| {
        let it = fs::metadata(path).ok()?;
        Some((it.ino(), it.size(), it.mtime(), it.mtime_nsec()))
    })
}

#[cfg(test)]
mod tests;
