//! `nsp exec`: a command inside a perimeter of its own.

mod child;
mod private;
mod summary;

use std::{ffi::OsString, fs::File, io, path::PathBuf, process::ExitCode};

use clap::Args;

use self::{private::PrivateAgent, summary::Report};
use super::{Failure, Socket};
use crate::{
    control::{
        Client, ControlError, Request,
        exec::{DONE, STARTED, Summary, Welcome},
    },
    host::cgroups,
    policy::allow::Allowed,
};

/// Run a command inside a perimeter of its own: it and all that comes of it reach the destinations given
/// and nothing else, not the private network and not the cloud's metadata. Names are asked of the host's
/// resolvers, and only those given. Its exit code is the command's; afterwards what was blocked is listed
/// by process. Without a running agent, root gets one for as long as the command runs.
#[derive(Args, Debug)]
#[command(
    after_help = "Example: nsp exec --allow '*.crates.io' --allow github.com:443/tcp -- cargo build"
)]
pub(crate) struct Exec {
    /// Where it may go: NAME, *.NAME or ADDRESS[/LENGTH], each with :PORT[-PORT]/tcp|udp if only there;
    /// an IPv6 address with ports in brackets. Repeat for several
    #[arg(long = "allow", value_name = "DEST")]
    allow: Vec<String>,
    /// Block nothing, and print the --allow flags that it would have needed
    #[arg(long)]
    learn: bool,
    /// Also write what was blocked to this file, as JSON
    #[arg(long, value_name = "FILE", env = "NSP_EXEC_SUMMARY")]
    summary: Option<PathBuf>,
    /// Say so when nothing was blocked, too
    #[arg(long, short)]
    verbose: bool,
    /// With an agent of its own, beside one that runs (root only)
    #[arg(long)]
    private: bool,
    #[command(flatten)]
    socket: Socket,
    #[command(flatten)]
    files: private::Files,
    /// The command and its arguments
    #[arg(last = true, required = true, value_name = "CMD")]
    command: Vec<OsString>,
}

/// A session that has begun, with the agent that holds it.
struct Session {
    client: Client,
    welcome: Welcome,
    /// Ended after the session.
    private: Option<PrivateAgent>,
}

impl Exec {
    pub(super) fn run(self) -> Result<ExitCode, Failure> {
        for text in &self.allow {
            Allowed::parse(text).map_err(|refusal| Failure {
                code: 2,
                message: format!("exec: --allow: {}: {}", refusal.what, refusal.why),
                cure: refusal.cure.map(|cure| format!("--allow {}", cure.trim_matches('"'))),
            })?;
        }
        // Before anything runs: a summary that cannot be written should not be found out afterwards.
        let file = self.summary.as_ref().map(|path| {
            File::create(path)
                .map_err(|error| Failure::failed(format!("exec: {}: {error}", path.display())))
        });
        let file = file.transpose()?;
        let mut session = self.begin()?;
        session.check_inside()?;
        let (program, arguments) = self.command.split_first().expect("clap wants one at least");
        let mut started = child::spawn(program, arguments);
        // Also where nothing was started: what is left in the cgroup at the end is ended.
        if let Err(error) = session.client.say::<()>(STARTED) {
            if let Ok(child) = &mut started {
                child.kill();
            }
            return Err(error.into());
        }
        let code = match started {
            Ok(mut child) => child.wait(session.client.descriptor()).map_err(|why| {
                Failure::failed(format!("exec: {why}"))
                    .with_cure("nsp status, and journalctl -u nsp")
            })?,
            Err((code, why)) => {
                eprintln!("nsp: exec: {}: {why}", program.display());
                code
            }
        };
        let Session { mut client, welcome, private } = session;
        let summary: Summary = client.say(DONE)?;
        drop(private);
        let report =
            Report { code, session: &welcome.session, learn: self.learn, summary: &summary };
        report.print(self.verbose);
        if let (Some(mut file), Some(path)) = (file, self.summary)
            && let Err(error) = report.write(&mut file)
        {
            eprintln!("nsp: exec: {}: {error}", path.display());
        }
        Ok(ExitCode::from(code))
    }

    /// Begins a session with the agent that runs, or with one of its own.
    fn begin(&self) -> Result<Session, Failure> {
        let begin = |control: &std::path::Path| -> Result<(Client, Welcome), ControlError> {
            let mut client = Client::connect(control)?;
            let request = Request::Exec { allow: self.allow.clone(), learn: self.learn };
            let welcome = client.ask(&request)?;
            Ok((client, welcome))
        };
        if !self.private {
            match begin(&self.socket.control) {
                Ok((client, welcome)) => return Ok(Session { client, welcome, private: None }),
                Err(ControlError::NoAgent { source, .. })
                    if matches!(
                        source.kind(),
                        io::ErrorKind::NotFound | io::ErrorKind::ConnectionRefused
                    ) => {}
                Err(error) => return Err(error.into()),
            }
        }
        if !rustix::process::geteuid().is_root() {
            let control = self.socket.control.display();
            return Err(Failure::needs_privileges(format!(
                "exec: no agent answers at {control}, and only root can start one of its own"
            ))
            .with_cure("sudo nsp exec …, or systemctl start nsp"));
        }
        let private = PrivateAgent::start(&self.files)?;
        let (client, welcome) = begin(&private.control())?;
        Ok(Session { client, welcome, private: Some(private) })
    }
}

impl Session {
    /// What is started from here on is in the session's cgroup: it is this process's.
    fn check_inside(&self) -> Result<(), Failure> {
        let expected = self.welcome.cgroup.rsplit('/').next().unwrap_or_default();
        let now_in = cgroups::of_process(std::process::id())
            .map_err(|error| Failure::failed(format!("exec: {error}")))?;
        // The path begins elsewhere in a container; its end is the same.
        if now_in.rsplit('/').next() == Some(expected) && !expected.is_empty() {
            return Ok(());
        }
        Err(Failure::failed(format!("exec: this process is in {now_in}, not in {expected}")))
    }
}
