//! Tests that a process without free descriptors blames itself. It runs in a child process, whose limit it lowers.

#[cfg(all(test, target_os = "linux"))]
mod tests {
    use std::fs::File;
    use std::io;
    use std::os::fd::AsRawFd;
    use std::time::Duration;

    use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
    use sevenhops::testing::FaultServer;
    use sevenhops::{Blame, Client, Effect, Hop, Kind};

    /// Lowers the limit to the descriptors that are open. Returns the previous limit.
    fn exhaust() -> io::Result<Rlimit> {
        let before = getrlimit(Resource::Nofile);
        // The lowest free descriptor.
        let free = File::open("/dev/null")?.as_raw_fd();
        let none = Rlimit {
            current: u64::try_from(free).ok(),
            ..before
        };
        setrlimit(Resource::Nofile, none)?;
        Ok(before)
    }

    #[tokio::test]
    async fn process_without_descriptors_blames_itself_and_no_destination() {
        let server = FaultServer::builder().start().await.unwrap();
        let url = server.url("/v1");
        let client = Client::builder(Duration::from_secs(10)).build().unwrap();
        let before = exhaust().unwrap();
        let mut errors = Vec::new();
        for _ in 0..25 {
            errors.push(
                client
                    .post(&url)
                    .options(|options| options.retry(false))
                    .send()
                    .await
                    .unwrap_err(),
            );
        }
        let get = client.get(&url).send().await.unwrap_err();
        setrlimit(Resource::Nofile, before).unwrap();
        for error in &errors {
            let told = (error.hop(), error.kind(), error.effect(), error.blame());
            let local = Kind::LocalResources;
            let expected = (Some(Hop::Connect), local, Effect::None, Blame::Client);
            assert_eq!(told, expected, "{error:?}");
            assert!(
                error
                    .to_string()
                    .contains(": local resources, Too many open files (os error 24); "),
                "{error}"
            );
        }
        assert_eq!(get.attempts(), 10, "it passes: {get}");
        // No circuit opened, and no address was set aside.
        let response = client
            .get(&url)
            .options(|options| options.retry(false))
            .send()
            .await
            .unwrap();
        assert_eq!(response.status(), 200);
    }
}
