use clap::Parser;
use rstest::rstest;

use super::*;

#[derive(Parser)]
struct Line {
    #[command(flatten)]
    explain: Explain,
}

fn packet(line: &str) -> Result<ExplainPacket, Failure> {
    let words = ["explain"].into_iter().chain(line.split(' '));
    Line::try_parse_from(words).expect("clap takes it").explain.packet()
}

#[rstest]
#[case::source_and_number("198.51.100.7 5432", 6, 5432)]
#[case::source_and_port("198.51.100.7 53/udp", 17, 53)]
#[case::source_and_icmp("2001:db8::7 icmp", 1, 0)]
#[case::source_alone("198.51.100.7", 6, 0)]
#[case::source_and_flag("198.51.100.7 --port 53/udp", 17, 53)]
#[case::inbound("inbound --from 198.51.100.7 --port 53/udp", 17, 53)]
#[case::inbound_by_proto("in --from 198.51.100.7 --proto udp --port 53", 17, 53)]
#[case::agreeing("198.51.100.7 53/udp --proto udp", 17, 53)]
fn inbound_ports(#[case] line: &str, #[case] protocol: u8, #[case] port: u16) {
    let packet = packet(line).unwrap();
    assert!(!packet.outbound);
    assert_eq!((packet.protocol, packet.local_port, packet.remote_port), (protocol, port, 0));
}

#[rstest]
#[case::number("example.com:443", "example.com", 6, 443)]
#[case::port("example.com:443/tcp", "example.com", 6, 443)]
#[case::udp("192.0.2.53:53/udp", "192.0.2.53", 17, 53)]
#[case::v6("[2001:db8::53]:53/udp", "2001:db8::53", 17, 53)]
#[case::icmp("192.0.2.53:icmp", "192.0.2.53", 1, 0)]
fn outbound_ports(#[case] to: &str, #[case] remote: &str, #[case] protocol: u8, #[case] port: u16) {
    let packet = packet(&format!("out {to}")).unwrap();
    assert!(packet.outbound);
    assert_eq!(packet.remote, remote);
    assert_eq!((packet.protocol, packet.local_port, packet.remote_port), (protocol, 0, port));
}

#[rstest]
#[case::contradiction("198.51.100.7 22/tcp --proto udp", "contradicts the port `22/tcp`")]
#[case::contradiction_out("out example.com:53/udp --proto tcp", "contradicts")]
#[case::zero("198.51.100.7 0", "a port is a number from 1 to 65535")]
#[case::too_large("out example.com:65536/tcp", "a port is a number from 1 to 65535")]
#[case::flag_too_large("in --from 198.51.100.7 --port 70000", "from 1 to 65535")]
#[case::twice("198.51.100.7 22 --port 23", "the port is given twice")]
fn refuses_as_usage(#[case] line: &str, #[case] why: &str) {
    let failure = packet(line).unwrap_err();
    assert_eq!(failure.code, 2);
    assert!(failure.message.contains(why), "{}", failure.message);
}
