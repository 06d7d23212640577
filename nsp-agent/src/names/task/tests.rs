use std::{
    net::IpAddr,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use tokio::{
    sync::{Semaphore, mpsc, oneshot, watch},
    task::JoinHandle,
    time::timeout,
};

use super::{Inputs, LOOKUPS_MAX, run};
use crate::names::{
    forbidden::Forbidden,
    resolve::{Answer, Resolve, ResolveError, Upstreams},
    schedule::{Batch, NameStatus},
};

const SOON: Duration = Duration::from_secs(10);

/// Answers `<n>.example.com` with 198.51.100.n, fails `fail.`, and panics on `panic.`; each lookup
/// takes a permit.
#[derive(Clone)]
struct Fake {
    permits: Arc<Semaphore>,
    running: Arc<AtomicUsize>,
    most: Arc<AtomicUsize>,
}

impl Resolve for Fake {
    async fn lookup(&self, name: &str) -> Result<Answer, ResolveError> {
        let running = self.running.fetch_add(1, Ordering::SeqCst) + 1;
        self.most.fetch_max(running, Ordering::SeqCst);
        self.permits.acquire().await.unwrap().forget();
        self.running.fetch_sub(1, Ordering::SeqCst);
        match name.split('.').next().unwrap() {
            "fail" => Err(ResolveError::Timeout),
            "panic" => panic!("a bug in the library"),
            number => {
                let last = number.parse::<u8>().unwrap();
                let addresses = vec![IpAddr::from([198, 51, 100, last])];
                Ok(Answer { addresses, ttl: Duration::from_secs(300), incomplete: None })
            }
        }
    }
}

struct Running {
    names: watch::Sender<Vec<(u32, String)>>,
    upstreams: watch::Sender<Upstreams>,
    forbidden: watch::Sender<Forbidden>,
    status: mpsc::Sender<oneshot::Sender<Vec<NameStatus>>>,
    batches: mpsc::Receiver<Batch>,
    task: JoinHandle<()>,
    fake: Fake,
    connected: Arc<AtomicUsize>,
}

impl Running {
    fn start(names: &[&str], permits: usize) -> Self {
        let names = (1..).zip(names.iter().map(ToString::to_string)).collect();
        let (names, names_input) = watch::channel(names);
        let (upstreams, upstreams_input) = watch::channel(Upstreams::Host);
        let (forbidden, forbidden_input) = watch::channel(Forbidden::default());
        let (status, status_input) = mpsc::channel(1);
        let (batches_output, batches) = mpsc::channel(1);
        let fake = Fake {
            permits: Arc::new(Semaphore::new(permits)),
            running: Arc::default(),
            most: Arc::default(),
        };
        let connected = Arc::<AtomicUsize>::default();
        let inputs = Inputs {
            names: names_input,
            upstreams: upstreams_input,
            forbidden: forbidden_input,
            status: status_input,
        };
        let (resolver, count) = (fake.clone(), connected.clone());
        let connect = move |_| {
            count.fetch_add(1, Ordering::SeqCst);
            resolver.clone()
        };
        let task = tokio::spawn(run(inputs, batches_output, connect));
        Self { names, upstreams, forbidden, status, batches, task, fake, connected }
    }

    async fn batch(&mut self) -> Batch {
        timeout(SOON, self.batches.recv()).await.expect("a batch in time").expect("a live task")
    }

    /// Waits until this many lookups are under way.
    async fn asking(&self, lookups: usize) {
        let all = async {
            while self.fake.running.load(Ordering::SeqCst) < lookups {
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
        };
        timeout(SOON, all).await.expect("lookups under way");
    }

    async fn status(&self) -> Vec<NameStatus> {
        let (ask, answer) = oneshot::channel();
        self.status.send(ask).await.unwrap();
        timeout(SOON, answer).await.expect("an answer in time").unwrap()
    }
}

#[tokio::test]
async fn names_are_asked_at_once_and_again_when_the_policy_changes() {
    let mut running = Running::start(&["1.example.com"], 100);
    let batch = running.batch().await;
    assert_eq!(batch.updates[0].address, IpAddr::from([198, 51, 100, 1]));
    assert_eq!(batch.updates[0].name, 1);
    running.names.send_replace(vec![(2, "2.example.com".into())]);
    assert_eq!(running.batch().await.removals[0].name, 1);
    assert_eq!(running.batch().await.updates[0].name, 2);
}

#[tokio::test]
async fn what_becomes_forbidden_is_taken_back() {
    let mut running = Running::start(&["1.example.com"], 100);
    running.batch().await;
    running.forbidden.send_replace(Forbidden::new(Vec::new(), [[198, 51, 100, 1].into()]));
    assert_eq!(running.batch().await.removals.len(), 1);
}

#[tokio::test]
async fn new_resolvers_are_asked_at_once() {
    let mut running = Running::start(&["1.example.com"], 1);
    running.batch().await;
    running.upstreams.send_replace(Upstreams::Host);
    running.asking(1).await;
    assert_eq!(running.connected.load(Ordering::SeqCst), 2);
}

#[tokio::test]
async fn lookups_are_limited() {
    let names: Vec<_> = (1..=200).map(|number| format!("{number}.example.com")).collect();
    let names: Vec<_> = names.iter().map(String::as_str).collect();
    let mut running = Running::start(&names, 0);
    running.asking(LOOKUPS_MAX).await;
    running.fake.permits.add_permits(names.len());
    let mut learned = 0;
    while learned < names.len() {
        learned += running.batch().await.updates.len();
    }
    assert_eq!(running.fake.most.load(Ordering::SeqCst), LOOKUPS_MAX);
}

#[tokio::test]
async fn a_panic_in_a_lookup_costs_only_that_lookup() {
    let mut running = Running::start(&["panic.example.com", "2.example.com"], 100);
    assert_eq!(running.batch().await.updates[0].name, 2);
    timeout(SOON, async {
        while running.status().await[1].failures == 0 {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    })
    .await
    .expect("the panic is a failure");
}

#[tokio::test]
async fn a_failure_is_asked_again_after_a_second() {
    let running = Running::start(&["fail.example.com"], 100);
    timeout(SOON, async {
        while running.status().await[0].failures < 2 {
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    })
    .await
    .expect("a second try");
}

#[tokio::test]
async fn the_task_ends_with_its_inputs_or_its_taker() {
    let running = Running::start(&[], 0);
    drop(running.names);
    timeout(SOON, running.task).await.expect("it ends").unwrap();
    let running = Running::start(&[], 0);
    drop(running.batches);
    timeout(SOON, running.task).await.expect("it ends").unwrap();
}
