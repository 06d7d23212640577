//! A name server whose answers a test makes up, one at a time: what no real server would say.

use std::{
    io::{Read as _, Write as _},
    net::{IpAddr, SocketAddr, TcpListener, UdpSocket},
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
    thread,
    time::Duration,
};

use nsp_tests::netns::Namespace;

const TICK: Duration = Duration::from_millis(20);

/// What is answered to a question.
#[derive(Clone, Debug, Default)]
pub(crate) struct Reply {
    /// The response code.
    pub(crate) code: u8,
    /// By UDP only "come again by TCP" is said.
    pub(crate) truncated: bool,
    /// By TCP the message comes in pieces of so many bytes; zero is in one.
    pub(crate) piece: usize,
    /// Bytes of a TXT record of another name that come along.
    pub(crate) padding: usize,
    /// Addresses of the asked family, with their time to live.
    pub(crate) addresses: Vec<(u32, IpAddr)>,
}

/// A question, as far as a test looks at it.
pub(crate) struct Question<'a> {
    pub(crate) name: &'a str,
    /// How many came before it.
    pub(crate) number: usize,
}

/// The server; dropping it ends it.
pub(crate) struct Answering {
    stop: Arc<AtomicBool>,
    threads: Vec<thread::JoinHandle<()>>,
    asked: Arc<AtomicUsize>,
}

impl Answering {
    /// Answers at port 53 of an address of the namespace, by UDP and TCP.
    pub(crate) fn at(
        namespace: &Namespace,
        address: IpAddr,
        answer: impl Fn(&Question<'_>) -> Reply + Send + Sync + 'static,
    ) -> Self {
        let stop = Arc::new(AtomicBool::new(false));
        let asked = Arc::new(AtomicUsize::new(0));
        let answer = Arc::new(answer);
        let at = SocketAddr::new(address, 53);
        let udp = namespace.enter(|| UdpSocket::bind(at)).expect("a free port");
        let tcp = namespace.enter(|| TcpListener::bind(at)).expect("a free port");
        udp.set_read_timeout(Some(TICK)).expect("a socket");
        tcp.set_nonblocking(true).expect("a socket");
        let (by_udp, by_tcp) = ((answer.clone(), asked.clone()), (answer, asked.clone()));
        let stops = [stop.clone(), stop.clone()];
        let [udp_stops, tcp_stops] = stops;
        let threads = vec![
            thread::spawn(move || {
                let mut message = [0; 1500];
                while !udp_stops.load(Ordering::Relaxed) {
                    let Ok((length, from)) = udp.recv_from(&mut message) else { continue };
                    let (bytes, _) = reply(&message[..length], true, &*by_udp.0, &by_udp.1);
                    // Who asked may have gone.
                    let _sent = udp.send_to(&bytes, from);
                }
            }),
            thread::spawn(move || {
                while !tcp_stops.load(Ordering::Relaxed) {
                    let Ok((mut stream, _)) = tcp.accept() else {
                        thread::sleep(TICK);
                        continue;
                    };
                    let mut serve = || -> std::io::Result<()> {
                        stream.set_nonblocking(false)?;
                        stream.set_read_timeout(Some(Duration::from_secs(1)))?;
                        stream.set_nodelay(true)?;
                        let mut length = [0; 2];
                        stream.read_exact(&mut length)?;
                        let mut message = vec![0; usize::from(u16::from_be_bytes(length))];
                        stream.read_exact(&mut message)?;
                        let (bytes, piece) = reply(&message, false, &*by_tcp.0, &by_tcp.1);
                        let length = (bytes.len() as u16).to_be_bytes();
                        let all = [&length[..], &bytes].concat();
                        for part in all.chunks(if piece == 0 { all.len() } else { piece }) {
                            stream.write_all(part)?;
                            thread::sleep(Duration::from_millis(2));
                        }
                        Ok(())
                    };
                    // Who asked may have gone.
                    let _served = serve();
                }
            }),
        ];
        Self { stop, threads, asked }
    }

    /// Questions so far.
    pub(crate) fn asked(&self) -> usize {
        self.asked.load(Ordering::Relaxed)
    }
}

impl Drop for Answering {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        for thread in self.threads.drain(..) {
            let _ended = thread.join();
        }
    }
}

/// The bytes of an answer, and the size of the pieces it comes in by TCP.
fn reply(
    message: &[u8],
    by_udp: bool,
    answer: &dyn Fn(&Question<'_>) -> Reply,
    asked: &AtomicUsize,
) -> (Vec<u8>, usize) {
    let mut at = 12;
    let mut name = String::new();
    while let Some(length) = message.get(at).filter(|length| **length != 0) {
        let label = &message[at + 1..at + 1 + usize::from(*length)];
        name.push_str(&String::from_utf8_lossy(label).to_lowercase());
        name.push('.');
        at += 1 + usize::from(*length);
    }
    let kind = u16::from_be_bytes([message[at + 1], message[at + 2]]);
    let number = asked.fetch_add(1, Ordering::Relaxed);
    let question = Question { name: name.trim_end_matches('.'), number };
    let Reply { code, truncated, piece, padding, addresses } = answer(&question);
    let truncated = truncated && by_udp;
    let of_kind = |address: &IpAddr| address.is_ipv4() == (kind == 1);
    let records: Vec<_> = addresses.iter().filter(|(_, address)| of_kind(address)).collect();
    let shown = if truncated || !matches!(kind, 1 | 28) { &[] } else { &records[..] };
    let count = (shown.len() + usize::from(padding != 0 && !truncated)) as u16;
    let flags = [0x81 | if truncated { 2 } else { 0 }, 0x80 | code];
    let mut bytes = [&message[..2], &flags, &[0, 1], &count.to_be_bytes(), &[0; 4]].concat();
    bytes.extend(&message[12..at + 5]);
    for (ttl_s, address) in shown {
        let data = match address {
            IpAddr::V4(address) => address.octets().to_vec(),
            IpAddr::V6(address) => address.octets().to_vec(),
        };
        bytes.extend([0xc0, 12]);
        bytes.extend(kind.to_be_bytes());
        bytes.extend([0, 1]);
        bytes.extend(ttl_s.to_be_bytes());
        bytes.extend((data.len() as u16).to_be_bytes());
        bytes.extend(data);
    }
    if padding != 0 && !truncated {
        bytes.extend([&[0][..], &[0, 16, 0, 1, 0, 0, 0, 5]].concat());
        bytes.extend((padding as u16).to_be_bytes());
        bytes.extend(vec![b'x'; padding]);
    }
    (bytes, piece)
}
