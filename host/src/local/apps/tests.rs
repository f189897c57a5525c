//! The interface over a socket, with real certificates: who is let in, what they may then do, and when it ends.

use std::rc::Rc;

use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::signature::{ECDSA_P256_SHA256_ASN1_SIGNING, EcdsaKeyPair};
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::UnixStream;
use tokio::task::{LocalSet, spawn_local};

use super::super::idl::Idl;
use super::*;
use crate::certificates::testing::{Ca, Issued};
use crate::certificates::{Origin, Principal, Purpose, Role, State, statement};
use crate::objects::testing::{FIXED, MOID, Scene, north, tree};
use crate::permissions::{GrantTerms, Rights};

/// A device where north may let applications in by `ca`, and has made an instance.
struct Device {
    scene: Scene,
    apps: Apps,
    ca: Ca,
    instance: Instance,
    idl: Rc<Idl>,
}

impl Device {
    async fn new() -> Self {
        let scene = Scene::new(&[("*", FIXED, "read")]).await;
        scene.bench.bring(FIXED, "1", tree(&[("Name", "brought")]));
        let instance = scene
            .create(&north(), MOID, &tree(&[("ID", "made"), ("Setting", "x")]))
            .await;
        // Nothing is written there: no test makes an account.
        let accounts = Accounts::new(
            scene.store.clone(),
            scene.permissions.clone(),
            &std::env::temp_dir().join("bw-apps-no-state"),
        );
        let accounts = accounts.unwrap();
        let device = Self {
            apps: Apps::new(
                scene.objects.clone(),
                scene.permissions.clone(),
                accounts,
                scene.store.clone(),
                &scene.limits,
            ),
            scene,
            ca: Ca::new("CA"),
            instance,
            idl: Rc::new(Idl::parse(include_str!("../org.bailiwick.Apps.varlink"))),
        };
        device.put_anchor(State::Active).await;
        device
    }

    async fn put_anchor(&self, state: State) {
        let anchor = Credential {
            authority: north(),
            id: "1".into(),
            role: Role::Anchor,
            chain_der: vec![self.ca.der()],
            purposes: [Purpose::Applications].into(),
            origins: [Origin::Session].into(),
            state,
            added: 0,
        };
        let tx = self.scene.store.begin();
        anchor.put(&tx).unwrap();
        tx.commit().await.unwrap();
    }

    /// North grants, or takes away with `None`.
    async fn grant(&self, to: &Principal, rights: Option<&[Access]>) {
        let (tx, to) = (self.scene.store.begin(), to.of(&north()));
        let permissions = &self.scene.permissions;
        let permit = permissions
            .permit(&tx, &north(), Access::Delegate, &self.instance, now())
            .unwrap();
        match rights {
            Some(rights) => {
                let rights: Rights = rights.iter().copied().collect();
                let terms = GrantTerms {
                    rights,
                    not_after: None,
                    priority: 0,
                };
                permissions.grant(&tx, &permit, &to, terms, now()).unwrap();
            }
            None => permissions.revoke(&tx, &permit, &to, now()).unwrap(),
        }
        tx.commit().await.unwrap();
    }

    fn connect(&self) -> Client {
        let (own, served) = UnixStream::pair().unwrap();
        let apps = self.apps.clone();
        spawn_local(async move { apps.serve(served).await });
        Client {
            stream: own,
            idl: Rc::clone(&self.idl),
        }
    }

    /// A connection that `issued` has been let in on.
    async fn admitted(&self, issued: &Issued) -> Client {
        let mut client = self.connect();
        let nonce = client.present("north", issued).await.unwrap();
        client
            .prove(sign(
                issued,
                &statement("north", &nonce, std::process::id()),
            ))
            .await
            .unwrap();
        client
    }

    fn setting(&self) -> String {
        format!("{}Setting", self.instance)
    }
}

/// The other end of a connection; what comes back must be as the interface says.
struct Client {
    stream: UnixStream,
    idl: Rc<Idl>,
}

impl Client {
    /// The reply; or name, status and text of the error. `None`: the connection has ended.
    async fn try_call(&mut self, method: &str, parameters: Value) -> Option<Result<Value, String>> {
        let call =
            json!({ "method": format!("{APPS_INTERFACE}.{method}"), "parameters": parameters });
        // The other end may have hung up.
        let _gone = self.stream.write_all(format!("{call}\0").as_bytes()).await;
        let mut frame = Vec::new();
        loop {
            match self.stream.read_u8().await {
                Ok(0) => break,
                Ok(byte) => frame.push(byte),
                Err(_) => return None,
            }
        }
        let reply: varlink::Reply = varlink::from_frame(&frame).unwrap();
        let expected = match &reply.error {
            None => &self.idl.methods[method].1,
            Some(error) => match error.strip_prefix("org.bailiwick.Apps.") {
                Some(name) => &self.idl.errors[name],
                None => return Some(Err(format!("{error} {}", reply.parameters))),
            },
        };
        self.idl
            .check(&reply.parameters, expected)
            .unwrap_or_else(|e| panic!("{method}: {e}"));
        Some(match reply.error {
            None => Ok(reply.parameters),
            Some(error) => Err(format!("{error} {}", reply.parameters)),
        })
    }

    async fn call(&mut self, method: &str, parameters: Value) -> Result<Value, String> {
        self.try_call(method, parameters)
            .await
            .unwrap_or_else(|| Err("the connection has ended".into()))
    }

    async fn present(&mut self, authority: &str, issued: &Issued) -> Result<[u8; NONCE], String> {
        let chain: Vec<String> = issued
            .chain_der
            .iter()
            .map(|der| STANDARD.encode(der))
            .collect();
        let reply = self
            .call("Present", json!({ "authority": authority, "chain": chain }))
            .await?;
        let nonce = STANDARD.decode(reply["nonce"].as_str().unwrap()).unwrap();
        Ok(nonce.try_into().unwrap())
    }

    async fn prove(&mut self, signature: Vec<u8>) -> Result<Value, String> {
        self.call("Prove", json!({ "signature": STANDARD.encode(signature) }))
            .await
    }

    async fn get(&mut self, uri: &str) -> Result<Value, String> {
        self.call("Get", json!({ "clientUri": uri })).await
    }
}

fn sign(issued: &Issued, message: &[u8]) -> Vec<u8> {
    let key = EcdsaKeyPair::from_pkcs8(&ECDSA_P256_SHA256_ASN1_SIGNING, &issued.key_der).unwrap();
    key.sign(&SystemRandom::new(), message)
        .unwrap()
        .as_ref()
        .to_vec()
}

fn meter() -> Principal {
    Principal::subject("CN=meter").unwrap()
}

fn with_device<F: Future<Output = ()>>(test: impl FnOnce(Device) -> F) {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .unwrap();
    LocalSet::new().block_on(&runtime, async { test(Device::new().await).await });
}

#[test]
fn an_application_receives_exactly_what_was_granted() {
    with_device(|device| async move {
        let mut app = device.admitted(&device.ca.client("meter")).await;
        let other = device.ca.client("other");
        let setting = device.setting();
        // Nothing yet: the type is not even permitted.
        assert!(
            app.get(&setting)
                .await
                .unwrap_err()
                .contains("\"status\":403")
        );
        assert_eq!(
            app.call("Rights", json!({})).await.unwrap(),
            json!({ "rights": [] })
        );

        device.grant(&meter(), Some(&[Access::Read])).await;
        let items = app.get(&setting).await.unwrap();
        assert_eq!(items["items"][0]["MOData"]["Setting"], "x");
        let put = json!({ "clientUri": setting, "data": { "Setting": "y" } });
        let error = app.call("Put", put.clone()).await.unwrap_err();
        assert!(
            error.contains("\"status\":403") && error.contains("has read on"),
            "{error}"
        );
        let rights = app.call("Rights", json!({})).await.unwrap();
        let expected = json!({ "rights": [
            { "on": device.instance.to_string(), "to": "local:north/subject=CN=meter", "rights": ["read"] }
        ] });
        assert_eq!(rights, expected);
        // No instance may be made of a type of which one was granted.
        let make = json!({ "clientUri": format!("{MOID}//"), "data": { "MOID": { "ID": "2" } } });
        let error = app.call("Put", make).await.unwrap_err();
        assert!(error.contains("Refused"), "{error}");
        // What the device policy gives to every account is not for applications.
        assert!(
            app.get(&format!("{FIXED}/1/"))
                .await
                .unwrap_err()
                .contains("\"status\":403")
        );

        let mut stranger = device.admitted(&other).await;
        assert!(
            stranger
                .get(&setting)
                .await
                .unwrap_err()
                .contains("\"status\":403")
        );

        device
            .grant(&meter(), Some(&[Access::Read, Access::Write]))
            .await;
        app.call("Put", put).await.unwrap();
        assert_eq!(
            app.get(&setting).await.unwrap()["items"][0]["MOData"]["Setting"],
            "y"
        );

        device.grant(&meter(), None).await;
        assert!(
            app.get(&setting)
                .await
                .unwrap_err()
                .contains("\"status\":403")
        );
    });
}

#[test]
fn a_grant_that_has_ended_gives_nothing() {
    with_device(|device| async move {
        let (tx, to, before) = (
            device.scene.store.begin(),
            meter().of(&north()),
            now() - 100,
        );
        let permissions = &device.scene.permissions;
        let permit = permissions.permit(&tx, &north(), Access::Delegate, &device.instance, before);
        let terms = GrantTerms {
            rights: Access::Read.into(),
            not_after: Some(before + 10),
            priority: 0,
        };
        permissions
            .grant(&tx, &permit.unwrap(), &to, terms, before)
            .unwrap();
        tx.commit().await.unwrap();
        let mut app = device.admitted(&device.ca.client("meter")).await;
        let error = app.get(&device.setting()).await.unwrap_err();
        assert!(error.contains("\"status\":404"), "{error}");
        let rights = app.call("Rights", json!({})).await.unwrap();
        assert_eq!(rights, json!({ "rights": [] }));
    });
}

#[test]
fn an_instance_that_was_not_granted_looks_like_none() {
    with_device(|device| async move {
        device.grant(&meter(), Some(&[Access::Read])).await;
        let scene = &device.scene;
        let hidden = scene
            .create(&north(), MOID, &tree(&[("ID", "hidden"), ("Setting", "x")]))
            .await;
        let mut app = device.admitted(&device.ca.client("meter")).await;
        let of_hidden = app.get(&hidden.to_string()).await.unwrap_err();
        let of_none = app.get(&format!("{MOID}/nowhere/")).await.unwrap_err();
        assert_eq!(of_hidden, of_none);
        assert!(of_none.contains("\"status\":404"), "{of_none}");
        // A set has what was granted, and nothing else.
        let all = app.get(&format!("{MOID}/*/")).await.unwrap();
        assert_eq!(all["items"].as_array().unwrap().len(), 1);
    });
}

#[test]
fn who_does_not_hold_the_key_is_not_let_in() {
    with_device(|device| async move {
        let (own, other) = (device.ca.client("meter"), device.ca.client("other"));
        let process = std::process::id();
        let mut client = device.connect();
        assert!(
            client
                .get(&device.setting())
                .await
                .unwrap_err()
                .contains("NotAdmitted")
        );
        assert!(
            client
                .prove(Vec::new())
                .await
                .unwrap_err()
                .contains("call Present first")
        );

        let mut elsewhere = device.connect();
        let foreign = elsewhere.present("north", &own).await.unwrap();
        type Forger<'a> = &'a dyn Fn(&[u8; NONCE]) -> Vec<u8>;
        let rows: [Forger<'_>; 5] = [
            &|nonce| sign(&other, &statement("north", nonce, process)),
            &|_| sign(&own, &statement("north", &foreign, process)),
            &|nonce| sign(&own, &statement("north", nonce, process + 1)),
            &|nonce| sign(&own, &statement("south", nonce, process)),
            &|_| Vec::new(),
        ];
        for forged in rows {
            let nonce = client.present("north", &own).await.unwrap();
            let error = client.prove(forged(&nonce)).await.unwrap_err();
            assert!(error.contains("NotAdmitted"), "{error}");
            // A nonce serves once, even for the right signature.
            let right = sign(&own, &statement("north", &nonce, process));
            assert!(
                client
                    .prove(right)
                    .await
                    .unwrap_err()
                    .contains("call Present first")
            );
            assert!(
                client
                    .get(&device.setting())
                    .await
                    .unwrap_err()
                    .contains("NotAdmitted")
            );
        }
        // What was refused here does not hinder the one who was asked.
        elsewhere
            .prove(sign(&own, &statement("north", &foreign, process)))
            .await
            .unwrap();
        for _ in 0..ATTEMPTS {
            let _shown = client.present("north", &own).await;
        }
        let error = client.present("north", &own).await.unwrap_err();
        assert!(error.contains("too many certificates"), "{error}");
    });
}

#[test]
fn one_authority_does_not_let_in_for_another() {
    with_device(|device| async move {
        let mut client = device.connect();
        let error = client
            .present("south", &device.ca.client("meter"))
            .await
            .unwrap_err();
        assert!(error.contains("no anchor of south"), "{error}");
        let error = client
            .present("north", &Ca::new("CA").client("meter"))
            .await
            .unwrap_err();
        assert!(error.contains("does not count for north"), "{error}");
    });
}

#[test]
fn an_anchor_that_rests_ends_what_it_let_in() {
    with_device(|device| async move {
        device.grant(&meter(), Some(&[Access::Read])).await;
        let mut app = device.admitted(&device.ca.client("meter")).await;
        app.get(&device.setting()).await.unwrap();
        device.put_anchor(State::Suspended).await;
        assert!(
            app.get(&device.setting())
                .await
                .unwrap_err()
                .contains("no anchor of north")
        );
        // It does not come back by itself.
        device.put_anchor(State::Active).await;
        assert!(
            app.get(&device.setting())
                .await
                .unwrap_err()
                .contains("call Present and Prove")
        );
    });
}

#[test]
fn a_connection_without_a_proof_is_closed() {
    with_device(|mut device| async move {
        Rc::get_mut(&mut device.apps.inner).unwrap().patience = Duration::from_millis(20);
        let mut silent = device.connect();
        assert!(silent.stream.read_u8().await.is_err());
    });
}

#[test]
fn a_connection_ends_with_its_certificate() {
    with_device(|device| async move {
        device.grant(&meter(), Some(&[Access::Read])).await;
        // On a slow machine a certificate may end before it has been used: longer ones follow.
        for seconds in [2, 4, 8, 16, 32] {
            let end = now() + seconds;
            let issued = device.ca.issue("meter", |params| {
                params.extended_key_usages = vec![rcgen::ExtendedKeyUsagePurpose::ClientAuth];
                params.not_after = rcgen::date_time_ymd(1970, 1, 1) + Duration::from_secs(end);
            });
            let mut app = device.connect();
            let Ok(nonce) = app.present("north", &issued).await else {
                continue;
            };
            let signature = sign(&issued, &statement("north", &nonce, std::process::id()));
            let admitted = app.prove(signature).await;
            if admitted.is_err() || app.get(&device.setting()).await.is_err() {
                continue;
            }
            assert_eq!(admitted.unwrap()["notAfter"], end);
            assert!(app.stream.read_u8().await.is_err());
            assert!(now() > end);
            return;
        }
        panic!("no certificate was good long enough");
    });
}

#[test]
fn connections_are_bounded_by_user_and_free_again() {
    with_device(|device| async move {
        device.grant(&meter(), Some(&[Access::Read])).await;
        let issued = device.ca.client("meter");
        let mut open = Vec::new();
        for _ in 0..CONNECTIONS_OF_ONE {
            open.push(device.admitted(&issued).await);
        }
        for app in &mut open {
            app.get(&device.setting()).await.unwrap();
        }
        let mut one_more = device.connect();
        let refused = one_more.call("Rights", json!({})).await.unwrap_err();
        assert!(refused.contains("Busy"), "{refused}");
        open.truncate(1);
        for _ in 0..8 {
            tokio::task::yield_now().await;
        }
        device
            .admitted(&issued)
            .await
            .get(&device.setting())
            .await
            .unwrap();
    });
}

#[test]
fn what_is_too_large_ends_the_connection() {
    with_device(|device| async move {
        let mut client = device.connect();
        let chain = vec!["A".repeat(1 << 10); 200];
        let ended = client
            .try_call("Present", json!({ "authority": "north", "chain": chain }))
            .await;
        assert_eq!(ended, None);
        let mut client = device.connect();
        for chain in [
            json!([]),
            json!(["AA=="]),
            json!(["not base64!"]),
            json!(vec!["AAAA"; 7]),
            json!([1]),
        ] {
            client
                .call("Present", json!({ "authority": "north", "chain": chain }))
                .await
                .unwrap_err();
        }
        client
            .present("north", &device.ca.client("meter"))
            .await
            .unwrap();
    });
}
