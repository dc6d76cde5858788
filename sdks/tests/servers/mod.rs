//! Real servers of the test's own, on loopback ports and in directories of their own. They can be killed and started
//! again. Also a path to them that loses a response.
#![allow(
    clippy::allow_attributes,
    dead_code,
    reason = "no test needs all of it, and each needs another part"
)]

mod losing;

use std::fs;
use std::io::{self, BufRead, BufReader, Read, Write};
use std::net::{Ipv4Addr, TcpListener};
use std::os::unix::fs::{MetadataExt, chown};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::thread;

pub(crate) use self::losing::Losing;

/// A server. It is stopped and its files are removed when this is dropped.
pub(crate) struct Server {
    program: Program,
    directory: PathBuf,
    /// The user of the process, if it is not ours: PostgreSQL does not run as root.
    owner: Option<Ids>,
    port: u16,
    child: Option<Child>,
}

/// A user and its group.
type Ids = (u32, u32);

enum Program {
    Postgres(PathBuf),
    Redis,
}

impl Server {
    /// Starts a PostgreSQL. Returns `None` if it is not installed, and prints that past the capture of the test's
    /// output.
    pub(crate) fn postgres() -> Option<Self> {
        let Some(binaries) = postgres_binaries() else {
            return skipped("PostgreSQL is not installed");
        };
        let owner = match unprivileged() {
            Ok(owner) => owner,
            Err(reason) => return skipped(reason),
        };
        let initdb = binaries.join("initdb");
        let mut server = Self::new(Program::Postgres(binaries), owner);
        let mut making = server.command(&initdb);
        making.args(["--auth=trust", "--username=postgres", "--no-sync", "-D"]);
        let made = making.arg(&server.directory).output().unwrap();
        assert!(made.status.success(), "{made:?}");
        server.start();
        Some(server)
    }

    /// Starts a Redis that loses nothing that it has confirmed.
    pub(crate) fn redis() -> Option<Self> {
        if Command::new("redis-server")
            .arg("--version")
            .output()
            .is_err()
        {
            return skipped("Redis is not installed");
        }
        let mut server = Self::new(Program::Redis, None);
        server.start();
        Some(server)
    }

    fn new(program: Program, owner: Option<Ids>) -> Self {
        static COUNT: AtomicU32 = AtomicU32::new(0);
        let count = COUNT.fetch_add(1, Ordering::Relaxed);
        let name = format!("sevenhops-{}-{count}", std::process::id());
        let directory = std::env::temp_dir().join(name);
        fs::create_dir(&directory).unwrap();
        if let Some((user, group)) = owner {
            chown(&directory, Some(user), Some(group)).unwrap();
        }
        Self {
            program,
            directory,
            owner,
            port: free_port(),
            child: None,
        }
    }

    pub(crate) fn port(&self) -> u16 {
        self.port
    }

    /// Returns when it is ready. A PostgreSQL whose predecessor was killed waits for its last children.
    pub(crate) fn start(&mut self) {
        for _ in 0..MOST_STARTS {
            let mut child = self.spawn();
            if is_ready(&mut child) {
                self.child = Some(child);
                return;
            }
            let _ = child.wait();
        }
        panic!("the server does not start");
    }

    /// Kills it as a power failure would.
    pub(crate) fn kill(&mut self) {
        if let Some(mut child) = self.child.take() {
            child.kill().unwrap();
            child.wait().unwrap();
        }
    }

    fn spawn(&self) -> Child {
        let port = self.port.to_string();
        let mut command = match &self.program {
            Program::Postgres(binaries) => {
                let mut command = self.command(&binaries.join("postgres"));
                command.arg("-D").arg(&self.directory).args(["-p", &port]);
                for setting in [
                    "listen_addresses=127.0.0.1",
                    "unix_socket_directories=",
                    "lc_messages=C",
                ] {
                    command.args(["-c", setting]);
                }
                command
            }
            Program::Redis => {
                let mut command = self.command(Path::new("redis-server"));
                command.args(["--bind", "127.0.0.1", "--port", &port, "--save", ""]);
                command.args(["--appendonly", "yes", "--appendfsync", "always", "--dir"]);
                command.arg(&self.directory);
                command
            }
        };
        command.stdin(Stdio::null());
        command.stdout(Stdio::piped()).stderr(Stdio::piped());
        command.spawn().unwrap()
    }

    fn command(&self, program: &Path) -> Command {
        let mut command = Command::new(program);
        command.current_dir(&self.directory);
        if let Some((user, group)) = self.owner {
            command.uid(user).gid(group);
        }
        command
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.kill();
        let _ = fs::remove_dir_all(&self.directory);
    }
}

/// Waits for the line that reports readiness. Returns false if the process ends without it.
fn is_ready(child: &mut Child) -> bool {
    let output = child.stdout.take().unwrap();
    let errors = child.stderr.take().unwrap();
    let (sender, lines) = std::sync::mpsc::channel();
    // Reads to the end, so that the server never blocks on a full pipe.
    let read = |pipe: Box<dyn Read + Send>, sender: std::sync::mpsc::Sender<String>| {
        thread::spawn(move || {
            for line in BufReader::new(pipe).lines().map_while(io::Result::ok) {
                let _ = sender.send(line);
            }
        });
    };
    read(Box::new(output), sender.clone());
    read(Box::new(errors), sender);
    let ready = ["ready to accept connections", "Ready to accept connections"];
    let mut lines = lines.into_iter();
    lines.any(|line| ready.iter().any(|said| line.contains(said)))
}

/// Returns the newest version that Debian installed.
fn postgres_binaries() -> Option<PathBuf> {
    let versions = fs::read_dir("/usr/lib/postgresql").ok()?;
    let binaries = versions.filter_map(|version| Some(version.ok()?.path().join("bin")));
    binaries.filter(|at| at.join("initdb").exists()).max()
}

/// Returns a user who is not root: `None` if we are not root, else the user that the package created.
fn unprivileged() -> Result<Option<Ids>, &'static str> {
    let ours = fs::metadata("/proc/self").map_err(|_| "no /proc")?;
    if ours.uid() != 0 {
        return Ok(None);
    }
    let users = fs::read_to_string("/etc/passwd").map_err(|_| "no users")?;
    let user = users.lines().find(|line| line.starts_with("postgres:"));
    let ids = user.and_then(|line| {
        let mut fields = line.split(':').skip(2);
        let mut id = || fields.next()?.parse().ok();
        Some((id()?, id()?))
    });
    ids.map(Some).ok_or("there is no user postgres")
}

fn skipped<T>(reason: &str) -> Option<T> {
    let line = format!("SKIPPED: an operation around a real server: {reason}\n");
    let _ = io::stderr().write_all(line.as_bytes());
    None
}

fn free_port() -> u16 {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    listener.local_addr().unwrap().port()
}

/// Each try takes some tens of milliseconds.
const MOST_STARTS: u32 = 200;
