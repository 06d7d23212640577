//! The cloud that this host is a machine of, as its firmware tells.
//!
//! The DMI tables name the maker of a machine, also of a virtual one. That is enough to know which
//! endpoints belong to the platform. It is no proof: whoever runs the hypervisor writes the tables.

use std::{fmt, fs, path::Path};

/// Where the kernel shows the DMI tables.
pub const DMI_DIR: &str = "/sys/class/dmi/id";

/// A cloud whose endpoints are known.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Platform {
    /// Microsoft Azure.
    Azure,
    /// Amazon EC2.
    Aws,
    /// Google Compute Engine.
    Gcp,
    /// None of them, or the firmware does not say.
    #[default]
    None,
}

impl Platform {
    /// Reads the tables below `dmi_dir`, [`DMI_DIR`] but for tests. What cannot be read says nothing.
    pub fn detect(dmi_dir: &Path) -> Self {
        let says = |field: &str, expected: &str| {
            fs::read(dmi_dir.join(field)).is_ok_and(|text| text.trim_ascii() == expected.as_bytes())
        };
        // Hyper-V has the same vendor everywhere; only in Azure it has this chassis.
        if says("sys_vendor", "Microsoft Corporation") && says("chassis_asset_tag", AZURE_CHASSIS) {
            Self::Azure
        } else if says("sys_vendor", "Amazon EC2") {
            Self::Aws
        } else if says("product_name", "Google Compute Engine") {
            Self::Gcp
        } else {
            Self::None
        }
    }
}

impl Platform {
    /// Addresses of its metadata service and its agents, for the ports that `decide/platform.rs` has.
    ///
    /// Google's health checks (35.191.0.0/16, 130.211.0.0/22) are not among them: its proxies send
    /// their clients' traffic from the same addresses, so they need a rule of somebody who knows.
    pub const fn endpoints(self) -> &'static [&'static str] {
        match self {
            Self::None => &[],
            // docs.aws.amazon.com: instance metadata service.
            Self::Aws => &["169.254.169.254/32", "fd00:ec2::254/128"],
            // learn.microsoft.com: "What is IP address 168.63.129.16?" (agents, DNS, probes).
            Self::Azure => &["169.254.169.254/32", "168.63.129.16/32"],
            Self::Gcp => &["169.254.169.254/32"],
        }
    }
}

/// What Azure's machines have in place of the asset tag of a chassis.
const AZURE_CHASSIS: &str = "7783-7084-3265-9085-8269-3286-77";

impl fmt::Display for Platform {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Azure => "Azure",
            Self::Aws => "AWS",
            Self::Gcp => "Google Cloud",
            Self::None => "none",
        })
    }
}

#[cfg(test)]
mod tests {
    use rstest::rstest;

    use super::*;

    #[rstest]
    #[case::azure("Microsoft Corporation", "Virtual Machine", AZURE_CHASSIS, Platform::Azure)]
    #[case::hyper_v_at_home("Microsoft Corporation", "Virtual Machine", "1234", Platform::None)]
    #[case::somebody_with_the_tag("QEMU", "Virtual Machine", AZURE_CHASSIS, Platform::None)]
    #[case::aws("Amazon EC2", "t3.micro", "Amazon EC2", Platform::Aws)]
    #[case::amazon_elsewhere("Amazon", "t3.micro", "", Platform::None)]
    #[case::gcp("Google", "Google Compute Engine", "", Platform::Gcp)]
    #[case::chromebook("Google", "Eve", "", Platform::None)]
    #[case::a_server("Dell Inc.", "PowerEdge R640", "", Platform::None)]
    fn firmware_tells(
        #[case] sys_vendor: &str,
        #[case] product_name: &str,
        #[case] chassis_asset_tag: &str,
        #[case] expected: Platform,
    ) {
        let directory = tempfile::tempdir().unwrap();
        let fields = [
            ("sys_vendor", sys_vendor),
            ("product_name", product_name),
            ("chassis_asset_tag", chassis_asset_tag),
        ];
        for (field, text) in fields {
            fs::write(directory.path().join(field), format!("{text}\n")).unwrap();
        }
        assert_eq!(Platform::detect(directory.path()), expected);
    }

    #[test]
    fn a_host_without_dmi_tables_is_on_no_platform() {
        let directory = tempfile::tempdir().unwrap();
        assert_eq!(Platform::detect(directory.path()), Platform::None);
        assert_eq!(Platform::detect(&directory.path().join("none")), Platform::None);
    }
}
