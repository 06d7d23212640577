//! The names that `service_tags` of a rule can hold.

use std::fmt;

use crate::policy::{
    diagnose::{Refusal, quoted},
    model::Name,
};

/// A named set of prefixes.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Tag {
    /// A tag of Azure's file, such as `Storage.WestEurope`.
    Azure(String),
    /// A service of AWS's file, or a service in a region, such as `S3.eu-west-1`.
    Aws(String),
    /// A prefix file of the policy.
    File(Name),
}

impl Tag {
    /// Reads `Storage.WestEurope`, `aws:S3.eu-west-1` or `file:offices`.
    pub(crate) fn parse(text: &str) -> Result<Self, Refusal> {
        let bad = |why: &str| Refusal::new(format!("bad service tag {}", quoted(text)), why);
        let vendor_name = |name: &str| {
            let known = |b: u8| b.is_ascii_alphanumeric() || b"._-".contains(&b);
            if name.is_empty() || !name.bytes().all(known) {
                return Err(bad("a tag holds only letters, digits, `.`, `_` and `-`"));
            }
            Ok(name.to_owned())
        };
        match text.split_once(':') {
            None => vendor_name(text).map(Self::Azure),
            Some(("aws", name)) => vendor_name(name).map(Self::Aws),
            Some(("file", name)) => name.parse().map(Self::File).map_err(|refusal: Refusal| {
                // The name's cure, with the scheme back in front.
                let cure =
                    refusal.cure.map(|cure| format!("\"file:{}", cure.trim_start_matches('"')));
                Refusal { cure, ..bad(&refusal.why) }
            }),
            Some((scheme, name)) => {
                let refusal = bad("before a `:` stands aws or file; Azure's tags have no `:`");
                Err(match scheme.to_ascii_lowercase().as_str() {
                    lower @ ("aws" | "file") => refusal.cure(format!("\"{lower}:{name}\"")),
                    "azure" => refusal.cure(format!("\"{name}\"")),
                    _ => refusal,
                })
            }
        }
    }

    /// Its name in Azure's file.
    pub(super) fn azure_name(&self) -> Option<&str> {
        match self {
            Self::Azure(name) => Some(name),
            Self::Aws(_) | Self::File(_) => None,
        }
    }

    /// Its name among AWS's sets.
    pub(super) fn aws_name(&self) -> Option<&str> {
        match self {
            Self::Aws(name) => Some(name),
            Self::Azure(_) | Self::File(_) => None,
        }
    }
}

impl fmt::Display for Tag {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Azure(name) => f.write_str(name),
            Self::Aws(name) => write!(f, "aws:{name}"),
            Self::File(name) => write!(f, "file:{name}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use rstest::rstest;

    use super::*;

    #[rstest]
    #[case::azure("AzureCloud")]
    #[case::azure_region("Storage.WestEurope")]
    #[case::aws("aws:S3")]
    #[case::aws_region("aws:S3.eu-west-1")]
    #[case::file("file:offices")]
    fn what_is_shown_reads_back(#[case] text: &str) {
        assert_eq!(Tag::parse(text).unwrap().to_string(), text);
    }

    #[rstest]
    #[case::empty("", None)]
    #[case::aws_without_name("aws:", None)]
    #[case::file_without_name("file:", None)]
    #[case::file_path("file:../offices.txt", Some("\"file:offices.txt\""))]
    #[case::space("Storage WestEurope", None)]
    #[case::upper_case_scheme("AWS:S3", Some("\"aws:S3\""))]
    #[case::azure_scheme("azure:Storage", Some("\"Storage\""))]
    #[case::other_cloud("gcp:storage", None)]
    fn refuses(#[case] text: &str, #[case] cure: Option<&str>) {
        assert_eq!(Tag::parse(text).unwrap_err().cure.as_deref(), cure);
    }
}
