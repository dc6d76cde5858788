//! A private network whose path can fail: three namespaces in a row, client, router and server, joined by veth pairs.
//! The machine's own network does not see it.

use std::fs::File;
use std::io::Write;
use std::net::Ipv4Addr;
use std::os::fd::AsFd;
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc;
use std::thread::{self, JoinHandle};

use rustix::thread::{LinkNameSpaceType, move_into_link_name_space};
use sevenhops::testing::{FaultServer, FaultServerBuilder};
use tokio::sync::oneshot;

pub(crate) const SERVER: Ipv4Addr = Ipv4Addr::new(10, 201, 1, 2);

/// The three namespaces. They are removed when this is dropped.
pub(crate) struct Partition {
    names: String,
    server: Option<Serving>,
}

/// Stops the server's thread, and waits for it.
type Serving = (oneshot::Sender<()>, JoinHandle<()>);

impl Partition {
    /// Creates the network, or returns why that is not possible here.
    pub(crate) fn new() -> Result<Self, String> {
        static COUNT: AtomicUsize = AtomicUsize::new(0);
        let count = COUNT.fetch_add(1, Ordering::Relaxed);
        let made = Self {
            names: format!("sevenhops-{}-{count}", std::process::id()),
            server: None,
        };
        for namespace in PLACES {
            ip(&["netns", "add", &made.name(namespace)], "")?;
        }
        let router = made.name("router");
        let join = |end: &str, ours: &str, theirs: &str| {
            let namespace = made.name(end);
            let pair = ["link", "add", ours, "type", "veth", "peer", "name", theirs];
            ip(
                &[&["-n", &namespace][..], &pair, &["netns", &router]].concat(),
                "",
            )
        };
        join("client", "c0", "r0")?;
        join("server", "s0", "r1")?;
        made.configure(
            "client",
            "addr add 10.201.0.2/30 dev c0\nlink set c0 up\nroute add default via 10.201.0.1",
        )?;
        made.configure(
            "server",
            "addr add 10.201.1.2/30 dev s0\nlink set s0 up\nroute add default via 10.201.1.1",
        )?;
        made.configure(
            "router",
            "addr add 10.201.0.1/30 dev r0\naddr add 10.201.1.1/30 dev r1\nlink set r0 up\nlink set r1 up",
        )?;
        let forward = "/proc/sys/net/ipv4/ip_forward";
        made.within("router", move || std::fs::write(forward, "1"))?
            .map_err(|error| format!("{forward}: {error}"))?;
        Ok(made)
    }

    /// From now on the router silently drops packets in both directions.
    pub(crate) fn go_dark(&self) {
        self.configure(
            "router",
            "route add blackhole 10.201.0.2\nroute add blackhole 10.201.1.2",
        )
        .unwrap();
    }

    /// Undoes [`go_dark`](Self::go_dark).
    pub(crate) fn heal(&self) {
        self.configure(
            "router",
            "route del blackhole 10.201.0.2\nroute del blackhole 10.201.1.2",
        )
        .unwrap();
    }

    /// The server's host loses its power: the router cannot reach it any more, and reports that.
    pub(crate) fn unplug(&self) {
        self.configure("server", "link set s0 down").unwrap();
    }

    /// Starts a server at [`SERVER`].
    pub(crate) fn serve(&mut self, server: FaultServerBuilder) -> FaultServer {
        let (tell, told) = mpsc::channel();
        let (stop, stopped) = oneshot::channel();
        let serving = self.enter("server", async move {
            let server = server.address((SERVER, 0).into()).start().await;
            tell.send(server.unwrap()).unwrap();
            let _ = stopped.await;
        });
        self.server = Some((stop, serving));
        told.recv().unwrap()
    }

    /// Runs a future in the client's namespace.
    pub(crate) fn call(&self, calling: impl Future<Output = ()> + Send + 'static) {
        if let Err(panic) = self.enter("client", calling).join() {
            std::panic::resume_unwind(panic);
        }
    }

    fn enter(
        &self,
        place: &str,
        future: impl Future<Output = ()> + Send + 'static,
    ) -> JoinHandle<()> {
        let namespace = self.name(place);
        thread::spawn(move || {
            move_into(&namespace).unwrap();
            let runtime = tokio::runtime::Builder::new_current_thread()
                .enable_all()
                .build();
            runtime.unwrap().block_on(future);
        })
    }

    fn within<T: Send + 'static>(
        &self,
        place: &str,
        work: impl FnOnce() -> T + Send + 'static,
    ) -> Result<T, String> {
        let namespace = self.name(place);
        let thread = thread::spawn(move || move_into(&namespace).map(|()| work()));
        thread.join().unwrap()
    }

    fn configure(&self, place: &str, commands: &str) -> Result<(), String> {
        ip(&["-n", &self.name(place), "-batch", "-"], commands)
    }

    fn name(&self, place: &str) -> String {
        format!("{}-{place}", self.names)
    }
}

impl Drop for Partition {
    fn drop(&mut self) {
        if let Some((stop, serving)) = self.server.take() {
            let _ = stop.send(());
            let _ = serving.join();
        }
        for place in PLACES {
            let _ = ip(&["netns", "del", &self.name(place)], "");
        }
    }
}

fn move_into(namespace: &str) -> Result<(), String> {
    let failed = |error: &dyn std::fmt::Display| format!("network namespace {namespace}: {error}");
    let file = File::open(format!("/run/netns/{namespace}")).map_err(|error| failed(&error))?;
    move_into_link_name_space(file.as_fd(), Some(LinkNameSpaceType::Network))
        .map_err(|error| failed(&error))
}

/// Runs `ip` with this input.
fn ip(arguments: &[&str], input: &str) -> Result<(), String> {
    let failed = |why: &str| format!("ip {}: {}", arguments.join(" "), why.trim());
    let mut child = Command::new("ip")
        .args(arguments)
        .stdin(Stdio::piped())
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .spawn()
        .map_err(|error| failed(&error.to_string()))?;
    if let Some(mut stdin) = child.stdin.take() {
        // If the write fails, ip has ended, and its output says why.
        let _ = stdin.write_all(input.as_bytes());
    }
    let output = child
        .wait_with_output()
        .map_err(|error| failed(&error.to_string()))?;
    if output.status.success() {
        Ok(())
    } else {
        Err(failed(&String::from_utf8_lossy(&output.stderr)))
    }
}

const PLACES: [&str; 3] = ["client", "router", "server"];
