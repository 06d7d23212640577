use rstest::rstest;
use tempfile::TempDir;

use super::*;

/// Files with this content; an empty text is no file.
fn files(resolv_conf: &str, upstreams: &str) -> (TempDir, ResolverFiles) {
    let directory = tempfile::tempdir().unwrap();
    let files = ResolverFiles {
        resolv_conf: directory.path().join("resolv.conf"),
        resolved_upstreams: directory.path().join("upstreams.conf"),
    };
    for (path, text) in [(&files.resolv_conf, resolv_conf), (&files.resolved_upstreams, upstreams)]
    {
        if !text.is_empty() {
            fs::write(path, text).unwrap();
        }
    }
    (directory, files)
}

fn addresses<'a>(resolvers: impl Iterator<Item = &'a Resolver>) -> Vec<String> {
    resolvers.map(|resolver| resolver.address.to_string()).collect()
}

const STUB: &str = "nameserver 127.0.0.53\noptions edns0 trust-ad\nsearch example.com\n";
const UPSTREAMS: &str = "nameserver 192.0.2.53\nnameserver 2001:db8::53\n";

#[rstest]
#[case::plain("nameserver 192.0.2.53\n", UPSTREAMS, &["192.0.2.53"], &[], false)]
#[case::resolved(STUB, UPSTREAMS, &["192.0.2.53", "2001:db8::53"], &["127.0.0.53"], false)]
#[case::resolved_without_upstreams(STUB, "", &[], &["127.0.0.53"], true)]
#[case::other_stub("nameserver 127.0.0.1\n", UPSTREAMS, &[], &["127.0.0.1"], true)]
#[case::no_file("", "", &[], &["127.0.0.1"], true)]
#[case::no_resolver("search example.com\n", "", &[], &["127.0.0.1"], true)]
#[case::stub_with_backup("nameserver ::1\nnameserver 192.0.2.53\n", "", &["192.0.2.53"], &["::1"], false)]
#[case::this_host_by_zero("nameserver 0.0.0.0\n", "", &[], &["127.0.0.1"], true)]
#[case::repeats("nameserver 192.0.2.53\nnameserver 192.0.2.53\n", "", &["192.0.2.53"], &[], false)]
#[case::mapped("nameserver ::ffff:192.0.2.53\n", "", &["192.0.2.53"], &[], false)]
#[case::noise("# nameserver 192.0.2.1\n;nameserver 192.0.2.2\nnameserver\nnameserver dns.example\n\tnameserver\t192.0.2.53 # ours\n",
    "", &["192.0.2.53"], &[], false)]
fn resolvers_are_read(
    #[case] resolv_conf: &str,
    #[case] upstreams: &str,
    #[case] remote: &[&str],
    #[case] local: &[&str],
    #[case] blind: bool,
) {
    let (_directory, files) = files(resolv_conf, upstreams);
    let resolvers = read(&files).unwrap();
    assert_eq!(addresses(resolvers.remote()), remote);
    assert_eq!(addresses(resolvers.local()), local);
    assert_eq!(resolvers.blind(), blind);
}

#[test]
fn a_link_local_resolver_has_its_zone() {
    let (_directory, files) = files("nameserver fe80::1%eth0\n", "");
    let resolvers = read(&files).unwrap();
    let [resolver] = resolvers.all.as_slice() else { panic!("one resolver") };
    assert_eq!(resolver.address, "fe80::1".parse::<IpAddr>().unwrap());
    assert_eq!(resolver.zone.as_deref(), Some("eth0"));
    assert_eq!(resolver.file, files.resolv_conf);
}

#[test]
fn a_file_that_cannot_be_read_is_named_in_the_error() {
    let (_directory, mut files) = files("", "");
    files.resolv_conf = files.resolv_conf.parent().unwrap().into();
    let error = read(&files).unwrap_err().to_string();
    assert!(error.contains(files.resolv_conf.to_str().unwrap()), "{error}");
}

#[tokio::test]
async fn a_change_is_noticed_and_the_same_again_is_none() {
    let (_directory, files) = files("nameserver 192.0.2.53\n", "");
    let mut receiver = watch_every(files.clone(), Duration::from_millis(5)).unwrap();
    // As a DHCP client does it: a new file in the place of the old.
    let replace = |text: &str| {
        let new = files.resolv_conf.with_extension("new");
        fs::write(&new, text).unwrap();
        fs::rename(&new, &files.resolv_conf).unwrap();
    };
    replace("# again\nnameserver 192.0.2.53\n");
    time::sleep(Duration::from_millis(100)).await;
    assert!(!receiver.has_changed().unwrap());

    replace("nameserver 198.51.100.53\n");
    let changed = time::timeout(Duration::from_secs(10), receiver.changed());
    changed.await.expect("the change in time").unwrap();
    assert_eq!(addresses(receiver.borrow().remote()), ["198.51.100.53"]);
}
