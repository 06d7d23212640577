//! Real DNS servers of a test, and who asks them.

use std::{
    fmt::Write as _,
    fs,
    net::{IpAddr, SocketAddr, UdpSocket},
    path::PathBuf,
    process::{Command, Stdio},
    time::Duration,
};

use nsp_tests::{
    agent::{Agent, AgentBuilder},
    deadline::Deadline,
    netns::{Namespace, Process},
    packet::{Packet, dns},
};
use serde_json::Value;

use crate::cgroup::Cgroup;

/// What a server is told.
pub(crate) enum Knows<'a> {
    /// Names and their addresses, for so many seconds.
    Names(&'a [(&'a str, IpAddr)], u32),
    /// Another server, which it asks.
    Upstream(IpAddr),
}

/// A dnsmasq, and the files that go with it.
pub(crate) struct DnsServer {
    server: Process,
    directory: tempfile::TempDir,
}

impl DnsServer {
    /// Starts one at an address, in a cgroup if one is given.
    ///
    /// # Panics
    /// Without dnsmasq: a test of names that does not run must not look like one that passed.
    pub(crate) fn start(
        namespace: &Namespace,
        address: IpAddr,
        knows: &Knows<'_>,
        cgroup: Option<&Cgroup>,
    ) -> Self {
        const ENTER: &str = r#"[ -z "$0" ] || echo $$ > "$0/cgroup.procs" || exit 9; exec "$@""#;
        let found = Command::new("dnsmasq").arg("--version").stdout(Stdio::null()).status();
        assert!(found.is_ok(), "there is no dnsmasq here: apt-get install dnsmasq-base");
        let directory = tempfile::tempdir().expect("the temporary directory is writable");
        let mut command = Command::new("bash");
        command.args(["-c", ENTER]);
        command.arg(cgroup.map_or(PathBuf::new(), |cgroup| cgroup.path().to_owned()));
        command
            .args(["dnsmasq", "--keep-in-foreground", "--no-resolv", "--no-hosts"])
            .args(["--conf-file=/dev/null", "--user=root", "--bind-interfaces", "--pid-file="])
            .arg(format!("--listen-address={address}"));
        match knows {
            Knows::Names(names, ttl_s) => {
                let mut hosts = String::new();
                for (name, address) in *names {
                    let _written = writeln!(hosts, "{address} {name}");
                }
                let file = directory.path().join("names");
                fs::write(&file, hosts).expect("a file of ours");
                command.arg(format!("--addn-hosts={}", file.display()));
                command.arg(format!("--local-ttl={ttl_s}"));
            }
            Knows::Upstream(upstream) => {
                command.arg(format!("--server={upstream}"));
            }
        }
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
        let server = namespace.spawn(&mut command);
        fs::write(directory.path().join("resolv.conf"), format!("nameserver {address}\n"))
            .expect("a file of ours");
        fs::write(directory.path().join("hosts"), "").expect("a file of ours");
        Self { server, directory }
    }

    /// The files of a host that asks this server, for an agent.
    pub(crate) fn files(&self, agent: AgentBuilder) -> AgentBuilder {
        agent
            .argument("--resolv-conf")
            .argument(self.directory.path().join("resolv.conf"))
            .argument("--hosts")
            .argument(self.directory.path().join("hosts"))
    }

    /// Ends it; the files stay.
    pub(crate) fn stop(&mut self) {
        self.server.kill();
    }
}

/// Asks a server for an address of a name; answers the message.
///
/// # Panics
/// When there is no answer.
#[track_caller]
pub(crate) fn ask(namespace: &Namespace, server: IpAddr, name: &str, kind: u16) -> Vec<u8> {
    let question = Packet::from(dns::query(7, name, kind)).bytes();
    namespace.enter(|| {
        let socket = UdpSocket::bind(if server.is_ipv4() { "0.0.0.0:0" } else { "[::]:0" });
        let socket = socket.expect("a free port");
        socket.connect(SocketAddr::new(server, 53)).expect("a route");
        socket.set_read_timeout(Some(Duration::from_millis(500))).expect("a timeout");
        let mut answer = [0; 2048];
        // dnsmasq takes a moment to start.
        let length = Deadline::after(Duration::from_secs(10)).poll(|| {
            let _sent = socket.send(&question);
            socket.recv(&mut answer).ok().filter(|_| answer[3] & 0xf != 5)
        });
        answer[..length.unwrap_or_else(|| panic!("no answer for {name}"))].to_vec()
    })
}

/// `nsp status --dns --json`.
#[track_caller]
pub(crate) fn status(agent: &Agent) -> Value {
    serde_json::from_str(&agent.nsp_ok(&["status", "--dns", "--json"])).expect("JSON")
}

/// Asks for the status until it says what is wanted of it.
///
/// # Panics
/// When it does not within ten seconds; the message has the whole.
#[track_caller]
pub(crate) fn until<T>(agent: &Agent, wanted: impl Fn(&Value) -> Option<T>) -> T {
    let mut last = Value::Null;
    let found = Deadline::after(Duration::from_secs(10)).poll(|| {
        last = status(agent);
        let found = wanted(&last);
        if found.is_none() {
            std::thread::sleep(Duration::from_millis(100));
        }
        found
    });
    found.unwrap_or_else(|| panic!("{last:#}"))
}

/// The addresses of a name in the status.
pub(crate) fn addresses(status: &Value, name: &str) -> Vec<Value> {
    let names = status["names"].as_array().expect("a list of names");
    let name = names.iter().find(|it| it["name"] == name).unwrap_or_else(|| panic!("{names:#?}"));
    name["addresses"].as_array().expect("a list of addresses").clone()
}
