//! A device with a PKCS#15 card, a PIV card and a token, each with an RSA key and one on P-256, and what happens when it
//! connects with them.

use std::cell::RefCell;
use std::fs;
use std::path::PathBuf;
use std::time::Duration;

use bailiwick::authority::Authority;
use bailiwick::certificates::{self, CertificateError, Identity, Trust};
use bailiwick::config::Config;
use bailiwick::keys::{Contents, KeyKind, Keys, Place, ReaderState};
use bailiwick_authority::pki::{Ca, Validity};
use bailiwick_tests::card::{Card, CardBed, Content, Key, Public, Root};
use bailiwick_tests::hsm::{self, Hsm};
use bailiwick_tests::piv::{self, PivCard};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use super::openssl::Server;

/// Connecting, and what pcscd needs to see a card.
const PATIENCE: Duration = Duration::from_secs(30);

/// The device: what is in its readers, its token, and who issued their certificates.
pub(crate) struct Device {
    bed: RefCell<CardBed>,
    hsm: Hsm,
    root: Root,
    ca: Ca,
}

/// A key that the device can show, in words.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Where {
    Pkcs15,
    Piv,
    Token,
}

const PLACES: [Where; 3] = [Where::Pkcs15, Where::Piv, Where::Token];
const KINDS: [KeyKind; 2] = [KeyKind::Rsa, KeyKind::EcP256];

impl Device {
    /// Where something is missing, that is said for `test`.
    pub(crate) fn new(test: &str) -> Option<Self> {
        if let Some(why) = Hsm::missing() {
            bailiwick_tests::cannot_run(test, why);
            return None;
        }
        if !PivCard::is_possible(test) {
            return None;
        }
        let mut bed = CardBed::start(test)?;
        let root = Root::new("North");
        let card = PivCard::new(&bed, "piv");
        bed.insert(1, &card.card());
        card.issue(&bed, 1, &root, "9a", "ECCP256");
        card.issue(&bed, 1, &root, "9c", "RSA2048");
        let hsm = Hsm::new(&format!("tls-{}", test.len()));
        for (id, kind) in [("01", "rsa:2048"), ("02", "EC:prime256v1")] {
            let public = Public::new(&hsm.generate(kind, id, &[]));
            hsm.write(
                "cert",
                &root.issue("token", &public),
                &["--id", id, "--label", kind],
            );
        }
        let ca = Ca::new("servers of the north", Validity::days(2)).unwrap();
        Some(Self {
            bed: RefCell::new(bed),
            hsm,
            root,
            ca,
        })
    }

    fn directory(&self) -> PathBuf {
        self.bed.borrow().directory().to_owned()
    }

    /// Puts the PKCS#15 card with such a key into the first reader.
    fn insert(&self, kind: KeyKind, root: &Root) {
        let key = if kind == KeyKind::Rsa {
            Key::Rsa
        } else {
            Key::Ec
        };
        let content = Content::new(root, key);
        let serial = if kind == KeyKind::Rsa { "0A01" } else { "0A02" };
        let card = Card::pkcs15(&content).option("serial", serial);
        self.bed.borrow_mut().insert(0, &card);
    }

    fn config(&self) -> Config {
        assert_eq!(piv::PIN, hsm::PIN, "one file holds both");
        let directory = self.directory();
        let _there = fs::create_dir(directory.join("state"));
        fs::write(directory.join("pin"), piv::PIN).unwrap();
        fs::write(directory.join("pin-of-pkcs15"), "1234\n").unwrap();
        let (module, tokens) = (self.hsm.module(), self.hsm.directory());
        let socket = self.bed.borrow().socket();
        let mut text = format!(
            "state = 'state'\nadmin-socket = 'admin'\nisolation = 'best-effort'\n\
             [keys]\ncards = true\npcsc-socket = {socket:?}\n\
             [[keys.module]]\npath = {module:?}\ntoken = {:?}\nwrite = [{tokens:?}]\n\
             environment = {{ SOFTHSM2_CONF = {:?} }}\n\
             [[card]]\nauthority = 'north'\nissuer = 'issuer.der'\npin-file = 'pin'\n",
            hsm::LABEL,
            self.hsm.environment()["SOFTHSM2_CONF"],
        );
        for serial in ["0A01", "0A02"] {
            text += &format!(
                "[[card]]\nauthority = 'north'\nserial = '{serial}'\npin-file = 'pin-of-pkcs15'\n"
            );
        }
        let file = directory.join("bailiwick.toml");
        fs::write(&file, text).unwrap();
        Config::read(&file).unwrap()
    }

    fn place(&self, place: Where) -> Place {
        match place {
            Where::Pkcs15 => Place::Reader(self.bed.borrow().reader(0)),
            Where::Piv => Place::Reader(self.bed.borrow().reader(1)),
            Where::Token => Place::Module {
                path: self.hsm.module().to_str().unwrap().to_owned(),
                token: hsm::LABEL.to_owned(),
            },
        }
    }

    /// Runs something with the keys process.
    fn run<T>(&self, work: impl AsyncFnOnce(&Keys) -> T) -> T {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .unwrap();
        let config = self.config();
        tokio::task::LocalSet::new().block_on(&runtime, async { work(&Keys::new(&config)).await })
    }

    async fn read(&self, keys: &Keys, place: Where) -> Contents {
        let place = self.place(place);
        let mut readers = keys.readers();
        let is_in = readers.wait_for(|all| {
            let here = all.iter().find(|reader| reader.place == place);
            here.is_some_and(|reader| matches!(reader.state, ReaderState::Card(_)))
        });
        tokio::time::timeout(PATIENCE, is_in)
            .await
            .unwrap()
            .unwrap();
        keys.read(&place).await.unwrap()
    }

    /// What the device shows: the key of such a kind that is there, with its certificate.
    async fn identity(&self, keys: &Keys, place: Where, kind: KeyKind) -> Identity {
        let contents = self.read(keys, place).await;
        let key = contents.keys.iter().find(|key| key.kind == kind);
        let key = key.unwrap_or_else(|| panic!("no {kind:?} key in {contents:?}"));
        let certificate = contents
            .certificates
            .iter()
            .find(|found| found.id == key.id)
            .unwrap();
        let public = keys.public_key(&key.key).await.unwrap();
        Identity::new(
            std::slice::from_ref(&certificate.der),
            key.key.clone(),
            &public,
            keys.signer(),
        )
        .unwrap()
    }

    fn server(&self, more: &[&str]) -> Server {
        Server::start(&self.directory(), &self.ca, self.root.certificate(), more)
    }

    /// Connects and asks for the server's page about the connection.
    async fn connect(&self, server: &Server, identity: Identity) -> Result<Page, CertificateError> {
        let north = Authority::server("north");
        let anchor = self.ca.certificate_der().to_vec();
        let trust = Trust::new(north, &[anchor], Some(identity)).unwrap();
        let stream = TcpStream::connect(server.address()).await.unwrap();
        let mut channel = certificates::connect(stream, "localhost", &trust, PATIENCE).await?;
        let description = channel.description();
        let mut page = String::new();
        let read = async {
            channel.write_all(b"GET / HTTP/1.0\r\n\r\n").await?;
            channel.flush().await?;
            let mut bytes = Vec::new();
            channel.read_to_end(&mut bytes).await?;
            page = String::from_utf8_lossy(&bytes).into_owned();
            Ok::<_, std::io::Error>(())
        };
        // In TLS 1.3 the server refuses after the handshake.
        let refused = read.await.err().map(|error| error.to_string());
        Ok(Page {
            description,
            page,
            refused,
        })
    }
}

/// What the server showed.
#[derive(Debug)]
struct Page {
    description: String,
    page: String,
    refused: Option<String>,
}

impl Page {
    fn assert_mutual(&self, version: &str) {
        assert!(self.description.starts_with(version), "{self:?}");
        assert!(self.page.starts_with("HTTP/1.0 200"), "{self:?}");
        assert!(self.page.contains("Client certificate"), "{self:?}");
    }
}

const VERSIONS: [(&str, &str); 2] = [("-tls1_2", "TLS 1.2"), ("-tls1_3", "TLS 1.3")];

pub(crate) fn every_key(device: &Device) {
    for kind in KINDS {
        device.insert(kind, &device.root);
        device.run(async |keys| {
            for place in PLACES {
                for (argument, version) in VERSIONS {
                    let server = device.server(&[argument]);
                    let identity = device.identity(keys, place, kind).await;
                    let page = device.connect(&server, identity).await;
                    let page = page
                        .unwrap_or_else(|error| panic!("{place:?} {kind:?} {version}: {error}"));
                    page.assert_mutual(version);
                }
            }
        });
        device.bed.borrow_mut().pull(0);
    }
}

pub(crate) fn without_pss(device: &Device) {
    device.insert(KeyKind::Rsa, &device.root);
    device.run(async |keys| {
        for place in PLACES {
            let server = device.server(&["-tls1_2", "-client_sigalgs", "RSA+SHA256"]);
            let identity = device.identity(keys, place, KeyKind::Rsa).await;
            device
                .connect(&server, identity)
                .await
                .unwrap()
                .assert_mutual("TLS 1.2");
        }
    });
}

pub(crate) fn only_rsa(device: &Device) {
    device.insert(KeyKind::EcP256, &device.root);
    device.run(async |keys| {
        for place in PLACES {
            let server = device.server(&["-client_sigalgs", "RSA-PSS+SHA256:RSA+SHA256"]);
            let identity = device.identity(keys, place, KeyKind::EcP256).await;
            let before = device.bed.borrow().commands(0);
            let outcome = device.connect(&server, identity).await;
            // No card was asked for a signature that nobody would have taken.
            assert_eq!(device.bed.borrow().commands(0), before);
            let told = match outcome {
                Err(error) => error.to_string(),
                Ok(page) => page
                    .refused
                    .unwrap_or_else(|| panic!("{place:?} was believed")),
            };
            assert!(told.contains("refused the device's certificate"), "{told}");
        }
    });
}

pub(crate) fn other_ca(device: &Device) {
    device.insert(KeyKind::EcP256, &Root::new("another"));
    device.run(async |keys| {
        for (argument, version) in VERSIONS {
            let server = device.server(&[argument]);
            let identity = device.identity(keys, Where::Pkcs15, KeyKind::EcP256).await;
            let told = match device.connect(&server, identity).await {
                Err(error) => error.to_string(),
                Ok(page) => page
                    .refused
                    .unwrap_or_else(|| panic!("{version} believed it")),
            };
            assert!(
                told.contains("refused the device's certificate"),
                "{version}: {told}"
            );
            let said = server.end();
            assert!(
                said.contains("unable to get local issuer certificate")
                    || said.contains("verify error"),
                "{said}"
            );
        }
    });
}

pub(crate) fn pulled(device: &Device) {
    device.insert(KeyKind::EcP256, &device.root);
    device.run(async |keys| {
        let identity = device.identity(keys, Where::Pkcs15, KeyKind::EcP256).await;
        device.bed.borrow_mut().pull(0);
        let server = device.server(&[]);
        let error = device.connect(&server, identity).await.unwrap_err();
        let told = error.to_string();
        assert!(told.contains("insert"), "it says what to do: {told}");
        // What is elsewhere is not concerned.
        let identity = device.identity(keys, Where::Token, KeyKind::EcP256).await;
        device
            .connect(&server, identity)
            .await
            .unwrap()
            .assert_mutual("TLS 1.3");
    });
}
