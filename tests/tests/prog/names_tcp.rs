//! Answers by TCP, and questions in number.

use std::net::IpAddr;

use nsp_common::{
    learned::QUESTIONS_PER_CGROUP,
    verdict::{Direction, Lesson, Reason},
};
use nsp_tests::{
    packet::{
        BOTH, Packet,
        Party::Server,
        dns::{self, Dns},
        eth, payload, tcp, udp,
    },
    prog::{Case, Hook, everywhere, on},
};

use crate::names::{
    POLICY, RESOLVER, ask, connects, hears, home, is_refused, kind, lessons, trust,
};

/// A message as TCP carries it: its length before it.
fn framed(message: Dns) -> Vec<u8> {
    let bytes = Packet::from(message).bytes();
    let length = u16::try_from(bytes.len()).expect("a short message");
    [&length.to_be_bytes()[..], &bytes].concat()
}

/// A conversation with the resolver.
struct Stream {
    port: u16,
    /// Of the next byte that the resolver sends.
    sequence: u32,
}

impl Stream {
    fn open(case: &mut Case<'_>) -> Self {
        trust(case);
        let port = case.port();
        // Sequence numbers run over.
        let sequence = u32::MAX - 20;
        case.outbound(case.ip(Server, RESOLVER) / tcp(port, 53).syn()).ignored(Reason::Resolver);
        let _judged =
            case.inbound(case.ip(RESOLVER, Server) / tcp(53, port).syn_ack().seq(sequence));
        Self { port, sequence: sequence.wrapping_add(1) }
    }

    fn asks(&self, case: &mut Case<'_>, names: &[&str]) {
        let questions =
            names.iter().zip(7..).map(|(name, id)| framed(dns::query(id, name, kind(case))));
        let questions: Vec<u8> = questions.flatten().collect();
        let segment = tcp(self.port, 53).ack().psh() / payload(&questions);
        case.outbound(case.ip(Server, RESOLVER) / segment).ignored(Reason::Resolver);
    }

    fn hears(&mut self, case: &mut Case<'_>, bytes: &[u8]) {
        let segment = tcp(53, self.port).ack().psh().seq(self.sequence) / payload(bytes);
        let _judged = case.inbound(case.ip(RESOLVER, Server) / segment);
        self.sequence = self.sequence.wrapping_add(bytes.len() as u32);
    }
}

fn answer(case: &Case<'_>, id: u16, name: &str, at: IpAddr) -> Vec<u8> {
    framed(dns::query(id, name, kind(case)).response().address(name, at, 60))
}

#[test]
fn answer_in_one_segment_teaches() {
    everywhere(POLICY, |case| {
        let told = lessons(case, |case| {
            let mut stream = Stream::open(case);
            stream.asks(case, &["www.example.com"]);
            let bytes = answer(case, 7, "www.example.com", home(case));
            stream.hears(case, &bytes);
        });
        assert_eq!(told, [(Lesson::Learned, 1), (Lesson::Asked, 1)].into());
        connects(case, "below");
    });
}

/// The C library asks for both families at once, and a server may answer so.
#[test]
fn questions_and_answers_that_share_a_segment_are_all_read() {
    everywhere(POLICY, |case| {
        let told = lessons(case, |case| {
            let mut stream = Stream::open(case);
            stream.asks(case, &["api.example.org", "www.example.com"]);
            let at = home(case);
            let both =
                [answer(case, 7, "api.example.org", at), answer(case, 8, "www.example.com", at)];
            stream.hears(case, &both.concat());
        });
        assert_eq!(told, [(Lesson::Learned, 2), (Lesson::Asked, 2)].into());
        connects(case, "below");
    });
}

/// Whoever owns a zone chooses what is inside its records. In the middle of a long answer that may look
/// like the answer to another question of the same connection.
#[test]
fn inside_of_a_long_answer_is_not_taken_for_the_next_one() {
    everywhere(POLICY, |case| {
        let mut stream = Stream::open(case);
        let told = lessons(case, |case| {
            stream.asks(case, &["evil.test", "www.example.com"]);
            let imitation = answer(case, 8, "www.example.com", home(case));
            let long = framed(dns::query(7, "evil.test", kind(case)).response().record(
                "evil.test",
                16,
                60,
                &imitation,
            ));
            let cut = long.len() - imitation.len();
            stream.hears(case, &long[..cut]);
            stream.hears(case, &long[cut..]);
        });
        assert_eq!(told, [(Lesson::Asked, 2), (Lesson::Segmented, 1)].into());
        is_refused(case);
        // The genuine one, at the boundary, still counts.
        let genuine = answer(case, 8, "www.example.com", home(case));
        let told = lessons(case, |case| stream.hears(case, &genuine));
        assert_eq!(told, [(Lesson::Learned, 1)].into());
        connects(case, "below");
    });
}

#[test]
fn answer_in_pieces_or_with_a_lie_about_its_length_teaches_nothing() {
    everywhere(POLICY, |case| {
        let bytes = answer(case, 7, "www.example.com", home(case));
        let lie = |length: u16| [&length.to_be_bytes()[..], &bytes[2..]].concat();
        let half = bytes.len() / 2 + 8;
        for (said, lesson) in [
            (bytes[..half].to_vec(), Lesson::Segmented),
            (lie(u16::MAX), Lesson::Segmented),
            (lie(20), Lesson::Malformed),
            (lie(bytes.len() as u16 - 4), Lesson::Malformed),
        ] {
            let told = lessons(case, |case| {
                let mut stream = Stream::open(case);
                stream.asks(case, &["www.example.com"]);
                stream.hears(case, &said);
            });
            assert_eq!(told.get(&Lesson::Learned), None);
            assert!(told.contains_key(&lesson), "{told:?}");
            is_refused(case);
        }
    });
}

#[test]
fn who_asks_without_end_forgets_its_own_oldest_questions() {
    on(&BOTH, &[Hook::Tc], POLICY, |case| {
        let name = "www.example.com";
        let first = ask(case, 7, name);
        let (ip, kind_asked) = (case.ip(Server, RESOLVER), kind(case));
        for number in 0..QUESTIONS_PER_CGROUP {
            let question = dns::query(number as u16, "flood.example.com", kind_asked);
            let frame = eth() / (ip.clone() / udp(40_000, 53) / question);
            case.verdict(&frame.bytes(), Direction::Outbound).expect("a frame");
        }
        let answer = |case: &Case<'_>| {
            dns::query(7, name, kind(case)).response().address(name, home(case), 60)
        };
        let told = lessons(case, |case| {
            let message = answer(case);
            hears(case, RESOLVER, first, message);
        });
        assert_eq!(told, [(Lesson::Unasked, 1)].into());
        let last = ask(case, 7, name);
        let message = answer(case);
        hears(case, RESOLVER, last, message);
        connects(case, "below");
    });
}
