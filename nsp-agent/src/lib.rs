//! The agent of NSP as a library, so that its tests reach every part.

pub mod access_log;
pub mod cli;
pub mod compile;
pub mod control;
pub mod daemon;
pub mod datapath;
pub mod history;
pub mod host;
pub mod names;
pub mod policy;
pub mod progress;
pub mod sources;
pub mod switch;
mod whole_file;
