//! Names whose answers the kernel could not read as they passed: the agent asks for them itself.
//!
//! A queue that is pure, and a task that ties it to a resolver. What asks for such a name is any program
//! of this host, so everything here is bounded.

use std::{
    collections::{HashMap, HashSet, VecDeque},
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
};

use nsp_common::{
    learned::{Unit, Wanted},
    name::NameKey,
};
use tokio::{
    sync::mpsc,
    task::{Id, JoinSet},
};

use super::{
    resolve::{Answer, Resolve, ResolveError},
    task::now_s,
};

/// Lookups under way at a time.
pub const LOOKUPS_MAX: usize = 64;
/// Names that wait for one.
pub const QUEUE_MAX: usize = 1024;
/// How long after its lookup a name is not asked for again. The agent's own question may be answered in
/// a way that the kernel cannot read either, and then wants the name anew.
const PAUSE_S: u64 = 1;

/// A name, and what it is held by.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Want {
    /// The name.
    pub name: Arc<str>,
    /// The unit of the policy that it falls under.
    pub unit: Unit,
}

impl Want {
    /// What the kernel wants. `None` for what is no name that can be asked for.
    pub fn of(wanted: &Wanted) -> Option<Self> {
        let name = NameKey::text(wanted.key.get(..usize::from(wanted.length))?)?;
        let is_plain = wanted.unit.name != 0 && !name.contains('\\');
        is_plain.then(|| Self { name: name.into(), unit: wanted.unit })
    }
}

/// What became of wanted names; exact.
#[derive(Debug, Default)]
pub struct Counts {
    /// Names that the kernel wanted.
    pub wanted: AtomicU64,
    /// That were waiting, or asked for a moment ago.
    pub repeated: AtomicU64,
    /// For which there was no room, or that nobody can ask for.
    pub dropped: AtomicU64,
    /// That had an answer.
    pub answered: AtomicU64,
    /// That had none.
    pub failed: AtomicU64,
}

impl Counts {
    /// Counts one.
    pub fn add(count: &AtomicU64) {
        count.fetch_add(1, Ordering::Relaxed);
    }
}

/// An answer, and who wanted it.
#[derive(Clone, Debug)]
pub struct Answered {
    /// What was wanted.
    pub want: Want,
    /// The addresses.
    pub answer: Answer,
}

/// What became of a name that was added to the queue.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Added {
    Waits,
    Repeated,
    NoRoom,
}

/// Names that wait, are asked for, or were a moment ago.
#[derive(Debug, Default)]
struct Queue {
    waiting: VecDeque<Want>,
    /// Those that wait or are asked for.
    open: HashSet<Arc<str>>,
    /// When those that were asked for had their end.
    ended_s: HashMap<Arc<str>, u64>,
}

impl Queue {
    fn add(&mut self, want: Want, now_s: u64) -> Added {
        self.ended_s.retain(|_, ended_s| now_s <= *ended_s + PAUSE_S);
        if self.open.contains(&want.name) || self.ended_s.contains_key(&want.name) {
            return Added::Repeated;
        }
        if self.waiting.len() >= QUEUE_MAX {
            return Added::NoRoom;
        }
        self.open.insert(want.name.clone());
        self.waiting.push_back(want);
        Added::Waits
    }

    /// The next to ask for, unless too many are.
    fn next(&mut self) -> Option<Want> {
        let asking = self.open.len() - self.waiting.len();
        (asking < LOOKUPS_MAX).then(|| self.waiting.pop_front()).flatten()
    }

    fn ended(&mut self, want: &Want, now_s: u64) {
        self.open.remove(&want.name);
        self.ended_s.insert(want.name.clone(), now_s);
    }
}

/// Asks for what is wanted until nobody wants or takes anything any more. Must be used inside a tokio
/// runtime.
pub async fn run<R: Resolve>(
    mut wants: mpsc::Receiver<Want>,
    answers: mpsc::Sender<Answered>,
    resolver: R,
    counts: Arc<Counts>,
) {
    let resolver = Arc::new(resolver);
    let mut queue = Queue::default();
    let mut lookups = JoinSet::new();
    let mut started: HashMap<Id, Want> = HashMap::new();
    loop {
        while let Some(want) = queue.next() {
            let resolver = resolver.clone();
            let name = want.name.clone();
            let task = lookups.spawn(async move { resolver.lookup(&name).await });
            started.insert(task.id(), want);
        }
        tokio::select! {
            want = wants.recv() => match want {
                Some(want) => match queue.add(want, now_s()) {
                    Added::Waits => {}
                    Added::Repeated => Counts::add(&counts.repeated),
                    Added::NoRoom => Counts::add(&counts.dropped),
                },
                None => return,
            },
            Some(ended) = lookups.join_next_with_id() => {
                let (id, found) = match ended {
                    Ok(ended) => ended,
                    // A bug in parsing an answer must cost one lookup, not the others.
                    Err(error) => (error.id(), Err(ResolveError::Other(error.to_string()))),
                };
                let Some(want) = started.remove(&id) else { continue };
                queue.ended(&want, now_s());
                match found {
                    Ok(answer) => {
                        Counts::add(&counts.answered);
                        if answers.send(Answered { want, answer }).await.is_err() {
                            return;
                        }
                    }
                    Err(error) => {
                        Counts::add(&counts.failed);
                        tracing::debug!(name = %want.name, %error, "a wanted name has no answer");
                    }
                }
            },
            () = answers.closed() => return,
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use nsp_common::name::KEY_LEN;

    use super::*;

    const UNIT: Unit = Unit { name: 7, quota: 32768 };

    fn want(name: &str) -> Want {
        Want { name: name.into(), unit: UNIT }
    }

    #[test]
    fn only_what_can_be_asked_for_is_taken_from_the_kernel() {
        let key = NameKey::of("www.example.com", false).unwrap();
        let NameKey { bytes, length } = key;
        let wanted = Wanted { unit: UNIT, length, why: 0, _pad: [0; 5], key: bytes };
        assert_eq!(Want::of(&wanted), Some(want("www.example.com")));
        assert_eq!(Want::of(&Wanted { length: KEY_LEN as u16 + 1, ..wanted }), None);
        assert_eq!(Want::of(&Wanted { length: 3, ..wanted }), None);
        assert_eq!(Want::of(&Wanted { unit: Unit::default(), ..wanted }), None);
        let mut dotted = bytes;
        dotted[1] = b'.';
        assert_eq!(Want::of(&Wanted { key: dotted, ..wanted }), None);
    }

    #[test]
    fn a_name_is_asked_for_once_and_again_after_a_pause() {
        let mut queue = Queue::default();
        assert_eq!(queue.add(want("a.example"), 10), Added::Waits);
        assert_eq!(queue.add(want("a.example"), 10), Added::Repeated);
        let asked = queue.next().expect("one waits");
        assert_eq!(queue.add(want("a.example"), 11), Added::Repeated, "while it is asked for");
        queue.ended(&asked, 20);
        assert_eq!(queue.add(want("a.example"), 20 + PAUSE_S), Added::Repeated);
        assert_eq!(queue.add(want("a.example"), 20 + PAUSE_S + 1), Added::Waits);
        assert_eq!(queue.ended_s.len(), 0, "nothing is remembered for ever");
    }

    #[test]
    fn lookups_and_those_that_wait_are_bounded() {
        let mut queue = Queue::default();
        let name = |number: usize| want(&format!("n{number}.example"));
        for number in 0..QUEUE_MAX {
            assert_eq!(queue.add(name(number), 1), Added::Waits);
        }
        assert_eq!(queue.add(name(QUEUE_MAX), 1), Added::NoRoom);
        let asked: Vec<Want> = std::iter::from_fn(|| queue.next()).collect();
        assert_eq!(asked.len(), LOOKUPS_MAX);
        queue.ended(&asked[0], 1);
        assert!(queue.next().is_some() && queue.next().is_none());
    }

    /// Answers every name but one.
    struct Office;

    impl Resolve for Office {
        async fn lookup(&self, name: &str) -> Result<Answer, ResolveError> {
            if name == "none.example" {
                return Err(ResolveError::NoName);
            }
            let addresses = vec!["198.51.100.7".parse().unwrap()];
            Ok(Answer { addresses, ttl: Duration::from_secs(60), incomplete: None })
        }
    }

    #[tokio::test]
    async fn answers_come_with_who_wanted_them_and_failures_are_counted() {
        let (wants, wants_out) = mpsc::channel(4);
        let (answers_in, mut answers) = mpsc::channel(4);
        let counts = Arc::<Counts>::default();
        let task = tokio::spawn(run(wants_out, answers_in, Office, counts.clone()));
        for name in ["none.example", "a.example", "a.example"] {
            wants.send(want(name)).await.unwrap();
        }
        let Answered { want: found, answer } = answers.recv().await.expect("an answer");
        assert_eq!((found, answer.addresses.len()), (want("a.example"), 1));
        drop(wants);
        task.await.unwrap();
        let count = |count: &AtomicU64| count.load(Ordering::Relaxed);
        assert_eq!(
            (count(&counts.answered), count(&counts.failed), count(&counts.repeated)),
            (1, 1, 1)
        );
    }
}
