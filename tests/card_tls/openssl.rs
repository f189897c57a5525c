//! `openssl s_server` on a free port.

use std::fs;
use std::io::{BufRead, BufReader, Read};
use std::net::SocketAddr;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::thread::JoinHandle;

use bailiwick_authority::pki::{Ca, Validity};
use bailiwick_tests::{cannot_run, program};

/// Whether there is none; that is said for `test`.
pub(crate) fn is_missing(test: &str) -> bool {
    let missing = program("openssl").is_none();
    if missing {
        cannot_run(test, "openssl is not installed");
    }
    missing
}

/// A server. Dropped, it is killed.
pub(crate) struct Server {
    process: Child,
    address: SocketAddr,
    said: Option<JoinHandle<String>>,
}

impl Server {
    /// Starts one for `localhost`, which demands certificates of the CA in `clients` (DER); `more`: further arguments.
    pub(crate) fn start(directory: &Path, ca: &Ca, clients: &[u8], more: &[&str]) -> Self {
        let write = |name: &str, bytes: &[u8]| {
            let path = directory.join(name);
            fs::write(&path, bytes).unwrap();
            path.to_str().unwrap().to_owned()
        };
        let identity = ca
            .issue_server(&["localhost".into()], Validity::days(2))
            .unwrap();
        let certificate = write("server.pem", identity.chain_pem().as_bytes());
        let key = write("server.key", identity.key_pem().as_bytes());
        let der = write("clients.der", clients);
        let clients = directory.join("clients.pem");
        let clients = clients.to_str().unwrap();
        let convert = ["x509", "-inform", "DER", "-in", &der, "-out", clients];
        assert!(
            Command::new("openssl")
                .args(convert)
                .status()
                .unwrap()
                .success()
        );
        let demand = ["-Verify", "1", "-verify_return_error", "-CAfile", clients];
        let mut process = Command::new("openssl")
            .args(["s_server", "-accept", "127.0.0.1:0", "-www"])
            .args(["-cert", &certificate, "-key", &key])
            .args(demand)
            .args(more)
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let mut lines = BufReader::new(process.stdout.take().unwrap()).lines();
        // `ACCEPT 127.0.0.1:40123`
        let address = lines.find_map(|line| line.ok()?.strip_prefix("ACCEPT ")?.parse().ok());
        let mut errors = process.stderr.take().unwrap();
        let said = std::thread::spawn(move || {
            let mut said = String::new();
            let _ended = errors.read_to_string(&mut said);
            for line in lines.map_while(Result::ok) {
                said.push_str(&line);
                said.push('\n');
            }
            said
        });
        Self {
            process,
            address: address.expect("its port"),
            said: Some(said),
        }
    }

    pub(crate) fn address(&self) -> SocketAddr {
        self.address
    }

    /// Ends it; what it has printed.
    pub(crate) fn end(mut self) -> String {
        let _gone = self.process.kill();
        let _gone = self.process.wait();
        self.said
            .take()
            .map_or(String::new(), |said| said.join().unwrap())
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _gone = self.process.kill();
        let _gone = self.process.wait();
    }
}
