//! The programs that builds, tests and the demo call, and the package of each.

use std::path::Path;

use crate::command;

/// Something to look for on this machine.
pub(crate) enum Look {
    /// A program on `PATH` or in the system's directories.
    Command(&'static str),
    /// A file.
    File(&'static str),
}

/// One row of the table.
pub(crate) struct Tool {
    pub(crate) look: Look,
    /// The package of Debian and Ubuntu.
    pub(crate) package: &'static str,
    pub(crate) why: &'static str,
    /// Wanted, but nothing fails without it.
    pub(crate) optional: bool,
}

/// What must be there besides the BPF toolchain, and the C linker that built this program.
pub(crate) const TOOLS: [Tool; 11] = [
    Tool {
        look: Look::File("/etc/ssl/certs/ca-certificates.crt"),
        package: "ca-certificates",
        why: "cargo downloads over TLS",
        optional: false,
    },
    Tool {
        look: Look::Command("ip"),
        package: "iproute2",
        why: "tests and the demo build networks of namespaces and veth pairs",
        optional: false,
    },
    Tool {
        look: Look::Command("nft"),
        package: "nftables",
        why: "tests and the demo stand beside a host firewall",
        optional: false,
    },
    Tool {
        look: Look::Command("dnsmasq"),
        package: "dnsmasq-base",
        why: "tests and the demo ask a real DNS server",
        optional: false,
    },
    Tool {
        look: Look::Command("dig"),
        package: "bind9-dnsutils",
        why: "tests of rules by name ask as operators do",
        optional: false,
    },
    Tool {
        look: Look::Command("python3"),
        package: "python3",
        why: "tests and the demo run jobs of nsp exec against a web server",
        optional: false,
    },
    Tool {
        look: Look::Command("pip3"),
        package: "python3-pip",
        why: "one of those jobs downloads a wheel",
        optional: false,
    },
    Tool {
        look: Look::Command("strace"),
        package: "strace",
        why: "tests kill the agent at each of its system calls, and have them fail",
        optional: false,
    },
    Tool {
        look: Look::File("/lib/systemd/systemd-networkd"),
        package: "systemd",
        why: "a test boots a host with the unit",
        optional: false,
    },
    Tool {
        look: Look::Command("faketime"),
        package: "faketime",
        why: "a test steps the wall clock that the agent sees, and nobody else's",
        optional: false,
    },
    Tool {
        look: Look::Command("bpftool"),
        package: "bpftool",
        why: "shows loaded programs and maps when a test fails",
        optional: true,
    },
];

impl Tool {
    /// Whether this machine has it.
    pub(crate) fn present(&self) -> bool {
        match self.look {
            Look::Command(name) => command::find(name).is_some(),
            Look::File(path) => Path::new(path).exists(),
        }
    }
}
