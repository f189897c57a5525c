//! Enrolment over EST (RFC 7030), judged by programs that are not ours: `curl` speaks HTTP, `openssl` makes requests and reads
//! what comes back.
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test may fail")]

mod device;

use bailiwick_authority::{
    DeviceId, Enroll, Enrollment, RunningServer, ServerOptions, pki::Identity,
};
use device::World;
use std::{
    io::Write,
    path::PathBuf,
    process::{Command, Output, Stdio},
    time::Duration,
};

const DEVICE: &str = "IMEI:493005100592800";
const URN: &str = "urn:x-bailiwick:device:IMEI:493005100592800";

/// A server, an enrolled device, and its files for `curl`.
struct Bed {
    world: World,
    server: RunningServer,
    identity: Identity,
}

/// What `curl` saw.
struct Answer {
    status: String,
    head: String,
    body: String,
}

/// `None`, said aloud, where the programs are missing and may be.
fn judges() -> Option<()> {
    for program in ["curl", "openssl"] {
        let found = Command::new(program)
            .arg(if program == "curl" {
                "--version"
            } else {
                "version"
            })
            .stdout(Stdio::null())
            .status();
        if found.is_ok_and(|status| status.success()) {
            continue;
        }
        let required = ["CI", "BAILIWICK_REQUIRE_ALL"];
        assert!(
            !required.iter().any(|name| std::env::var_os(name).is_some()),
            "{program} is missing: apt-get install curl openssl"
        );
        // Past the capture of test output; a closed standard error is no reason to fail.
        let _ = writeln!(
            std::io::stderr(),
            "SKIPPED est: {program} is missing: apt-get install curl openssl"
        );
        return None;
    }
    Some(())
}

impl Bed {
    async fn new() -> Self {
        Self::with(ServerOptions::default()).await
    }

    async fn with(options: ServerOptions) -> Self {
        let world = World::new();
        let server = world.serve(options).await;
        let enrollment = enroll(&world, DEVICE);
        let bed = Bed {
            world,
            server,
            identity: enrollment.identity,
        };
        bed.keep("first", &bed.identity);
        let anchor = std::fs::read(bed.world.authority.dir().join("ca.pem")).unwrap();
        std::fs::write(bed.path("ca.pem"), anchor).unwrap();
        bed
    }

    fn path(&self, name: &str) -> PathBuf {
        self.world.dir.path().join(name)
    }

    /// Certificate and key of an identity, for `curl`.
    fn keep(&self, name: &str, identity: &Identity) {
        std::fs::write(self.path(&format!("{name}.pem")), identity.chain_pem()).unwrap();
        std::fs::write(self.path(&format!("{name}.key")), identity.key_pem()).unwrap();
    }

    /// As the identity that is kept under this name.
    async fn curl(&self, as_whom: &str, path: &str, more: &[&str]) -> Answer {
        let url = format!("https://{}{path}", self.server.local_addr());
        let mut curl = Command::new("curl");
        curl.current_dir(self.world.dir.path())
            .args(["--silent", "--show-error", "--max-time", "20", "--include"])
            .args(["--cacert", "ca.pem"])
            .args(["--cert", &format!("{as_whom}.pem")])
            .args(["--key", &format!("{as_whom}.key")])
            .args(more)
            .arg(url);
        let output = run(curl).await;
        assert!(output.status.success(), "{}", text(&output.stderr));
        let answer = text(&output.stdout);
        let (head, body) = answer.split_once("\r\n\r\n").expect("a head");
        // What `Expect: 100-continue` is answered with comes first.
        let (head, body) = match head.contains(" 100 ") {
            true => body.split_once("\r\n\r\n").expect("a head"),
            false => (head, body),
        };
        Answer {
            status: head.split(' ').nth(1).unwrap().to_owned(),
            head: head.to_ascii_lowercase(),
            body: body.to_owned(),
        }
    }

    /// A request, base64 of its DER form, made by `openssl req` with `key` (made if it is not there).
    async fn request(&self, key: &str, kind: &[&str], subject: &str, names: &[&str]) -> String {
        if !self.path(key).exists() {
            let mut generate = vec!["genpkey", "-out", key, "-algorithm"];
            generate.extend(kind);
            self.openssl(&generate).await;
        }
        let mut arguments = vec!["req", "-new", "-key", key, "-subj", subject];
        for name in names {
            arguments.extend(["-addext", name]);
        }
        arguments.extend(["-outform", "DER", "-out", "request.der"]);
        self.openssl(&arguments).await;
        let encoded = self.openssl(&["base64", "-e", "-in", "request.der"]).await;
        std::fs::write(self.path("request.b64"), &encoded).unwrap();
        encoded
    }

    async fn post(&self, as_whom: &str, operation: &str) -> Answer {
        let more = [
            "--header",
            "Content-Type: application/pkcs10",
            "--header",
            "Content-Transfer-Encoding: base64",
            "--data-binary",
            "@request.b64",
        ];
        self.curl(as_whom, &format!("/.well-known/est/{operation}"), &more)
            .await
    }

    async fn openssl(&self, arguments: &[&str]) -> String {
        let mut openssl = Command::new("openssl");
        openssl
            .current_dir(self.world.dir.path())
            // Not the machine's: it may add extensions to requests.
            .env("OPENSSL_CONF", self.path("openssl.cnf"))
            .args(arguments);
        std::fs::write(
            self.path("openssl.cnf"),
            "[req]\ndistinguished_name = name\n[name]\n",
        )
        .unwrap();
        let output = run(openssl).await;
        assert!(
            output.status.success(),
            "{arguments:?}: {}",
            text(&output.stderr)
        );
        text(&output.stdout)
    }

    /// The one certificate of a certs-only answer, PEM, written to `file`.
    async fn certificate(&self, answer: &Answer, file: &str) -> String {
        assert_eq!(answer.status, "200", "{}", answer.body);
        assert!(
            answer
                .head
                .contains("content-type: application/pkcs7-mime; smime-type=certs-only")
        );
        assert!(answer.head.contains("content-transfer-encoding: base64"));
        std::fs::write(self.path("answer.b64"), &answer.body).unwrap();
        let decode = ["base64", "-d", "-in", "answer.b64", "-out", "answer.p7"];
        self.openssl(&decode).await;
        let printed = self
            .openssl(&[
                "pkcs7",
                "-inform",
                "DER",
                "-in",
                "answer.p7",
                "-print_certs",
            ])
            .await;
        assert_eq!(printed.matches("BEGIN CERTIFICATE").count(), 1, "{printed}");
        let pem = &printed[printed.find("-----BEGIN").unwrap()..];
        std::fs::write(self.path(file), pem).unwrap();
        pem.to_owned()
    }
}

fn enroll(world: &World, device: &str) -> Enrollment {
    let device: DeviceId = device.parse().unwrap();
    world.authority.enroll(&device, Enroll::default()).unwrap()
}

async fn run(mut command: Command) -> Output {
    tokio::task::spawn_blocking(move || command.stdin(Stdio::null()).output().unwrap())
        .await
        .unwrap()
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

#[tokio::test]
async fn the_anchor_and_the_recommended_key_come_in_the_forms_of_the_rfc() {
    let Some(()) = judges() else { return };
    let bed = Bed::new().await;
    let label = format!("{}/", bed.world.authority.srv_id());
    for label in ["", label.as_str()] {
        let answer = bed
            .curl("first", &format!("/.well-known/est/{label}cacerts"), &[])
            .await;
        let pem = bed.certificate(&answer, "got.pem").await;
        let ours = std::fs::read_to_string(bed.path("ca.pem")).unwrap();
        assert_eq!(pem.trim(), ours.trim());
    }

    let answer = bed.curl("first", "/.well-known/est/csrattrs", &[]).await;
    assert_eq!(answer.status, "200");
    assert!(answer.head.contains("content-type: application/csrattrs"));
    std::fs::write(bed.path("attributes.b64"), answer.body).unwrap();
    let decode = [
        "base64",
        "-d",
        "-in",
        "attributes.b64",
        "-out",
        "attributes.der",
    ];
    bed.openssl(&decode).await;
    let parse = ["asn1parse", "-inform", "DER", "-in", "attributes.der"];
    let shown = bed.openssl(&parse).await;
    for name in ["id-ecPublicKey", "prime256v1", "ecdsa-with-SHA256"] {
        assert!(shown.contains(name), "{shown}");
    }
}

#[tokio::test]
async fn a_device_enrols_with_keys_of_each_kind_and_connects_with_them() {
    let Some(()) = judges() else { return };
    let bed = Bed::new().await;
    let kinds: [&[&str]; 3] = [
        &["EC", "-pkeyopt", "ec_paramgen_curve:P-256"],
        &["EC", "-pkeyopt", "ec_paramgen_curve:P-384"],
        &["RSA", "-pkeyopt", "rsa_keygen_bits:2048"],
    ];
    for (index, kind) in kinds.iter().enumerate() {
        let name = format!("new{index}");
        let key = format!("{name}.key");
        let subject = [format!("/CN={DEVICE}"), "/".to_owned()];
        bed.request(&key, kind, &subject[index % 2], &[]).await;
        let answer = bed.post("first", "simpleenroll").await;
        bed.certificate(&answer, &format!("{name}.pem")).await;

        let file = format!("{name}.pem");
        let verified = bed
            .openssl(&[
                "verify",
                "-x509_strict",
                "-purpose",
                "sslclient",
                "-CAfile",
                "ca.pem",
                &file,
            ])
            .await;
        assert!(verified.contains("OK"), "{verified}");
        let shown = bed
            .openssl(&["x509", "-in", &file, "-noout", "-text"])
            .await;
        assert!(shown.contains(&format!("URI:{URN}")), "{shown}");
        // It counts at once, and the one that it was asked with still does.
        for identity in [name.as_str(), "first"] {
            let answer = bed.curl(identity, "/data/nothing", &[]).await;
            assert_eq!(answer.status, "404", "{identity}: {}", answer.body);
        }
    }
}

#[tokio::test]
async fn a_certificate_is_renewed_by_itself_and_under_its_own_name() {
    let Some(()) = judges() else { return };
    let bed = Bed::with(ServerOptions {
        certificate_lifetime: Some(Duration::from_secs(3600)),
        ..ServerOptions::default()
    })
    .await;
    let kind = ["EC", "-pkeyopt", "ec_paramgen_curve:P-256"];
    let subject = format!("/CN={DEVICE}");
    let san = format!("subjectAltName=URI:{URN}");
    bed.request("second.key", &kind, &subject, &[&san]).await;
    let answer = bed.post("first", "simplereenroll").await;
    bed.certificate(&answer, "second.pem").await;
    let ends = ["x509", "-in", "second.pem", "-noout", "-checkend"];
    let hour = bed.openssl(&[&ends[..], &["3000"]].concat()).await;
    assert!(hour.contains("will not expire"), "{hour}");

    // With the same key, which a card cannot change either.
    bed.request("second.key", &kind, &subject, &[&san]).await;
    let answer = bed.post("second", "simplereenroll").await;
    bed.certificate(&answer, "third.pem").await;

    let refused: [(&str, &[&str]); 4] = [
        (subject.as_str(), &[]),
        ("/CN=IMEI:1", &[&san]),
        ("/", &[&san]),
        (
            subject.as_str(),
            &["subjectAltName=URI:urn:x-bailiwick:device:IMEI:1"],
        ),
    ];
    for (subject, names) in refused {
        bed.request("second.key", &kind, subject, names).await;
        let answer = bed.post("second", "simplereenroll").await;
        assert_eq!(answer.status, "400", "{subject} {names:?}");
        assert!(answer.body.contains("7030"), "{}", answer.body);
    }
}

#[tokio::test]
async fn what_is_not_the_devices_to_ask_is_refused() {
    let Some(()) = judges() else { return };
    let bed = Bed::new().await;
    let kind = ["EC", "-pkeyopt", "ec_paramgen_curve:P-256"];
    let ca = "basicConstraints=critical,CA:TRUE";
    let other = "subjectAltName=DNS:dm.example";
    let cases: [(&str, &[&str], &str, &[&str]); 6] = [
        ("n.key", &kind, "/CN=IMEI:1", &[]),
        ("n.key", &kind, "/O=x/CN=IMEI:493005100592800", &[]),
        ("n.key", &kind, "/", &[ca]),
        ("n.key", &kind, "/", &[other]),
        (
            "short.key",
            &["RSA", "-pkeyopt", "rsa_keygen_bits:1024"],
            "/",
            &[],
        ),
        (
            "k.key",
            &["EC", "-pkeyopt", "ec_paramgen_curve:secp256k1"],
            "/",
            &[],
        ),
    ];
    for (key, kind, subject, names) in cases {
        bed.request(key, kind, subject, names).await;
        let answer = bed.post("first", "simpleenroll").await;
        assert_eq!(
            answer.status, "400",
            "{key} {subject} {names:?}: {}",
            answer.body
        );
    }

    // A request that somebody else has signed, one that is none, and one without end.
    let good = bed.request("n.key", &kind, "/", &[]).await;
    let mut der = std::fs::read(bed.path("request.der")).unwrap();
    let last = der.len() - 1;
    der[last] ^= 1;
    std::fs::write(bed.path("bent.der"), der).unwrap();
    let bent = bed.openssl(&["base64", "-e", "-in", "bent.der"]).await;
    let long = "A".repeat(17 << 10);
    let rows = [
        (bent.as_str(), "400"),
        ("", "400"),
        ("not base64!", "400"),
        ("MAA=", "400"),
        (long.as_str(), "413"),
    ];
    for (body, status) in rows {
        std::fs::write(bed.path("request.b64"), body).unwrap();
        let answer = bed.post("first", "simpleenroll").await;
        assert_eq!(answer.status, status, "{:.20}: {}", body, answer.body);
    }

    std::fs::write(bed.path("request.b64"), good).unwrap();
    let wrong = bed
        .curl(
            "first",
            "/.well-known/est/simpleenroll",
            &["--data-binary", "@request.b64"],
        )
        .await;
    assert_eq!(wrong.status, "415");
    let rows = [
        ("/.well-known/est/other-label/cacerts", "404"),
        ("/.well-known/est/serverkeygen", "404"),
        ("/.well-known/est/simpleenroll", "405"),
    ];
    for (path, status) in rows {
        assert_eq!(bed.curl("first", path, &[]).await.status, status, "{path}");
    }
}

#[tokio::test]
async fn a_revoked_device_gets_the_anchor_and_nothing_else() {
    let Some(()) = judges() else { return };
    let bed = Bed::new().await;
    let kind = ["EC", "-pkeyopt", "ec_paramgen_curve:P-256"];
    bed.request("n.key", &kind, "/", &[]).await;
    bed.world
        .authority
        .revoke(&DEVICE.parse().unwrap())
        .unwrap();
    assert_eq!(bed.post("first", "simpleenroll").await.status, "403");
    assert_eq!(bed.post("first", "simplereenroll").await.status, "403");
    let answer = bed.curl("first", "/.well-known/est/cacerts", &[]).await;
    assert_eq!(answer.status, "200");
}

#[tokio::test]
async fn lost_answers_never_cost_a_device_the_certificate_that_it_asks_with() {
    let Some(()) = judges() else { return };
    let bed = Bed::new().await;
    let kind = ["EC", "-pkeyopt", "ec_paramgen_curve:P-256"];
    bed.request("n.key", &kind, "/", &[]).await;
    for _ in 0..6 {
        assert_eq!(bed.post("first", "simpleenroll").await.status, "200");
    }
    let device = bed
        .world
        .authority
        .device(&DEVICE.parse().unwrap())
        .unwrap();
    assert_eq!(device.certificates.len(), 4);
    assert_eq!(
        device.certificates.first(),
        Some(&bed.identity.fingerprint())
    );
    let listed = std::fs::read_dir(bed.world.authority.dir().join("certificates")).unwrap();
    assert_eq!(listed.count(), 4);
}
