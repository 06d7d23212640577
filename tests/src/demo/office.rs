//! What the office offers a build: its DNS server, its packages, and a command on the server that asks
//! the one for the other.

use std::{
    fs, io,
    os::unix::fs::PermissionsExt as _,
    path::{Path, PathBuf},
    process::{Command, Stdio},
};

use tempfile::TempDir;

use super::failure::Failure;
use crate::{
    netns::{Process, World, mark},
    packet::Party,
};

/// The office's, and what the build is for.
pub(super) const PACKAGES: &str = "packages.example.com";
/// The stranger's.
pub(super) const TELEMETRY: &str = "telemetry.example.net";
/// The length of the package: more than one segment, so that the answers are judged too.
pub(super) const PACKAGE_BYTES: usize = 200_000;
/// The build, in the directory of its tools.
pub(super) const BUILD: &str = "./fetch packages.example.com 80\n\
     ./telemetry telemetry.example.net 443\n\
     ./telemetry 198.51.100.7 443\n";

/// Both tools: they differ in their names and in what becomes of them. A first line is added.
const TOOL: &str = r#"
import os, socket, sys, time
host, port = sys.argv[1], int(sys.argv[2])
begun, name = time.monotonic(), os.path.basename(sys.argv[0])
try:
    family, _, _, _, to = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
    web = socket.socket(family)
    web.settimeout(2)
    web.connect(to)
    web.sendall(b"GET /package.tar HTTP/1.0\r\n\r\n")
    head, _, body = b"".join(iter(lambda: web.recv(65536), b"")).partition(b"\r\n\r\n")
    # The last field that is read of TCP_INFO counts what was sent again, SYNs too.
    info = web.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, 104)
    again = int.from_bytes(info[100:], sys.byteorder)
    print(f"{name}: {host}: {len(body)} bytes, {again} segments sent again")
except OSError as error:
    took_ms = (time.monotonic() - begun) * 1000
    print(f"{name}: {host}: {error.strerror or error}, after {took_ms:.1f} ms")
"#;

/// Dropping it ends the servers and removes the files.
pub(super) struct Office {
    _servers: [Process; 2],
    directory: TempDir,
}

impl Office {
    /// Starts the servers, which takes them a moment.
    pub(super) fn open(world: &World) -> Result<Self, Failure> {
        let broken = |error| Failure::Broken(format!("the files of the office: {error}"));
        let named = tempfile::Builder::new().prefix(&mark("office")).tempdir();
        let directory = named.map_err(broken)?;
        let path = |name: &str| directory.path().join(name);
        write_files(directory.path()).map_err(broken)?;
        let mut dns = Command::new("dnsmasq");
        dns.args(["--keep-in-foreground", "--no-resolv", "--no-hosts", "--conf-file=/dev/null"])
            .args(["--user=root", "--bind-interfaces", "--pid-file=", "--log-queries"])
            .arg(format!("--listen-address={}", Party::Office.v4()))
            .arg(format!("--addn-hosts={}", path("names").display()))
            .arg(format!("--log-facility={}", path("questions").display()));
        let mut web = Command::new("python3");
        web.args(["-m", "http.server", "--bind", "::", "--directory"]).arg(path("www")).arg("80");
        let servers = [dns, web].map(|mut command| {
            command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
            world.host(Party::Office).spawn(&mut command)
        });
        Ok(Self { _servers: servers, directory })
    }

    /// The resolver configuration of a host that asks the office.
    pub(super) fn resolv_conf(&self) -> PathBuf {
        self.directory.path().join("resolv.conf")
    }

    /// What the DNS server was asked so far, by its own log.
    pub(super) fn questions(&self) -> String {
        fs::read_to_string(self.directory.path().join("questions")).unwrap_or_default()
    }

    /// A command whose C library asks the office and nobody else: in the directory of the build, with a
    /// view of `/etc` of its own.
    pub(super) fn asking(&self, program: &Path, arguments: &[&str]) -> Command {
        const ENTER: &str = r#"
            for file in resolv.conf hosts nsswitch.conf; do
                if [ -e "/etc/$file" ]; then mount --bind "$0/$file" "/etc/$file"; fi
            done
            exec "$@"
        "#;
        let mut command = Command::new("unshare");
        command.args(["--mount", "sh", "-ec", ENTER]).arg(self.directory.path());
        command.arg(program).args(arguments).current_dir(self.directory.path());
        command
    }
}

fn write_files(directory: &Path) -> io::Result<()> {
    let [office, stranger] = [Party::Office, Party::Stranger].map(|it| (it.v4(), it.v6()));
    let names = format!(
        "{} {PACKAGES}\n{} {PACKAGES}\n{} {TELEMETRY}\n{} {TELEMETRY}\n",
        office.0, office.1, stranger.0, stranger.1,
    );
    fs::write(directory.join("names"), names)?;
    fs::write(directory.join("resolv.conf"), format!("nameserver {}\n", office.0))?;
    fs::write(directory.join("hosts"), "")?;
    fs::write(directory.join("nsswitch.conf"), "hosts: files dns\n")?;
    fs::create_dir(directory.join("www"))?;
    fs::write(directory.join("www/package.tar"), vec![0; PACKAGE_BYTES])?;
    fs::write(directory.join("build.sh"), BUILD)?;
    // Not by way of `env`: a process has the name of the file that it was started from.
    let python = python()?;
    for tool in ["fetch", "telemetry"] {
        let file = directory.join(tool);
        fs::write(&file, format!("#!{python}{TOOL}"))?;
        fs::set_permissions(&file, fs::Permissions::from_mode(0o755))?;
    }
    Ok(())
}

/// The interpreter itself: `python3` in the path may be a script that looks for it.
fn python() -> io::Result<String> {
    let itself = ["-c", "import sys; print(sys.executable)"];
    let output = Command::new("python3").args(itself).output()?;
    Ok(String::from_utf8_lossy(&output.stdout).trim().to_owned())
}
