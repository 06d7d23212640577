use std::net::{Ipv4Addr, Ipv6Addr, TcpListener, TcpStream, UdpSocket};

use netlink_packet_sock_diag::{
    TCP_CLOSE, TCP_ESTABLISHED, TCP_LISTEN, TCP_SYN_RECV, TCP_SYN_SENT, TCP_TIME_WAIT,
};
use rstest::rstest;
use rtnetlink::packet_core::DefaultNla;

use super::*;

/// A `sock_diag` answer as the kernel writes it.
fn answer(state: u8, local: &str, remote: &str, attributes: &[(u16, &[u8])]) -> Vec<u8> {
    let (local, remote): (SocketAddr, SocketAddr) =
        (local.parse().unwrap(), remote.parse().unwrap());
    let octets = |address: IpAddr| match address {
        IpAddr::V4(v4) => [v4.octets().as_slice(), &[0; 12]].concat(),
        IpAddr::V6(v6) => v6.octets().to_vec(),
    };
    let mut bytes = vec![if local.is_ipv4() { AF_INET } else { AF_INET6 }, state, 0, 0];
    bytes.extend(local.port().to_be_bytes());
    bytes.extend(remote.port().to_be_bytes());
    bytes.extend(octets(local.ip()));
    bytes.extend(octets(remote.ip()));
    bytes.extend([0; 4 + 8 + 4 * 4]);
    bytes.extend(4711_u32.to_ne_bytes());
    for (kind, value) in attributes {
        let attribute = DefaultNla::new(*kind, value.to_vec());
        let mut encoded = vec![0; attribute.buffer_len()];
        attribute.emit(&mut encoded);
        bytes.extend(encoded);
    }
    bytes
}

fn tcp(state: u8, local: &str, remote: &str) -> Socket {
    parse::socket(&answer(state, local, remote, &[]), IPPROTO_TCP).unwrap()
}

const V6_ONLY: u16 = 11;
const CGROUP_ID: u16 = 21;

#[test]
fn a_listener_has_its_cgroup_and_inode() {
    let cgroup = 0x1_0000_2345_u64.to_ne_bytes();
    let bytes = answer(TCP_LISTEN, "192.0.2.1:5432", "0.0.0.0:0", &[(CGROUP_ID, &cgroup)]);
    let sockets = sort(&[parse::socket(&bytes, IPPROTO_TCP).unwrap()]);
    let expected = Listener {
        protocol: 6,
        address: "192.0.2.1".parse().unwrap(),
        port: 5432,
        dual_stack: false,
        cgroup: Some(0x1_0000_2345),
        inode: 4711,
        interface: None,
    };
    assert_eq!(sockets, Sockets { listeners: vec![expected], connections: vec![] });
}

#[rstest]
#[case::both_families(0, "198.51.100.1", true)]
#[case::both_families_v6(0, "2001:db8::1", true)]
#[case::v6_only(1, "198.51.100.1", false)]
#[case::v6_only_v6(1, "2001:db8::1", true)]
fn every_address_of_ipv6_includes_ipv4_unless_the_socket_says_no(
    #[case] v6_only: u8,
    #[case] address: &str,
    #[case] expected: bool,
) {
    let bytes = answer(TCP_LISTEN, "[::]:80", "[::]:0", &[(V6_ONLY, &[v6_only])]);
    let listener = parse::socket(&bytes, IPPROTO_TCP).unwrap().listener();
    assert_eq!(listener.takes(address.parse().unwrap()), expected);
}

#[test]
fn mapped_addresses_are_ipv4() {
    let socket = tcp(TCP_ESTABLISHED, "[::ffff:192.0.2.1]:80", "[::ffff:198.51.100.7]:40000");
    assert_eq!(socket.local, "192.0.2.1:80".parse().unwrap());
    assert_eq!(socket.remote, "198.51.100.7:40000".parse().unwrap());
}

#[rstest]
#[case::accepted(TCP_ESTABLISHED, "192.0.2.1:80", Some((true, true)))]
#[case::opened(TCP_ESTABLISHED, "192.0.2.1:41000", Some((false, true)))]
#[case::other_address_of_the_port(TCP_ESTABLISHED, "192.0.2.2:80", Some((false, true)))]
#[case::opened_from_the_port(TCP_SYN_SENT, "192.0.2.1:80", Some((false, false)))]
#[case::handshake_in(TCP_SYN_RECV, "192.0.2.1:80", Some((true, false)))]
#[case::handshake_in_without_listener(TCP_SYN_RECV, "192.0.2.1:81", Some((true, false)))]
#[case::over(TCP_TIME_WAIT, "192.0.2.1:80", None)]
fn connections_know_who_opened_them(
    #[case] state: u8,
    #[case] local: &str,
    #[case] expected: Option<(bool, bool)>,
) {
    let listener = tcp(TCP_LISTEN, "192.0.2.1:80", "0.0.0.0:0");
    let sockets = sort(&[listener, tcp(state, local, "198.51.100.7:443")]);
    let connection = sockets.connections.first();
    let actual = connection.map(|it| (it.listening_side, it.replied));
    assert_eq!(actual, expected);
}

#[test]
fn a_tcp_listener_says_nothing_about_udp() {
    let udp = answer(TCP_ESTABLISHED, "192.0.2.1:80", "198.51.100.7:443", &[]);
    let udp = parse::socket(&udp, IPPROTO_UDP).unwrap();
    let sockets = sort(&[tcp(TCP_LISTEN, "192.0.2.1:80", "0.0.0.0:0"), udp]);
    assert!(!sockets.connections[0].listening_side);
}

#[test]
fn an_unconnected_udp_socket_listens() {
    let bytes = answer(TCP_CLOSE, "0.0.0.0:53", "0.0.0.0:0", &[]);
    let sockets = sort(&[parse::socket(&bytes, IPPROTO_UDP).unwrap()]);
    assert_eq!((sockets.listeners[0].protocol, sockets.listeners[0].port), (17, 53));
}

#[test]
fn a_short_answer_is_an_error_and_no_panic() {
    assert!(parse::socket(&[AF_INET, TCP_LISTEN, 0], IPPROTO_TCP).is_err());
}

#[rstest]
#[case::usual("32768\t60999\n", Some(32768..=60999))]
#[case::words("none", None)]
#[case::one("32768", None)]
fn port_ranges(#[case] text: &str, #[case] expected: Option<RangeInclusive<u16>>) {
    assert_eq!(parse_port_range(text), expected);
}

#[tokio::test]
async fn the_sockets_of_this_test_are_found() {
    let listening = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    let server = listening.local_addr().unwrap();
    let client = TcpStream::connect(server).unwrap();
    let bound = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    let connected = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    connected.connect(bound.local_addr().unwrap()).unwrap();

    let Sockets { listeners, connections } = read().await.unwrap();
    let listens = |protocol, address: SocketAddr| {
        let here = |it: &&Listener| it.protocol == protocol && it.port == address.port();
        listeners.iter().find(here).is_some_and(|it| it.takes(address.ip()))
    };
    assert!(listens(IPPROTO_TCP, server));
    assert!(listens(IPPROTO_UDP, bound.local_addr().unwrap()));
    assert!(!listens(IPPROTO_UDP, connected.local_addr().unwrap()));
    let connection = |local: SocketAddr| connections.iter().find(|it| it.local == local).unwrap();
    assert!(!connection(client.local_addr().unwrap()).listening_side);
    let accepted = connections.iter().find(|it| it.remote == client.local_addr().unwrap());
    assert!(accepted.unwrap().listening_side);
    assert_eq!(connection(connected.local_addr().unwrap()).protocol, IPPROTO_UDP);
    assert!(self::listeners().await.unwrap().iter().any(|it| it.port == server.port()));
}

#[tokio::test]
async fn a_listener_on_every_ipv6_address_is_dual_stack() {
    // A host may have IPv6 switched off.
    let Ok(listening) = TcpListener::bind((Ipv6Addr::UNSPECIFIED, 0)) else { return };
    let port = listening.local_addr().unwrap().port();
    let listeners = listeners().await.unwrap();
    let listener = listeners.iter().find(|it| it.port == port && it.protocol == 6).unwrap();
    let bindv6only = fs::read_to_string("/proc/sys/net/ipv6/bindv6only").unwrap();
    assert_eq!(listener.dual_stack, bindv6only.trim() == "0");
}
