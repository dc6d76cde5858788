//! The processes of a demo.

use std::io::{BufRead, BufReader, Read};
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};

use crate::process::{Outcome, PROCESS};

/// A process that serves.
pub(crate) struct Server {
    child: Child,
    /// It serves while this is open.
    input: ChildStdin,
    output: BufReader<ChildStdout>,
    pub(crate) port: u16,
}

impl Server {
    pub(crate) fn start(name: &str, next: &str, export: &str) -> Outcome<Self> {
        let mut child = start(name, next, export)?;
        let (input, output) = (child.stdin.take(), child.stdout.take());
        let (Some(input), Some(output)) = (input, output) else {
            return Err("a process without input and output".into());
        };
        let (mut port, mut output) = (String::new(), BufReader::new(output));
        output.read_line(&mut port)?;
        Ok(Self {
            child,
            input,
            output,
            port: port.trim().parse()?,
        })
    }

    /// Ends it. Returns its last line.
    pub(crate) fn stop(mut self) -> Outcome<String> {
        drop(self.input);
        let mut archive = String::new();
        self.output.read_to_string(&mut archive)?;
        match self.child.wait()?.success() {
            true => Ok(archive),
            false => Err("a server process failed".into()),
        }
    }
}

/// Starts this program again, as one of the processes.
pub(crate) fn start(name: &str, next: &str, export: &str) -> Outcome<Child> {
    let child = Command::new(std::env::current_exe()?)
        .args([PROCESS, name, next, export])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()?;
    Ok(child)
}
