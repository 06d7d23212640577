//! Asking the resolvers for a name's addresses. The only file that knows the DNS library.
//!
//! The library's cache is off and its search list is not used: expiry is the schedule's business,
//! and an access rule means one name. `/etc/hosts` comes first, as for any program on this host;
//! what it says about a name is all there is.
//!
//! **Invariant:** an address counts only if its owner is the name asked for, or is reached from it
//! by the CNAME records of the same answer.

use std::{
    fs, io,
    net::SocketAddr,
    os::unix::fs::MetadataExt as _,
    path::{Path, PathBuf},
    sync::{Arc, Mutex, PoisonError},
    time::{Duration, SystemTime},
};

use hickory_resolver::{
    Hosts, TokioResolver,
    config::{ConnectionConfig, NameServerConfig, ResolveHosts, ResolverConfig, ResolverOpts},
    net::{DnsError, NetError, runtime::TokioRuntimeProvider},
    proto::{
        op::{Query, ResponseCode},
        rr::{Name, RData, Record, RecordType},
    },
    system_conf::parse_resolv_conf,
};

pub use super::resolve::{Answer, LOOKUP_TIME_MAX, Resolve, ResolveError, Upstreams};

/// How long one round of asking waits.
const ROUND: Duration = Duration::from_secs(2);

/// Rounds after the first.
const RETRIES: usize = 2;

/// How long an answer from `/etc/hosts` holds. The file is looked at for changes at every lookup.
pub const HOSTS_TTL: Duration = Duration::from_secs(60);

/// CNAME records that are followed.
const CHAIN_LENGTH_MAX: usize = 16;

/// Asks as this host does. Must be used inside a tokio runtime.
#[derive(Debug)]
pub struct HostResolver {
    upstreams: Upstreams,
    resolv_conf: PathBuf,
    hosts: PathBuf,
    state: Mutex<State>,
}

/// What was read, and what the files looked like then.
#[derive(Debug)]
struct State {
    resolver: Result<TokioResolver, ResolveError>,
    resolv_conf: Stamp,
    hosts: Arc<Hosts>,
    hosts_stamp: Stamp,
}

/// What tells one state of a file from another: device, inode, size, time of the last change.
/// `None` when it is not there.
type Stamp = Option<(u64, u64, u64, Option<SystemTime>)>;

impl HostResolver {
    /// Asks these, with the host's own files.
    pub fn new(upstreams: Upstreams) -> Self {
        Self::with_files(upstreams, "/etc/resolv.conf".into(), "/etc/hosts".into())
    }

    /// Likewise with other files.
    pub fn with_files(upstreams: Upstreams, resolv_conf: PathBuf, hosts: PathBuf) -> Self {
        let state = State {
            resolv_conf: stamp(&resolv_conf),
            resolver: connect(&upstreams, &resolv_conf),
            hosts_stamp: stamp(&hosts),
            hosts: read_hosts(&hosts),
        };
        Self { upstreams, resolv_conf, hosts, state: Mutex::new(state) }
    }

    /// The resolver and the hosts file as they are now.
    fn current(&self) -> (Result<TokioResolver, ResolveError>, Arc<Hosts>) {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        let found = stamp(&self.resolv_conf);
        if self.upstreams == Upstreams::Host && found != state.resolv_conf {
            state.resolver = connect(&self.upstreams, &self.resolv_conf);
            state.resolv_conf = found;
        }
        let found = stamp(&self.hosts);
        if found != state.hosts_stamp {
            state.hosts = read_hosts(&self.hosts);
            state.hosts_stamp = found;
        }
        (state.resolver.clone(), state.hosts.clone())
    }
}

impl Resolve for HostResolver {
    async fn lookup(&self, name: &str) -> Result<Answer, ResolveError> {
        let mut name = Name::from_ascii(name).map_err(|_| ResolveError::BadName)?;
        name.set_fqdn(true);
        let (resolver, hosts) = self.current();
        if let Some(answer) = in_hosts(&hosts, &name) {
            return Ok(answer);
        }
        let resolver = resolver?;
        let both = async {
            tokio::join!(
                family(&resolver, &name, RecordType::A),
                family(&resolver, &name, RecordType::AAAA),
            )
        };
        let (v4, v6) =
            tokio::time::timeout(LOOKUP_TIME_MAX, both).await.map_err(|_| ResolveError::Timeout)?;
        merge(v4, v6)
    }
}

/// The addresses of one family.
async fn family(
    resolver: &TokioResolver,
    name: &Name,
    record_type: RecordType,
) -> Result<Answer, ResolveError> {
    let lookup =
        resolver.lookup(name.clone(), record_type).await.map_err(|error| classify(&error))?;
    rooted(name, lookup.answers()).ok_or(ResolveError::NoAddress)
}

/// The addresses that the answer's CNAME records lead to from the name.
fn rooted(name: &Name, records: &[Record]) -> Option<Answer> {
    let mut ttl_s = u32::MAX;
    let mut chain = vec![name];
    while let Some(next) = records.iter().find_map(|record| match &record.data {
        RData::CNAME(target) if Some(&&record.name) == chain.last() => Some((target, record.ttl)),
        _ => None,
    }) {
        let (target, ttl) = next;
        if chain.len() > CHAIN_LENGTH_MAX || chain.contains(&&target.0) {
            return None;
        }
        chain.push(&target.0);
        ttl_s = ttl_s.min(honest(ttl));
    }
    let mut addresses = Vec::new();
    for record in records.iter().filter(|record| chain.contains(&&record.name)) {
        if let Some(address) = record.data.ip_addr() {
            addresses.push(address);
            ttl_s = ttl_s.min(honest(record.ttl));
        }
    }
    let ttl = Duration::from_secs(ttl_s.into());
    (!addresses.is_empty()).then_some(Answer { addresses, ttl, incomplete: None })
}

/// A TTL with its highest bit set means zero (RFC 2181, section 8).
fn honest(ttl: u32) -> u32 {
    if ttl > i32::MAX as u32 { 0 } else { ttl }
}

/// One answer of two. A family that has no addresses is no failure when the other has some.
fn merge(
    v4: Result<Answer, ResolveError>,
    v6: Result<Answer, ResolveError>,
) -> Result<Answer, ResolveError> {
    match (v4, v6) {
        (Ok(mut v4), Ok(v6)) => {
            v4.addresses.extend(v6.addresses);
            v4.ttl = v4.ttl.min(v6.ttl);
            Ok(v4)
        }
        (Ok(answer), Err(error)) | (Err(error), Ok(answer)) => {
            let incomplete = (!error.is_denial()).then_some(error);
            Ok(Answer { incomplete, ..answer })
        }
        (Err(v4), Err(v6)) => {
            let real = if v4.is_denial() && !v6.is_denial() { v6 } else { v4 };
            Err(real)
        }
    }
}

fn classify(error: &NetError) -> ResolveError {
    match error {
        NetError::Dns(DnsError::NoRecordsFound(found)) => match found.response_code {
            ResponseCode::NXDomain => ResolveError::NoName,
            ResponseCode::NoError => ResolveError::NoAddress,
            code => ResolveError::Code(code.to_string()),
        },
        NetError::Dns(DnsError::ResponseCode(code)) => ResolveError::Code(code.to_string()),
        NetError::Timeout => ResolveError::Timeout,
        other => ResolveError::Other(other.to_string()),
    }
}

fn connect(upstreams: &Upstreams, resolv_conf: &Path) -> Result<TokioResolver, ResolveError> {
    let servers = match upstreams {
        Upstreams::Servers(servers) => servers.iter().copied().map(server).collect(),
        Upstreams::Host => host_servers(resolv_conf)?,
    };
    if servers.is_empty() {
        return Err(ResolveError::NoResolver("none is configured".into()));
    }
    let config = ResolverConfig::from_name_servers(servers);
    TokioResolver::builder_with_config(config, TokioRuntimeProvider::default())
        .with_options(options())
        .build()
        .map_err(|error| ResolveError::NoResolver(error.to_string()))
}

fn host_servers(resolv_conf: &Path) -> Result<Vec<NameServerConfig>, ResolveError> {
    let problem = |error: &dyn std::error::Error| {
        ResolveError::NoResolver(format!("{}: {error}", resolv_conf.display()))
    };
    let text = fs::read(resolv_conf).map_err(|error| problem(&error))?;
    let (config, _) = parse_resolv_conf(text).map_err(|error| problem(&error))?;
    Ok(config.name_servers().to_vec())
}

fn server(address: SocketAddr) -> NameServerConfig {
    let at = |mut connection: ConnectionConfig| {
        connection.port = address.port();
        connection
    };
    let connections = vec![at(ConnectionConfig::udp()), at(ConnectionConfig::tcp())];
    NameServerConfig::new(address.ip(), true, connections)
}

fn options() -> ResolverOpts {
    let mut options = ResolverOpts::default();
    options.cache_size = 0;
    options.use_hosts_file = ResolveHosts::Never;
    options.timeout = ROUND;
    options.attempts = RETRIES;
    options.preserve_intermediates = true;
    // The schedule's ceiling is the only one: a TTL cut down here could not be told from an honest
    // one (see `honest`).
    options.positive_max_ttl = Some(Duration::from_secs(u32::MAX.into()));
    options
}

fn stamp(path: &Path) -> Stamp {
    let metadata = fs::metadata(path).ok()?;
    Some((metadata.dev(), metadata.ino(), metadata.len(), metadata.modified().ok()))
}

/// What the hosts file says; as far as it can be read, nothing.
fn read_hosts(path: &Path) -> Arc<Hosts> {
    let mut hosts = Hosts::default();
    let read = fs::read(path).and_then(|bytes| {
        let text = String::from_utf8_lossy(&bytes);
        hosts.read_hosts_conf(text.as_bytes())
    });
    if let Err(error) = read
        && error.kind() != io::ErrorKind::NotFound
    {
        tracing::warn!(path = %path.display(), %error, "cannot read the hosts file");
    }
    Arc::new(hosts)
}

fn in_hosts(hosts: &Hosts, name: &Name) -> Option<Answer> {
    let mut addresses = Vec::new();
    for record_type in [RecordType::A, RecordType::AAAA] {
        let query = Query::query(name.clone(), record_type);
        if let Some(lookup) = hosts.lookup_static_host(&query) {
            addresses.extend(lookup.answers().iter().filter_map(|record| record.data.ip_addr()));
        }
    }
    (!addresses.is_empty()).then_some(Answer { addresses, ttl: HOSTS_TTL, incomplete: None })
}

#[cfg(test)]
mod tests;
