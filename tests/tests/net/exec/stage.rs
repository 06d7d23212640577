//! Where commands of `nsp exec` run: the server of the small internet, with the office's DNS and web
//! servers, and the files of a resolver of its own.

use std::{
    cell::RefCell,
    fmt, fs,
    io::Write as _,
    os::unix::fs::PermissionsExt as _,
    path::{Path, PathBuf},
    process::{Command, ExitStatus, Stdio},
    thread,
    time::Duration,
};

use nsp_tests::{
    agent::{Agent, nsp_binary},
    deadline::Deadline,
    netns::{Namespace, Process, World},
    packet::Party,
    privilege,
};
use serde_json::Value;

/// The port of what is asked for.
pub(crate) const HTTP: u16 = 80;
/// A name of the office, for both families.
pub(crate) const ALLOWED: &str = "index.example.com";
/// A name of the stranger.
pub(crate) const TELEMETRY: &str = "telemetry.example.net";
/// Long enough for an agent of its own on a busy machine.
const PATIENCE: Duration = Duration::from_secs(60);

/// What the agent that runs has: nothing that the sessions need, and members.
const POLICY: &str = r#"
    [perimeter]
    name = "payments"
    [member.web]
    addresses = ["192.0.2.10", "2001:db8:1::10"]
"#;

/// Connects, and writes what came of it: errno, ms, SYNs sent again, its own pid.
const PROBE: &str = r#"
import json, os, socket, sys, time
words = sys.argv[1:]
family = {"-4": socket.AF_INET, "-6": socket.AF_INET6}.get(words[0], socket.AF_UNSPEC)
host, port, name = words[-3:]
errno, again, took = -1, 0, 0
try:
    kind, _, _, _, to = socket.getaddrinfo(host, int(port), family, socket.SOCK_STREAM)[0]
    probe = socket.socket(kind, socket.SOCK_STREAM)
    probe.settimeout(5)
    start = time.monotonic()
    errno = probe.connect_ex(to)
    took = (time.monotonic() - start) * 1000
    info = probe.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, 104)
    again = int.from_bytes(info[100:104], sys.byteorder)
except socket.gaierror:
    pass
with open(name, "w") as out:
    json.dump({"errno": errno, "took": took, "again": again, "pid": os.getpid()}, out)
"#;

/// With a running agent or not.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum With {
    Agent,
    Nothing,
}

/// One attempt of a command to connect.
#[derive(Debug)]
pub(crate) struct Attempt {
    /// The error, zero for none, -1 for a name without an address.
    pub(crate) errno: i64,
    pub(crate) took_ms: f64,
    pub(crate) retransmits: u64,
    pub(crate) pid: u64,
}

/// The stage.
pub(crate) struct Stage {
    // Dropped in this order: processes before the namespaces they are in.
    pub(crate) agent: RefCell<Option<Agent>>,
    _servers: Vec<Process>,
    world: World,
    directory: tempfile::TempDir,
}

impl Stage {
    /// Builds it.
    pub(crate) fn new(with: With) -> Self {
        Self::with_policy(with, POLICY)
    }

    /// The same with another policy of the agent.
    pub(crate) fn with_policy(with: With, policy: &str) -> Self {
        let world = World::new();
        let directory = tempfile::tempdir().expect("the temporary directory is writable");
        // Other users' commands run here too.
        fs::set_permissions(directory.path(), fs::Permissions::from_mode(0o777)).expect("ours");
        let stage = Self { agent: RefCell::new(None), _servers: Vec::new(), world, directory };
        let office = Party::Office;
        stage.write("resolv.conf", &format!("nameserver {}\n", office.v4()));
        stage.write("hosts", "");
        stage.write("probe.py", PROBE);
        stage.write(
            "names",
            &format!(
                "{} {ALLOWED}\n{} {ALLOWED}\n{} {TELEMETRY}\n{} {TELEMETRY}\n",
                office.v4(),
                office.v6(),
                Party::Stranger.v4(),
                Party::Stranger.v6(),
            ),
        );
        fs::create_dir(stage.path("www")).expect("a directory of ours");
        fs::copy(nsp_binary(), stage.path("nsp")).expect("a copy that everybody may run");
        let servers = vec![stage.dns(), stage.web()];
        let stage = Self { _servers: servers, ..stage };
        if with == With::Agent {
            let agent = Agent::builder(stage.world.server())
                .policy(policy)
                .argument("--resolv-conf")
                .argument(stage.path("resolv.conf"))
                .argument("--hosts")
                .argument(stage.path("hosts"))
                .start();
            stage.agent.replace(Some(agent));
        }
        stage
    }

    fn dns(&self) -> Process {
        let mut command = Command::new("dnsmasq");
        command
            .args(["--keep-in-foreground", "--no-resolv", "--no-hosts", "--conf-file=/dev/null"])
            .args(["--user=root", "--bind-interfaces", "--pid-file="])
            .args(["--listen-address", &Party::Office.v4().to_string()])
            .arg(format!("--addn-hosts={}", self.path("names").display()));
        self.host(Party::Office).spawn(quiet(&mut command))
    }

    fn web(&self) -> Process {
        let mut command = Command::new("python3");
        command.args(["-m", "http.server", "--bind", "::", "--directory"]);
        command.arg(self.path("www")).arg(HTTP.to_string());
        let web = self.host(Party::Office).spawn(quiet(&mut command));
        let to = std::net::SocketAddr::new(Party::Office.v4().into(), HTTP);
        let listens = || {
            let met = self.host(Party::Office).enter(|| std::net::TcpStream::connect(to));
            thread::sleep(Duration::from_millis(20));
            met.ok()
        };
        assert!(Deadline::after(PATIENCE).poll(listens).is_some(), "no web server");
        web
    }

    /// A party's namespace.
    pub(crate) fn host(&self, party: Party) -> &Namespace {
        self.world.host(party)
    }

    /// A file of the stage.
    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }

    /// Writes a file of the stage.
    pub(crate) fn write(&self, name: &str, text: &str) {
        fs::write(self.path(name), text).expect("a directory of ours is writable");
    }

    /// A script for bash, with `probe` in it, in the stage's directory.
    pub(crate) fn script(&self, text: &str) -> Vec<String> {
        let directory = self.directory.path().display();
        let prelude = format!("cd {directory}\nprobe() {{ python3 probe.py \"$@\"; }}\n");
        vec!["bash".to_owned(), "-c".to_owned(), format!("{prelude}{text}")]
    }

    /// What a probe with this name wrote.
    pub(crate) fn attempt(&self, name: &str) -> Attempt {
        let text = fs::read_to_string(self.path(name));
        let text = text.unwrap_or_else(|error| panic!("the probe {name} did not end: {error}"));
        let value: Value = serde_json::from_str(&text).expect("JSON");
        Attempt {
            errno: value["errno"].as_i64().expect("a number"),
            took_ms: value["took"].as_f64().expect("a number"),
            retransmits: value["again"].as_u64().expect("a number"),
            pid: value["pid"].as_u64().expect("a number"),
        }
    }

    /// Runs a command by `nsp exec` to its end.
    pub(crate) fn exec(&self, flags: &[&str], command: &[String]) -> Ran {
        self.start(self.host(Party::Server), &[], flags, command).finish()
    }

    /// Starts one, in a namespace, through another command.
    pub(crate) fn start(
        &self,
        namespace: &Namespace,
        through: &[&str],
        flags: &[&str],
        command: &[String],
    ) -> Running {
        // A mount namespace, so that the C library asks the office.
        const ENTER: &str = r#"
            mount --bind "$0/resolv.conf" /etc/resolv.conf
            mount --bind "$0/hosts" /etc/hosts
            exec "$@"
        "#;
        let mut words = Command::new("unshare");
        words.args(["--mount", "bash", "-ec", ENTER]).arg(self.directory.path()).args(through);
        words.arg(self.path("nsp")).args(["exec", "--summary"]).arg(self.path("summary.json"));
        words.args(flags).arg("--").args(command);
        let control = match &*self.agent.borrow() {
            Some(agent) => agent.home().control(),
            None => self.path("nobody-listens"),
        };
        words.env("NSP_CONTROL", control).current_dir(self.directory.path());
        let file = |name: &str| fs::File::create(self.path(name)).expect("a file of ours");
        words.stdin(Stdio::null()).stdout(file("stdout")).stderr(file("stderr"));
        Running { process: namespace.spawn(&mut words), directory: self.directory.path().into() }
    }

    /// The agent's word for it: `nsp status --json`.
    pub(crate) fn sessions(&self) -> usize {
        let agent = self.agent.borrow();
        let agent = agent.as_ref().expect("an agent runs");
        crate::seen::status(agent)["sessions"].as_array().expect("a list").len()
    }

    /// The cgroup of a process of a session.
    pub(crate) fn cgroup_of(&self, pid: &str) -> PathBuf {
        let root = privilege::require().cgroup2.expect("cgroup2 is mounted");
        let text = fs::read_to_string(format!("/proc/{}/cgroup", pid.trim())).expect("it runs");
        let path = text.lines().find_map(|line| line.strip_prefix("0::/")).expect("a cgroup");
        assert!(path.starts_with("nsp-exec-"), "{path}");
        root.join(path)
    }

    /// Whether sessions, agents of their own and their directories are gone, within some seconds.
    pub(crate) fn nothing_is_left(&self) -> bool {
        let gone = || match *self.agent.borrow() {
            Some(_) => (self.sessions() == 0 && self.private_agents() == 0).then_some(()),
            None => (self.private_agents() == 0).then_some(()),
        };
        Deadline::after(Duration::from_secs(10)).poll(gone).is_some()
    }

    /// Agents that verbs of this stage started.
    fn private_agents(&self) -> usize {
        let ours = self.path("nsp").to_string_lossy().into_owned();
        let is_one = |words: &String| words.starts_with(&ours) && words.contains("--for-parent");
        let processes = fs::read_dir("/proc").expect("every host has it").flatten();
        let words = processes.filter_map(|it| fs::read(it.path().join("cmdline")).ok());
        words.map(|it| String::from_utf8_lossy(&it).into_owned()).filter(is_one).count()
    }
}

fn quiet(command: &mut Command) -> &mut Command {
    command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null())
}

/// A command that runs by `nsp exec`.
pub(crate) struct Running {
    pub(crate) process: Process,
    directory: PathBuf,
}

impl Running {
    /// Waits until a file of the stage is there: the command says so how far it is.
    pub(crate) fn wait_for(&self, name: &str) -> String {
        let path = self.directory.join(name);
        let written = || {
            thread::sleep(Duration::from_millis(5));
            fs::read_to_string(&path).ok().filter(|text| !text.is_empty())
        };
        let text = Deadline::after(PATIENCE).poll(written);
        text.unwrap_or_else(|| panic!("no {name}: {}", read(&self.directory, "stderr")))
    }

    /// Waits until the verb is out of the cgroup that its command is in.
    pub(crate) fn wait_until_let_out(&self) {
        let path = format!("/proc/{}/cgroup", self.process.pid());
        let is_out = || {
            let text = fs::read_to_string(&path).expect("the verb runs");
            (!text.contains("/nsp-exec-")).then_some(())
        };
        assert!(Deadline::after(PATIENCE).poll(is_out).is_some(), "the verb stays inside");
    }

    /// Waits for its end.
    pub(crate) fn finish(mut self) -> Ran {
        let status = self.process.wait(PATIENCE);
        let status = status.unwrap_or_else(|| {
            let _ignored = std::io::stderr().write_all(read(&self.directory, "stderr").as_bytes());
            panic!("a command did not end within {PATIENCE:?}")
        });
        let text = |name: &str| read(&self.directory, name);
        Ran {
            status,
            stdout: text("stdout"),
            stderr: text("stderr"),
            summary: text("summary.json"),
        }
    }
}

fn read(directory: &Path, name: &str) -> String {
    fs::read_to_string(directory.join(name)).unwrap_or_default()
}

/// A command that ran by `nsp exec`.
#[derive(Debug)]
pub(crate) struct Ran {
    pub(crate) status: ExitStatus,
    pub(crate) stdout: String,
    pub(crate) stderr: String,
    summary: String,
}

impl fmt::Display for Ran {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { status, stdout, stderr, summary } = self;
        write!(f, "{status}\n{stdout}{stderr}{summary}")
    }
}

impl Ran {
    /// Its exit code.
    pub(crate) fn code(&self) -> Option<i32> {
        self.status.code()
    }

    /// What `--summary` wrote.
    pub(crate) fn summary(&self) -> Value {
        serde_json::from_str(&self.summary).unwrap_or_else(|error| panic!("{error}: {self}"))
    }

    /// What was blocked.
    pub(crate) fn blocked(&self) -> Vec<Value> {
        self.summary()["blocked"].as_array().expect("a list").clone()
    }
}
