//! `nsp logs`: the access log, for people or as it is.

use std::{io::Write as _, ops::ControlFlow, path::PathBuf, time::Duration};

use clap::Args;
use jiff::Timestamp;

use super::{Failure, Socket};
use crate::{
    access_log::{
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
    /// The access log
    #[arg(long, value_name = "FILE", env = "NSP_LOG", default_value = "/var/log/nsp/access.jsonl")]
    log: PathBuf,
    #[command(flatten)]
    socket: Socket,
}

impl Logs {
    pub(super) fn run(self) -> Result<(), Failure> {
        // What the agent still holds belongs to the log; without an agent there is none.
        let has_agent = self.socket.call(&Request::Flush).is_ok();
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
        let opened =
            if self.follow { Log::follow(&self.log, filter) } else { Log::open(&self.log, filter) };
        let mut log = match opened {
            Ok(log) => log,
            Err(_) if has_agent && !self.log.exists() => {
                eprintln!("nsp: no record has been written yet");
                return Ok(());
            }
            Err(error) => return Err(Failure::failed(error.to_string())),
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
