//! What on this host a resource is.

use std::{fmt, net::IpAddr, str::FromStr};

use super::{
    diagnose::{Refusal, quoted},
    ports::PortRange,
};

/// What on this host a resource is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Selector {
    /// Everything on the covered interfaces that no other resource takes.
    Host,
    /// A part of the host.
    Part(Part),
}

/// A part of the host; at least one field is set.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Part {
    /// Whose sockets: takes their outbound traffic and, for a unit, the ports they listen on.
    pub process: Option<Process>,
    /// Local ports, sorted and joined; empty when the document has no `ports` key.
    pub ports: Vec<PortRange>,
    /// A local address.
    pub address: Option<IpAddr>,
    /// An interface, at whose ingress the resource is judged.
    pub interface: Option<InterfaceName>,
}

impl Part {
    /// Whether it can be told which inbound packets are for it: a cgroup alone cannot, a unit can,
    /// because its listening ports are read at run time.
    pub fn takes_inbound(&self) -> bool {
        let Self { process, ports, address, interface } = self;
        matches!(process, Some(Process::Unit(_)))
            || !ports.is_empty()
            || address.is_some()
            || interface.is_some()
    }
}

impl fmt::Display for Selector {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self::Part(Part { process, ports, address, interface }) = self else {
            return f.write_str("host");
        };
        let mut parts = Vec::new();
        match process {
            Some(Process::Unit(unit)) => parts.push(format!("unit {unit}")),
            Some(Process::Cgroup(cgroup)) => parts.push(format!("cgroup {cgroup}")),
            None => {}
        }
        if !ports.is_empty() {
            let ports: Vec<String> = ports.iter().map(ToString::to_string).collect();
            parts.push(format!("ports {}", ports.join(", ")));
        }
        parts.extend(address.map(|address| format!("address {address}")));
        parts.extend(interface.as_ref().map(|interface| format!("interface {interface}")));
        f.write_str(&parts.join(", "))
    }
}

/// The processes of a resource.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Process {
    /// The processes of every systemd unit whose name matches.
    Unit(UnitGlob),
    /// The processes of one cgroup and of those below it.
    Cgroup(CgroupPath),
}

/// A systemd unit name, or a glob over such names (`*`, `?`, `[…]`).
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct UnitGlob(Box<str>);

impl UnitGlob {
    /// The glob as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for UnitGlob {
    type Err = Refusal;

    fn from_str(text: &str) -> Result<Self, Refusal> {
        /// systemd's UNIT_NAME_MAX.
        const UNIT_LEN_MAX: usize = 255;
        let bad = |why: &str| Refusal::new(format!("bad unit {}", quoted(text)), why);
        let known = |b: u8| b.is_ascii_alphanumeric() || b":_.\\@-*?[]^!".contains(&b);
        if text.is_empty() || text.len() > UNIT_LEN_MAX || !text.bytes().all(known) {
            return Err(bad("it is not a systemd unit name or a glob over such names"));
        }
        let Some((stem, kind)) = text.rsplit_once('.') else {
            return Err(bad("a unit name ends with its kind").cure(format!("\"{text}.service\"")));
        };
        if !["service", "slice", "scope"].contains(&kind) {
            return Err(bad("only services, slices and scopes have processes"));
        }
        if stem.is_empty() {
            return Err(bad("the name before the kind is empty"));
        }
        if stem.ends_with('@') {
            let why = "it is a template, which never runs itself; name its instances";
            return Err(bad(why).cure(format!("\"{stem}*.{kind}\"")));
        }
        Ok(Self(text.into()))
    }
}

impl fmt::Display for UnitGlob {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// A cgroup v2 path from the root of the hierarchy, such as `/system.slice/nginx.service`.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct CgroupPath(Box<str>);

impl CgroupPath {
    /// The path from the root of the hierarchy, with its leading slash.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for CgroupPath {
    type Err = Refusal;

    fn from_str(text: &str) -> Result<Self, Refusal> {
        /// Where systemd mounts the hierarchy; accepted in front because people copy it.
        const MOUNT_POINT: &str = "/sys/fs/cgroup";
        let bad = |why: &str| Refusal::new(format!("bad cgroup {}", quoted(text)), why);
        if text.chars().any(char::is_control) {
            return Err(bad("a path has no control characters"));
        }
        let path = match text.strip_prefix(MOUNT_POINT) {
            Some(rest) if rest.is_empty() || rest.starts_with('/') => rest,
            _ if text.starts_with('/') => text,
            _ => {
                let refusal = bad("a cgroup is a path from the root of the hierarchy");
                return Err(refusal.cure(format!("\"/{text}\"")));
            }
        };
        let parts: Vec<&str> = path.split('/').filter(|part| !part.is_empty()).collect();
        if parts.is_empty() {
            return Err(bad("the root cgroup is the whole host").cure("host = true"));
        }
        if parts.iter().any(|part| matches!(*part, "." | "..")) {
            return Err(bad("a cgroup path has no `.` and `..`"));
        }
        Ok(Self(format!("/{}", parts.join("/")).into()))
    }
}

impl fmt::Display for CgroupPath {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// The name of a network interface.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct InterfaceName(Box<str>);

impl InterfaceName {
    /// The name as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for InterfaceName {
    type Err = Refusal;

    fn from_str(text: &str) -> Result<Self, Refusal> {
        /// The kernel's IFNAMSIZ without the final NUL.
        const INTERFACE_LEN_MAX: usize = 15;
        let bad = |why: &str| Refusal::new(format!("bad interface {}", quoted(text)), why);
        if text.is_empty() || text.len() > INTERFACE_LEN_MAX {
            return Err(bad("an interface name has 1 to 15 bytes"));
        }
        let forbidden = |c: char| c == '/' || c == ':' || c.is_whitespace() || c.is_control();
        if matches!(text, "." | "..") || text.contains(forbidden) {
            return Err(bad("the kernel allows no such interface name"));
        }
        if text == "lo" {
            return Err(bad("loopback traffic is never judged"));
        }
        Ok(Self(text.into()))
    }
}

impl fmt::Display for InterfaceName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use rstest::rstest;

    use super::*;

    #[rstest]
    #[case::service("nginx.service", true)]
    #[case::glob("postgresql@*.service", true)]
    #[case::escaped(r"dev-disk\x2d1.service", true)]
    #[case::slice("app.slice", true)]
    #[case::empty("", false)]
    #[case::path("/etc/nginx.service", false)]
    #[case::space("my nginx.service", false)]
    #[case::timer("backup.timer", false)]
    #[case::kind_alone(".service", false)]
    #[case::long(&format!("{}.service", "a".repeat(248)), false)]
    fn units(#[case] text: &str, #[case] accepted: bool) {
        assert_eq!(text.parse::<UnitGlob>().is_ok(), accepted);
    }

    #[rstest]
    #[case::no_kind("nginx", "\"nginx.service\"")]
    #[case::template("postgresql@.service", "\"postgresql@*.service\"")]
    fn units_with_a_cure(#[case] text: &str, #[case] cure: &str) {
        assert_eq!(text.parse::<UnitGlob>().unwrap_err().cure.as_deref(), Some(cure));
    }

    #[rstest]
    #[case::plain("/system.slice/nginx.service")]
    #[case::with_mount_point("/sys/fs/cgroup/system.slice/nginx.service")]
    #[case::extra_slashes("//system.slice//nginx.service/")]
    fn cgroups_are_paths_from_the_root(#[case] text: &str) {
        let path: CgroupPath = text.parse().unwrap();
        assert_eq!(path.as_str(), "/system.slice/nginx.service");
    }

    #[rstest]
    #[case::relative("system.slice", Some("\"/system.slice\""))]
    #[case::root("/", Some("host = true"))]
    #[case::mount_point("/sys/fs/cgroup", Some("host = true"))]
    #[case::parent("/system.slice/../x", None)]
    #[case::control("/a\nb", None)]
    fn bad_cgroups(#[case] text: &str, #[case] cure: Option<&str>) {
        assert_eq!(text.parse::<CgroupPath>().unwrap_err().cure.as_deref(), cure);
    }

    #[rstest]
    #[case::plain("eth0", true)]
    #[case::vlan("bond0.100", true)]
    #[case::fifteen("abcdefghijklmno", true)]
    #[case::sixteen("abcdefghijklmnop", false)]
    #[case::empty("", false)]
    #[case::slash("a/b", false)]
    #[case::alias("eth0:1", false)]
    #[case::space("eth 0", false)]
    #[case::dot("..", false)]
    #[case::loopback("lo", false)]
    fn interfaces(#[case] text: &str, #[case] accepted: bool) {
        assert_eq!(text.parse::<InterfaceName>().is_ok(), accepted);
    }
}
