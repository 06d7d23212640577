//! Ports that the host's own address translation publishes: packets to them are rewritten and go to
//! a container or to another port, so that no socket of the host listens there.
//!
//! Read from nftables, as `nft` prints it; rules that `iptables-nft` made are among them.

mod ruleset;
mod statements;
mod values;

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    net::IpAddr,
};

use super::program;
use crate::policy::model::PortRange;

/// `nft` by its name, and where it is on hosts whose users have no `sbin` in their `PATH`.
const NFT: [&str; 2] = ["nft", "/usr/sbin/nft"];

/// Where the kernel lists the tables of the old iptables, which nft does not show.
const LEGACY_TABLES: [&str; 2] = ["/proc/net/ip_tables_names", "/proc/net/ip6_tables_names"];

/// What is published.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Published {
    /// Ports as a rule names them, each with where it leads. They may overlap.
    pub(super) ports: BTreeMap<PortRange, BTreeSet<String>>,
    /// What could not be seen, and why.
    pub(super) notes: BTreeSet<String>,
}

/// Asks nft. `own` are the host's addresses: what is rewritten only for others is not published.
pub(super) fn read(own: &[IpAddr]) -> Published {
    let mut published = read_with(&NFT, own);
    if LEGACY_TABLES.iter().any(|file| lists_nat(&fs::read_to_string(file).unwrap_or_default())) {
        let why = "iptables-legacy has a nat table, which nft does not show: ports that it \
                   publishes are missing here";
        published.notes.insert(why.to_owned());
    }
    published
}

fn read_with(nft: &[&str], own: &[IpAddr]) -> Published {
    let text = program::ask(nft, &["-j", "list", "ruleset"]);
    let parsed = text.and_then(|text| {
        serde_json::from_str(&text).map_err(|error| format!("nft's output is not JSON: {error}"))
    });
    match parsed {
        Ok(json) => ruleset::published(&json, own),
        Err(why) => {
            let note = format!("ports published by address translation were not looked for: {why}");
            Published { notes: [note].into(), ..Published::default() }
        }
    }
}

fn lists_nat(tables: &str) -> bool {
    tables.lines().any(|table| table == "nat")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn without_nft_that_is_a_note() {
        let published = read_with(&["/nonexistent/nft"], &[]);
        assert!(published.ports.is_empty());
        let expected = "ports published by address translation were not looked for: \
                        /nonexistent/nft is not there";
        assert_eq!(published.notes, [expected.to_owned()].into());
    }

    #[test]
    fn output_that_is_not_json_is_a_note() {
        let published = read_with(&["echo"], &[]);
        let note = published.notes.first().unwrap();
        assert!(note.contains("nft's output is not JSON"), "{note}");
    }

    #[test]
    fn only_a_nat_table_of_the_old_iptables_matters() {
        assert!(lists_nat("filter\nnat\n"));
        assert!(!lists_nat("filter\nmangle\n"));
        assert!(!lists_nat(""));
    }
}
