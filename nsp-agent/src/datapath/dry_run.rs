//! Asking the running programs what they would do, without doing it.

use std::{
    io,
    mem::size_of,
    os::fd::{AsFd as _, OwnedFd},
    time::Duration,
};

use aya::{
    TestRun as _,
    programs::{Program, SchedClassifier, TestRunOptions, TestRunResult},
};
use nsp_common::explain::{Answer, Question};

use super::{Datapath, DatapathError};

const PROGRAM: &str = "nsp_explain";

impl Datapath {
    /// What the programs would decide of a described packet, by the maps as they are now.
    ///
    /// # Errors
    /// When the program cannot be run.
    pub fn explain(&self, question: &Question) -> Result<Answer, DatapathError> {
        let data_in = question.to_bytes();
        let mut data_out = vec![0; data_in.len()];
        let options = TestRunOptions {
            data_in: Some(&data_in),
            data_out: Some(&mut data_out),
            ..TestRunOptions::new()
        };
        self.call(PROGRAM, options)?;
        Answer::from_bytes(&data_out[..size_of::<Answer>()]).ok_or(DatapathError::NoAnswer)
    }

    /// Runs a program that takes its question or order as the bytes of a packet; its result.
    pub(super) fn call(
        &self,
        name: &str,
        options: TestRunOptions<'_>,
    ) -> Result<u32, DatapathError> {
        let failed = |source| DatapathError::Program { program: name.to_owned(), source };
        let program: &SchedClassifier =
            self.ebpf.program(name).ok_or(DatapathError::NoAnswer)?.try_into().map_err(failed)?;
        Ok(program.test_run(options).map_err(failed)?.return_value)
    }

    /// Runs one of the programs on a frame, for real: counters, records and conversations change.
    /// Answers the action code. The frame seems to come in by device `ifindex`, which must be one
    /// of the caller's network namespace.
    ///
    /// # Errors
    /// When the program cannot be run.
    pub fn run(&self, program: &str, frame: &[u8], ifindex: u32) -> Result<u32, DatapathError> {
        Ok(self.test_run(program, frame, ifindex, 1)?.return_value)
    }

    /// Does the same so many times; answers how long one run took on average.
    ///
    /// # Errors
    /// When the program cannot be run.
    pub fn run_repeatedly(
        &self,
        program: &str,
        frame: &[u8],
        ifindex: u32,
        times: u32,
    ) -> Result<Duration, DatapathError> {
        Ok(self.test_run(program, frame, ifindex, times)?.duration)
    }

    /// A descriptor of one of the programs, for who runs it on frames while a policy is published.
    ///
    /// # Errors
    /// When there is no such program, or no descriptor left.
    pub fn descriptor(&self, program: &str) -> io::Result<OwnedFd> {
        let loaded = self.ebpf.program(program).and_then(|loaded| loaded.fd().ok());
        let missing = || io::Error::new(io::ErrorKind::NotFound, format!("no program {program}"));
        loaded.ok_or_else(missing)?.as_fd().try_clone_to_owned()
    }

    fn test_run(
        &self,
        program: &str,
        frame: &[u8],
        ifindex: u32,
        repeat: u32,
    ) -> Result<TestRunResult, DatapathError> {
        let failed = |source| DatapathError::Program { program: program.to_owned(), source };
        let loaded = self.ebpf.program(program).ok_or(DatapathError::NoAnswer)?;
        let result = match loaded {
            Program::Xdp(xdp) => {
                // struct xdp_md: data, data_end, data_meta, ingress_ifindex, rx_queue, egress.
                let context: Vec<u8> = [0, frame.len() as u32, 0, ifindex, 0, 0]
                    .iter()
                    .flat_map(|word| word.to_ne_bytes())
                    .collect();
                xdp.test_run(TestRunOptions {
                    data_in: Some(frame),
                    ctx_in: Some(&context),
                    repeat,
                    ..TestRunOptions::new()
                })
            }
            Program::SchedClassifier(classifier) => {
                // struct __sk_buff; the test run accepts a device index (offset 40), no more.
                let mut context = vec![0; 192];
                context[40..44].copy_from_slice(&ifindex.to_ne_bytes());
                classifier.test_run(TestRunOptions {
                    data_in: Some(frame),
                    ctx_in: Some(&context),
                    repeat,
                    ..TestRunOptions::new()
                })
            }
            _ => return Err(DatapathError::NoAnswer),
        };
        result.map_err(failed)
    }
}
