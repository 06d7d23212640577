//! `nsp logs`: the access log, for people or as it is.

use std::{
    io::Write as _,
    ops::ControlFlow,
    path::{Path, PathBuf},
    time::Duration,
};

use clap::Args;
use jiff::Timestamp;

use super::{Failure, Socket};
use crate::{
    access_log::{
        self,
        line::Reader,
        read::{Filter, Log, ReadError, since},
        record::{AccessRecord, category_named},
    },
    control::Request,
};

/// How often a followed log is looked at.
const FOLLOW_INTERVAL: Duration = Duration::from_millis(200);

/// Show the access log, one line a record.
#[derive(Args, Debug)]
pub(crate) struct Logs {
    /// Go on as records come
    #[arg(short, long)]
    follow: bool,
    /// Only this category (Azure's name)
    #[arg(long, value_name = "C")]
    category: Option<String>,
    /// Only records since then: 10m, 2h, or a time like 2026-01-31T12:00:00Z
    #[arg(long, value_name = "T")]
    since: Option<String>,
    /// Print the records as they are, JSON Lines with Azure's columns
    #[arg(long)]
    json: bool,
    /// The access log. Without: where the agent that runs writes it, else /var/log/nsp/access.jsonl
    #[arg(long, value_name = "FILE", env = "NSP_LOG")]
    log: Option<PathBuf>,
    #[command(flatten)]
    socket: Socket,
}

impl Logs {
    pub(super) fn run(self) -> Result<(), Failure> {
        // What the agent still holds belongs to the log; without an agent there is none.
        let flushed = self.socket.call(&Request::Flush).unwrap_or_default();
        let written = flushed["log"].as_str();
        let category = match &self.category {
            Some(text) => Some(category_named(text).ok_or_else(|| Failure {
                code: 2,
                message: format!("logs: no category {text:?}"),
                cure: Some("nsp logs --category NspPublicInboundPerimeterRulesDenied".into()),
            })?),
            None => None,
        };
        let since = match &self.since {
            Some(text) => Some(since(text, Timestamp::now()).map_err(|why| Failure {
                code: 2,
                message: format!("logs: {why}"),
                cure: Some("nsp logs --since 10m".into()),
            })?),
            None => None,
        };
        let filter = Filter { category, since };
        let path = match (self.log, written) {
            (Some(path), _) => path,
            (None, Some("-")) => {
                return Err(Failure::failed(
                    "logs: the agent writes its log to its standard output",
                )
                .with_cure("journalctl -u nsp, or nsp run --log FILE"));
            }
            (None, told) => PathBuf::from(told.unwrap_or(access_log::DEFAULT)),
        };
        if self.follow && !path.exists() {
            eprintln!("nsp: logs: there is no access log at {} yet", path.display());
        }
        let opened =
            if self.follow { Log::follow(&path, filter) } else { Log::open(&path, filter) };
        let mut log = match opened {
            Ok(log) => log,
            Err(ReadError::Missing { path }) if written.is_some_and(|it| path == Path::new(it)) => {
                eprintln!("nsp: no record has been written yet");
                return Ok(());
            }
            Err(error @ ReadError::Missing { .. }) => {
                let failure = Failure::failed(format!("logs: {error}"));
                return Err(match written {
                    Some(written) => {
                        failure.with_cure(format!("the agent writes it to {written}: nsp logs"))
                    }
                    None => failure,
                });
            }
            Err(error) => return Err(Failure::failed(format!("logs: {error}"))),
        };
        let reader = Reader::here();
        let mut out = std::io::stdout().lock();
        let mut show = |record: &AccessRecord| {
            let line = if self.json { record.to_json() } else { reader.line(record) };
            // A reader that has gone (a closed pipe) has seen enough.
            match writeln!(out, "{line}").and_then(|()| out.flush()) {
                Ok(()) => ControlFlow::Continue(()),
                Err(_) => ControlFlow::Break(()),
            }
        };
        let shown = if self.follow {
            log.run(FOLLOW_INTERVAL, show)
        } else {
            (|| {
                while let Some(record) = log.next_record()? {
                    if show(&record).is_break() {
                        break;
                    }
                }
                Ok(())
            })()
        };
        shown.map_err(|error: ReadError| Failure::failed(error.to_string()))?;
        if log.skipped() != 0 {
            eprintln!("nsp: {} lines of the log could not be read", log.skipped());
        }
        Ok(())
    }
}
