//! What an agent is to be like, before there is one.

use std::{ffi::OsString, fs, path::PathBuf, time::Duration};

use super::{Agent, binary::nsp_binary, home::Home};
use crate::netns::Namespace;

/// How long the daemon may take to say that it is ready; a loaded machine with two cores is slow.
const READY_WITHIN: Duration = Duration::from_secs(30);

/// How to run the agent.
#[derive(Clone, Debug)]
pub struct AgentBuilder {
    pub(super) namespace: Namespace,
    pub(super) binary: Option<PathBuf>,
    pub(super) policy: String,
    pub(super) interfaces: Vec<String>,
    pub(super) arguments: Vec<OsString>,
    pub(super) through: Vec<OsString>,
    pub(super) ready_within: Duration,
    pub(super) is_pinned: bool,
}

impl AgentBuilder {
    pub(super) fn new(namespace: &Namespace) -> Self {
        Self {
            namespace: namespace.clone(),
            binary: None,
            policy: String::new(),
            interfaces: vec!["up0".to_owned()],
            arguments: Vec::new(),
            through: Vec::new(),
            ready_within: READY_WITHIN,
            is_pinned: true,
        }
    }

    /// The text of the policy file.
    #[must_use]
    pub fn policy(self, text: &str) -> Self {
        Self { policy: text.to_owned(), ..self }
    }

    /// The interfaces to cover, `up0` if nobody says; none leaves the choice to the agent.
    #[must_use]
    pub fn interfaces(self, interfaces: &[&str]) -> Self {
        Self { interfaces: interfaces.iter().map(ToString::to_string).collect(), ..self }
    }

    /// Adds an argument to `nsp run`.
    #[must_use]
    pub fn argument(mut self, argument: impl Into<OsString>) -> Self {
        self.arguments.push(argument.into());
        self
    }

    /// The arguments beside those that every agent has, in place of others.
    #[must_use]
    pub fn arguments(self, arguments: &[&str]) -> Self {
        Self { arguments: arguments.iter().map(OsString::from).collect(), ..self }
    }

    /// Runs the daemon through this command: `["strace", "-f", "-e", "inject=…"]`. Signals then
    /// go to that command.
    #[must_use]
    pub fn through(self, command: &[&str]) -> Self {
        Self { through: command.iter().map(OsString::from).collect(), ..self }
    }

    /// Another binary than [`nsp_binary`].
    #[must_use]
    pub fn binary(self, path: impl Into<PathBuf>) -> Self {
        Self { binary: Some(path.into()), ..self }
    }

    /// Pins nothing: the perimeter ends with the daemon.
    #[must_use]
    pub fn unpinned(self) -> Self {
        Self { is_pinned: false, ..self }
    }

    /// How long to wait for the daemon to be ready.
    #[must_use]
    pub fn ready_within(self, timeout: Duration) -> Self {
        Self { ready_within: timeout, ..self }
    }

    /// Sets the directories up and starts nothing; the verbs work.
    ///
    /// # Panics
    /// When there is no binary, or the directories cannot be made.
    pub fn build(self) -> Agent {
        let home = Home::new();
        fs::write(home.policy(), &self.policy).expect("a directory of ours is writable");
        let binary = self.binary.clone().unwrap_or_else(nsp_binary);
        Agent::at(home, binary, self)
    }

    /// Builds it, starts the daemon and waits until it is ready.
    ///
    /// # Panics
    /// When it does not become ready; the message has its standard error.
    pub fn start(self) -> Agent {
        let mut agent = self.build();
        agent.start();
        agent
    }
}
