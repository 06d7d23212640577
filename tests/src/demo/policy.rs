//! The policy of the demo, in its versions.

use std::{fs, path::Path};

use super::failure::Failure;
use crate::data::{shared_data, workspace};

/// The file of service tags, beside the policy.
const TAGS_FILE: &str = "ServiceTags_Public.json";

const POLICY: &str = r#"# Who may reach this host, and what it may reach.
[perimeter]
name = "payments"

[sources]
service_tags = "ServiceTags_Public.json"

[profile.database.inbound.head-office]
address_prefixes = ["203.0.113.0/24", "2001:db8:100::/40"]

[profile.website.inbound.head-office]
address_prefixes = ["203.0.113.0/24", "2001:db8:100::/40"]

[profile.host.inbound.head-office]
address_prefixes = ["203.0.113.0/24", "2001:db8:100::/40"]
ports = ["5514/udp", "icmp"]
[profile.host.outbound.os-updates]
address_prefixes = ["203.0.113.5", "2001:db8:100::5"]
ports = ["443/tcp"]
[profile.host.outbound.storage]
service_tags = [TAGS]
ports = ["443/tcp"]

[defaults.resource]
access_mode = "transition"
[resource.postgres]
ports = ["5432/tcp"]
profile = "database"
[resource.website]
ports = ["8080/tcp"]
profile = "website"
[resource.server]
host = true
profile = "host"

[member.reports]
addresses = ["192.0.2.10", "2001:db8:1::10"]
"#;

/// What step 5 adds: the line that `nsp explain` gives, for both families.
pub(super) const CURE: &str = "[profile.database.inbound.new-branch]\n\
     address_prefixes = [\"198.51.100.7\", \"2001:db8:5::7\"]\n";

/// The versions of one policy.
pub(super) struct PolicyTexts {
    tags: &'static [&'static str],
    /// Whether the service tags are Azure's own, or the small sample of the tests.
    pub(super) real_tags: bool,
}

impl PolicyTexts {
    /// Puts the file of service tags into a directory: Azure's own where the machine has it.
    pub(super) fn with_tags_in(directory: &Path) -> Result<Self, Failure> {
        let azure = shared_data().map(|data| data.join("azure_ServiceTags_Public_2025-09.json"));
        let azure = azure.filter(|file| file.is_file());
        let real_tags = azure.is_some();
        let sample = || workspace().join("tests/fixtures/sources/service-tags.json");
        let from = azure.unwrap_or_else(sample);
        let copied = fs::copy(&from, directory.join(TAGS_FILE));
        copied.map_err(|error| Failure::Broken(format!("{}: {error}", from.display())))?;
        let tags: &[&str] =
            if real_tags { &["Storage", "AzureMonitor"] } else { &["Storage.WestEurope"] };
        Ok(Self { tags, real_tags })
    }

    /// Everything in transition.
    pub(super) fn transition(&self) -> String {
        let tags: Vec<_> = self.tags.iter().map(|tag| format!("\"{tag}\"")).collect();
        POLICY.replace("TAGS]", &format!("{}]", tags.join(", ")))
    }

    /// Everything enforced.
    pub(super) fn enforced(&self) -> String {
        self.transition().replace("\"transition\"", "\"enforced\"")
    }

    /// Enforced, and the stranger allowed to the database.
    pub(super) fn cured(&self) -> String {
        format!("{}\n{CURE}", self.enforced())
    }
}
