//! Where it plays: the small internet of the tests, a container on the server, its firewall, and
//! who listens where.

use std::{
    io::Write as _,
    net::{Ipv6Addr, SocketAddr},
    process::{Command, Stdio},
    time::Duration,
};

use super::{failure::Failure, office::Office};
use crate::{
    netns::{Namespace, World},
    packet::Party,
    sockets::{EchoServer, Served},
};

/// The database: the firewall lets everybody in, because clients come from many places.
pub(super) const DATABASE: u16 = 5432;
/// The web site, published from a container.
pub(super) const WEBSITE: u16 = 8080;
/// The way in for administrators.
pub(super) const SSH: u16 = 22;
/// Something of the host itself that the firewall really closes.
pub(super) const ADMIN: u16 = 9000;
/// The log collector, UDP.
pub(super) const SYSLOG: u16 = 5514;
/// What others offer the server.
pub(super) const HTTPS: u16 = 443;
/// The same for the container, so that its line in the log is its own.
pub(super) const HTTPS_ALT: u16 = 8443;

/// The host's own firewall, and beside it what `docker run -p 8080:80` adds.
const FIREWALL: &str = "
table inet firewall {
    chain input {
        type filter hook input priority filter; policy drop;
        ct state established,related accept
        iifname lo accept
        meta l4proto { icmp, ipv6-icmp } accept
        tcp dport { 22, 5432 } accept
        udp dport 5514 accept
        tcp dport 8080 counter drop
    }
}
table inet docker {
    chain prerouting {
        type nat hook prerouting priority dstnat;
        iifname != docker0 meta nfproto ipv4 tcp dport 8080 dnat ip to 172.17.0.2:80
        iifname != docker0 meta nfproto ipv6 tcp dport 8080 dnat ip6 to [fd17::2]:80
    }
    chain postrouting {
        type nat hook postrouting priority srcnat;
        ip saddr 172.17.0.0/16 oifname != docker0 masquerade
        ip6 saddr fd17::/64 oifname != docker0 masquerade
    }
}
";

/// Dropping it ends the servers and removes the namespaces.
pub(super) struct Stage {
    _servers: Vec<EchoServer>,
    /// Plays docker-proxy, which Docker starts beside its NAT rule to hold the port.
    proxy: EchoServer,
    /// The stranger's, where nothing is to arrive that the server sends.
    telemetry: EchoServer,
    pub(super) office: Office,
    container: Namespace,
    pub(super) world: World,
}

impl Stage {
    /// Builds it.
    pub(super) fn set() -> Result<Self, Failure> {
        let mut world = World::new();
        let container = add_container(&mut world);
        world.settle();
        let server = world.server();
        nft(server, &["-f", "-"], FIREWALL)?;
        // One socket for both families, as most servers have it.
        let any = |port| SocketAddr::new(Ipv6Addr::UNSPECIFIED.into(), port);
        let tcp = |host: &Namespace, port| EchoServer::tcp(host, any(port));
        let servers = vec![
            tcp(server, SSH),
            tcp(server, DATABASE),
            tcp(server, ADMIN),
            EchoServer::udp(server, any(SYSLOG)),
            tcp(&container, 80),
            tcp(world.host(Party::Office), HTTPS),
            tcp(world.host(Party::Stranger), HTTPS_ALT),
            EchoServer::udp(world.host(Party::Stranger), any(SYSLOG)),
            tcp(world.host(Party::Member), HTTPS),
            tcp(world.host(Party::Private), HTTPS),
        ];
        let proxy = tcp(server, WEBSITE);
        let telemetry = tcp(world.host(Party::Stranger), HTTPS);
        let office = Office::open(&world)?;
        Ok(Self { _servers: servers, proxy, telemetry, office, container, world })
    }

    /// The container's namespace.
    pub(super) fn container(&self) -> &Namespace {
        &self.container
    }

    /// What came to the published port on the host itself.
    pub(super) fn proxy_served(&self) -> Served {
        self.proxy.served_after(1, Duration::from_millis(50))
    }

    /// What came to the stranger's own web server.
    pub(super) fn stranger_served(&self) -> Served {
        self.telemetry.served()
    }

    /// The firewall's input chain as `nft` lists it.
    pub(super) fn input_chain(&self) -> Result<String, Failure> {
        nft(self.world.server(), &["list", "chain", "inet", "firewall", "input"], "")
    }
}

fn add_container(world: &mut World) -> Namespace {
    let sandbox = world.sandbox();
    let container = sandbox.add_host("container").clone();
    sandbox.connect(("server", "docker0"), ("container", "eth0"));
    let server = sandbox.host("server");
    server.sysctl("net.ipv4.ip_forward", "1");
    server.sysctl("net.ipv6.conf.all.forwarding", "1");
    server.ip("address add 172.17.0.1/16 dev docker0\naddress add fd17::1/64 dev docker0 nodad\n");
    container.ip("address add 172.17.0.2/16 dev eth0\n\
         address add fd17::2/64 dev eth0 nodad\n\
         route add default via 172.17.0.1\n\
         route add ::/0 via fd17::1\n");
    container
}

fn nft(host: &Namespace, arguments: &[&str], input: &str) -> Result<String, Failure> {
    let broken = |why: &str| Failure::Broken(format!("nft {}: {why}", arguments.join(" ")));
    let mut command = Command::new("nft");
    command.args(arguments).stdin(Stdio::piped());
    command.stdout(Stdio::piped()).stderr(Stdio::piped());
    let child = host.enter(|| command.spawn()).map_err(|error| broken(&error.to_string()))?;
    // A rule set is shorter than a pipe: nobody waits for anybody.
    let mut stdin = child.stdin.as_ref();
    let written = stdin.as_mut().map_or(Ok(()), |pipe| pipe.write_all(input.as_bytes()));
    written.map_err(|error| broken(&error.to_string()))?;
    let output = child.wait_with_output().map_err(|error| broken(&error.to_string()))?;
    if !output.status.success() {
        return Err(broken(&String::from_utf8_lossy(&output.stderr)));
    }
    Ok(String::from_utf8_lossy(&output.stdout).into_owned())
}
