//! A name server whose answers a test makes up, one at a time: what no real server would say.

use std::{
    io::{Read as _, Write as _},
    net::{IpAddr, SocketAddr, TcpListener, TcpStream, UdpSocket},
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
    /// Bytes of a NULL record of the root that come along.
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
    server: Arc<Server>,
    threads: Vec<thread::JoinHandle<()>>,
}

struct Server {
    answer: Box<dyn Fn(&Question<'_>) -> Reply + Send + Sync>,
    asked: AtomicUsize,
    stop: AtomicBool,
}

impl Answering {
    /// Answers at port 53 of an address of the namespace, by UDP and TCP.
    pub(crate) fn at(
        namespace: &Namespace,
        address: IpAddr,
        answer: impl Fn(&Question<'_>) -> Reply + Send + Sync + 'static,
    ) -> Self {
        let at = SocketAddr::new(address, 53);
        let udp = namespace.enter(|| UdpSocket::bind(at)).expect("a free port");
        let tcp = namespace.enter(|| TcpListener::bind(at)).expect("a free port");
        udp.set_read_timeout(Some(TICK)).expect("a socket");
        tcp.set_nonblocking(true).expect("a socket");
        let server = Arc::new(Server {
            answer: Box::new(answer),
            asked: AtomicUsize::new(0),
            stop: AtomicBool::new(false),
        });
        let [by_udp, by_tcp] = [server.clone(), server.clone()];
        let threads = vec![
            thread::spawn(move || by_udp.serve_udp(&udp)),
            thread::spawn(move || by_tcp.serve_tcp(&tcp)),
        ];
        Self { server, threads }
    }

    /// Questions so far.
    pub(crate) fn asked(&self) -> usize {
        self.server.asked.load(Ordering::Relaxed)
    }
}

impl Drop for Answering {
    fn drop(&mut self) {
        self.server.stop.store(true, Ordering::Relaxed);
        for thread in self.threads.drain(..) {
            let _ended = thread.join();
        }
    }
}

impl Server {
    fn lives(&self) -> bool {
        !self.stop.load(Ordering::Relaxed)
    }

    fn serve_udp(&self, socket: &UdpSocket) {
        let mut message = [0; 1500];
        while self.lives() {
            let Ok((length, from)) = socket.recv_from(&mut message) else { continue };
            let (bytes, _) = reply(&message[..length], true, &self.answer, &self.asked);
            // Who asked may have gone.
            let _sent = socket.send_to(&bytes, from);
        }
    }

    fn serve_tcp(self: &Arc<Self>, listener: &TcpListener) {
        while self.lives() {
            let Ok((stream, _)) = listener.accept() else {
                thread::sleep(TICK);
                continue;
            };
            let server = self.clone();
            // Ends with the connection, or a second after the last question.
            thread::spawn(move || server.converse(stream));
        }
    }

    /// Answers what is asked by one connection until who asks has gone.
    fn converse(&self, mut stream: TcpStream) -> std::io::Result<()> {
        stream.set_nonblocking(false)?;
        stream.set_read_timeout(Some(Duration::from_secs(1)))?;
        stream.set_nodelay(true)?;
        loop {
            let mut length = [0; 2];
            stream.read_exact(&mut length)?;
            let mut message = vec![0; usize::from(u16::from_be_bytes(length))];
            stream.read_exact(&mut message)?;
            let (bytes, piece) = reply(&message, false, &self.answer, &self.asked);
            let all = [&(bytes.len() as u16).to_be_bytes()[..], &bytes].concat();
            for part in all.chunks(if piece == 0 { all.len() } else { piece }) {
                stream.write_all(part)?;
                thread::sleep(Duration::from_millis(2));
            }
        }
    }
}

/// What the asker says it has room for, if it does (RFC 6891 6.1.2); one that does not say so gets all.
fn room(message: &[u8], behind_question: usize) -> usize {
    match message.get(behind_question..) {
        // The root's name, type OPT, and the size in place of a class.
        Some([0, 0, 41, high, low, ..]) => usize::from(u16::from_be_bytes([*high, *low])),
        _ => usize::MAX,
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
    let length = 12 + at + padding + 11 + addresses.len() * 28;
    let truncated = by_udp && (truncated || length > room(message, at + 5));
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
        bytes.extend([&[0][..], &[0, 10, 0, 1, 0, 0, 0, 5]].concat());
        bytes.extend((padding as u16).to_be_bytes());
        bytes.extend(vec![b'x'; padding]);
    }
    (bytes, piece)
}
