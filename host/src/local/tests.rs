//! The interface as its description says, over objects of a test and a daemon that notes what it is told.

use std::cell::RefCell;
use std::path::PathBuf;
use std::rc::Rc;

use serde_json::{Value, json};
use tokio::task::LocalSet;

use super::idl::Idl;
use super::*;
use crate::accounts::{Accounts, Bootstrapped};
use crate::authority::Authority;
use crate::certificates::testing::Ca;
use crate::config::{Config, Isolation};
use crate::isolation::{Enforcement, Protection};
use crate::keys::{Keys, KeysStatus};
use crate::objects::testing::{FIXED, MOID, Scene, north, tree};
use crate::plugins::{Manifests, PluginError, Plugins, Services};
use crate::provisioning::{Cards, Policy, Provisioning};

/// What the daemon was told.
type Told = Rc<RefCell<Vec<String>>>;

struct FakeDaemon(Told);

impl Daemon for FakeDaemon {
    fn status(&self) -> Result<Status, String> {
        let protection = Protection {
            landlock: Enforcement::Full,
            seccomp: Enforcement::Partial,
        };
        Ok(Status {
            version: "0",
            uptime_seconds: 1,
            isolation: Protected {
                policy: Isolation::BestEffort,
                protection,
            },
            workers: vec![Worker {
                authority: "north".into(),
                process: 7,
            }],
            keys: KeysStatus {
                process: Some(8),
                waiting: 2,
                restarts: 1,
                protection: Some(protection),
                watches_cards: true,
            },
            accounts: self.accounts()?,
            plugins: Vec::new(),
            limits: [("call-ms", 5)].into(),
            warnings: vec!["look out".into()],
        })
    }

    fn accounts(&self) -> Result<Vec<AccountStatus>, String> {
        let last = LastSession {
            seconds_ago: 1,
            succeeded: false,
            outcome: "no".into(),
        };
        let rested = SessionStatus::default();
        let busy = SessionStatus {
            running: true,
            retry_in_seconds: Some(3),
            last: Some(last),
        };
        let account = |sessions| AccountStatus {
            authority: "north".into(),
            name: "North".into(),
            server: "https://north/".into(),
            instance: "1".into(),
            identity: true,
            origin: "card 1".into(),
            suspended: Some("its card is away".into()),
            permitted: vec![MOID.into()],
            sessions,
        };
        Ok(vec![account(rested), account(busy)])
    }

    async fn bootstrapped(&self, accounts: &[Bootstrapped]) {
        let names = accounts
            .iter()
            .map(|done| done.account.authority.to_string());
        self.0.borrow_mut().extend(names);
    }

    async fn renew(&self, authority: &Authority, _: Option<&str>) -> Result<String, String> {
        match authority.as_str() {
            "north" => Ok("0123456789abcdef".into()),
            _ => Err("there is no such account; make one".into()),
        }
    }

    async fn session(&self, authority: &Authority) -> Held {
        match authority.as_str() {
            "north" => Ok((true, json!({ "packages": [] }), "a story".into())),
            _ => Err("there is no such account; make one".into()),
        }
    }
}

struct NoServices;

impl Services for NoServices {
    fn accounts(&self, _: &Authority) -> Result<Vec<crate::plugins::AccountView>, PluginError> {
        Ok(Vec::new())
    }

    fn raise_alert(
        &self,
        _: &crate::store::Transaction,
        _: &Authority,
        _: crate::plugins::AlertRequest,
    ) -> Result<(), PluginError> {
        Ok(())
    }
}

/// The interface in a scene with one instance that the device owns and one of north's.
struct Bench {
    admin: Admin<FakeDaemon>,
    told: Told,
    state: PathBuf,
    idl: Idl,
}

impl Drop for Bench {
    fn drop(&mut self) {
        let _gone = std::fs::remove_dir_all(&self.state);
    }
}

impl Bench {
    async fn new(name: &str) -> Self {
        let state = std::env::temp_dir().join(format!("bw-{name}-{}", std::process::id()));
        let _old = std::fs::remove_dir_all(&state);
        std::fs::create_dir(&state).unwrap();
        let scene = Scene::new(&[("*", FIXED, "read")]).await;
        scene.bench.bring(FIXED, "1", tree(&[("Name", "brought")]));
        scene
            .create(&north(), MOID, &tree(&[("ID", "made"), ("Setting", "x")]))
            .await;

        let config = format!("state = {state:?}\nadmin-socket = '/nowhere'");
        let config: Config = toml::from_str(&config).unwrap();
        let manifests = Manifests::read(&config).unwrap();
        let plugins = Plugins::start(&config, manifests, Rc::new(NoServices)).unwrap();
        let (store, permissions) = (scene.store.clone(), scene.permissions.clone());
        let told = Told::default();
        let admin = Admin {
            daemon: FakeDaemon(told.clone()),
            accounts: Accounts::new(store.clone(), permissions.clone(), &state).unwrap(),
            objects: scene.objects.clone(),
            permissions,
            plugins,
            cards: cards(&config, &scene, &state),
            store,
        };
        let idl = Idl::parse(include_str!("org.bailiwick.Admin.varlink"));
        Self {
            admin,
            told,
            state,
            idl,
        }
    }

    /// Calls a method; what comes back must be as the interface says.
    async fn call(&self, method: &str, parameters: Value) -> Result<Value, Fault> {
        let call = Call {
            method: format!("{INTERFACE}.{method}"),
            parameters: parameters.as_object().cloned().unwrap_or_default(),
            ..Call::default()
        };
        let outcome = self.admin.answer(call).await;
        let checked = match &outcome {
            Ok(reply) => self.idl.check(reply, &self.idl.methods[method].1),
            Err(fault) => match fault.error.strip_prefix("org.bailiwick.Admin.") {
                Some(error) => self.idl.check(&fault.parameters, &self.idl.errors[error]),
                None => Ok(()),
            },
        };
        checked.unwrap_or_else(|e| panic!("{method}: {e}"));
        outcome
    }

    /// As [`Self::call`], for what must fail: the name of the error, and its text.
    async fn fault(&self, method: &str, parameters: Value) -> (String, String) {
        let fault = self.call(method, parameters).await.unwrap_err();
        let name = fault
            .error
            .rsplit('.')
            .next()
            .unwrap_or_default()
            .to_owned();
        let text = fault
            .parameters
            .as_object()
            .unwrap()
            .values()
            .map(|value| match value {
                Value::String(text) => text.clone(),
                other => other.to_string(),
            });
        (name, text.collect::<Vec<_>>().join(" "))
    }
}

/// Readers that are not watched.
fn cards(config: &Config, scene: &Scene, state: &std::path::Path) -> Cards {
    let (store, permissions) = (scene.store.clone(), scene.permissions.clone());
    let accounts = Accounts::new(store.clone(), permissions.clone(), state).unwrap();
    let clock = accounts.clock().clone();
    let objects = scene.objects.clone();
    let policy = Policy::default();
    let provisioning = Provisioning::new(store, accounts, permissions, objects, policy);
    let (tell, _) = tokio::sync::mpsc::channel(1);
    Cards::new(provisioning, Keys::new(config), &config.limits, clock, tell)
}

/// Runs a test where local tasks may be started.
fn with_bench<F: Future<Output = ()>>(name: &str, test: impl FnOnce(Bench) -> F) {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .unwrap();
    LocalSet::new().block_on(&runtime, async { test(Bench::new(name).await).await });
}

#[test]
fn every_method_of_the_interface_answers_as_it_says() {
    with_bench("methods", |bench| async move {
        let parameters = |method: &str| match method {
            "ReleasePlugin" => json!({ "name": "none" }),
            "Get" => json!({ "clientUri": format!("{MOID}//") }),
            "Explain" => {
                json!({ "authority": "north", "access": "read", "clientUri": format!("{MOID}//") })
            }
            "Bootstrap" => json!({ "document": "[]" }),
            "Session" => json!({ "authority": "north" }),
            "ImportCertificates" => json!({
                "authority": "north", "purposes": [], "certificates": ["MAA="], "key": null, "file": "/x",
            }),
            "RenewCertificate" => json!({ "authority": "north", "id": null }),
            "UnlockCard" => json!({ "serial": "1", "pin": "1234" }),
            "ForgetCard" => json!({ "serial": "1" }),
            "RemoveCertificate" => json!({ "authority": "north", "id": "1" }),
            _ => json!({}),
        };
        for method in bench.idl.methods.keys() {
            let parameters = parameters(method);
            let (expected, _) = &bench.idl.methods[method];
            bench.idl.check(&parameters, expected).unwrap();
            match bench.call(method, parameters).await {
                Ok(_) => {}
                Err(fault) => assert_eq!(fault.error, "org.bailiwick.Admin.Failed", "{method}"),
            }
            let (name, text) = bench.fault(method, json!({ "surprise": 1 })).await;
            assert_eq!(
                (name.as_str(), text.as_str()),
                ("InvalidParameter", "surprise"),
                "{method}"
            );
        }
    });
}

#[test]
fn the_operator_reads_what_the_operator_wants_through_the_same_door() {
    with_bench("get", |bench| async move {
        let read = |uri: String| json!({ "clientUri": uri });
        let reply = bench
            .call("Get", read(format!("{MOID}//ID")))
            .await
            .unwrap();
        assert_eq!(
            reply,
            json!({ "items": [{ "ClientURI": format!("{MOID}/1/ID"), "MOData": { "ID": "made" } }] })
        );
        let reply = bench
            .call("Get", read(format!("{FIXED}/*/")))
            .await
            .unwrap();
        assert_eq!(reply["items"][0]["ClientURI"], json!(format!("{FIXED}/1/")));

        for (uri, status) in [
            (format!("{MOID}/7/ID"), 404),
            ("urn:unknown:1.0//".to_owned(), 404),
            (format!("{MOID}/1/Nonsense"), 404),
            ("?".to_owned(), 400),
        ] {
            let (name, text) = bench.fault("Get", read(uri.clone())).await;
            assert_eq!(name, "Refused", "{uri}");
            assert!(text.starts_with(&status.to_string()), "{uri}: {text}");
        }
    });
}

#[test]
fn explanations_name_the_rule() {
    with_bench("explain", |bench| async move {
        let explain = |who: &str, access: &str, uri: &str| json!({ "authority": who, "access": access, "clientUri": uri });
        for (who, access, uri, allowed, status) in [
            ("north", "write", format!("{MOID}/1/"), true, 200),
            ("south", "write", format!("{MOID}/1/"), false, 404),
            ("south", "read", format!("{FIXED}//Name"), true, 200),
            ("south", "write", format!("{FIXED}//"), false, 403),
            ("stranger", "read", format!("{FIXED}/*/"), false, 403),
            ("local:operator", "delegate", format!("{MOID}//"), true, 200),
            ("north", "create", MOID.to_owned(), true, 200),
            ("north", "create", "urn:other:1.0".to_owned(), false, 403),
        ] {
            let reply = bench
                .call("Explain", explain(who, access, &uri))
                .await
                .unwrap();
            let explanation = &reply["explanations"][0];
            let found = (
                explanation["allowed"].as_bool(),
                explanation["status"].as_u64(),
            );
            assert_eq!(
                found,
                (Some(allowed), Some(status)),
                "{who} {access} {uri}: {explanation}"
            );
        }
        let (name, text) = bench
            .fault("Explain", explain("north", "dance", MOID))
            .await;
        assert_eq!(
            (name.as_str(), text.as_str()),
            ("InvalidParameter", "access")
        );
    });
}

#[test]
fn a_bootstrap_brings_accounts_and_objects_and_wakes_the_daemon() {
    with_bench("boot", |bench| async move {
        let ca = Ca::new("CA");
        let account = bailiwick_protocol::Account {
            srv_id: "new.example".into(),
            srv_uri: "https://new.example/".into(),
            name: "New".into(),
            permitted_moids: vec![MOID.into(), "urn:x:unknown:1.0".into()],
            auth: bailiwick_protocol::AccountAuth {
                anchors_der: vec![ca.der()],
                ..Default::default()
            },
            ..Default::default()
        };
        let nodes = tree(&[("ID", "theirs"), ("Setting", "x")]);
        let item =
            |uri: &str| bailiwick_protocol::MoItem::from_nodes(uri.into(), "Root", &nodes, None);
        let document = |objects| {
            let accounts = vec![account.clone()];
            let document = bailiwick_protocol::BootstrapDocument { accounts, objects };
            String::from_utf8(document.to_bytes()).unwrap()
        };
        // Its account does not permit this type, so nothing is taken.
        let bad = document(vec![item(&format!("{FIXED}//"))]);
        let (name, text) = bench.fault("Bootstrap", json!({ "document": bad })).await;
        assert_eq!(name, "Failed");
        assert!(text.contains(FIXED), "{text}");
        assert_eq!(bench.admin.accounts.list().unwrap(), []);

        let good = document(vec![
            item(&format!("{MOID}//")),
            item("urn:x:unknown:1.0//"),
        ]);
        let parameters = json!({ "document": good });
        let reply = bench.call("Bootstrap", parameters.clone()).await.unwrap();
        let done = json!({ "accounts": [{ "authority": "new.example", "change": "added" }] });
        assert_eq!(reply, done);
        assert_eq!(*bench.told.borrow(), ["new.example"]);
        let theirs = json!({ "authority": "new.example", "access": "write", "clientUri": format!("{MOID}/2/") });
        let reply = bench.call("Explain", theirs).await.unwrap();
        assert_eq!(
            reply["explanations"][0]["allowed"],
            json!(true),
            "its first account owns it"
        );

        let reply = bench.call("Bootstrap", parameters).await.unwrap();
        assert_eq!(reply["accounts"][0]["change"], json!("unchanged"));
        let reply = bench
            .call("Get", json!({ "clientUri": format!("{MOID}/*/ID") }))
            .await
            .unwrap();
        assert_eq!(reply["items"].as_array().unwrap().len(), 2, "no third one");
    });
}

#[test]
fn what_does_not_exist_is_named() {
    with_bench("names", |bench| async move {
        let (name, text) = bench
            .fault("ReleasePlugin", json!({ "name": "clock" }))
            .await;
        assert_eq!(name, "Failed");
        assert!(text.contains("\"clock\""), "{text}");
        let (_, text) = bench
            .fault("Session", json!({ "authority": "nobody" }))
            .await;
        assert!(text.contains("no such account"), "{text}");
        for (method, error) in [
            (
                "org.bailiwick.Admin.Dance",
                "org.varlink.service.MethodNotFound",
            ),
            (
                "org.bailiwick.Other.Get",
                "org.varlink.service.InterfaceNotFound",
            ),
            ("", "org.varlink.service.InterfaceNotFound"),
            ("Get", "org.varlink.service.InterfaceNotFound"),
        ] {
            let call = Call {
                method: method.into(),
                ..Call::default()
            };
            assert_eq!(
                bench.admin.answer(call).await.unwrap_err().error,
                error,
                "{method}"
            );
        }
    });
}

#[test]
fn the_service_describes_itself() {
    with_bench("self", |bench| async move {
        let service = Idl::parse(include_str!("org.varlink.service.varlink"));
        let ask = |method: &str, parameters: Value| Call {
            method: format!("org.varlink.service.{method}"),
            parameters: parameters.as_object().cloned().unwrap_or_default(),
            ..Call::default()
        };
        let info = bench.admin.answer(ask("GetInfo", json!({}))).await.unwrap();
        service.check(&info, &service.methods["GetInfo"].1).unwrap();
        for interface in info["interfaces"].as_array().unwrap() {
            let call = ask("GetInterfaceDescription", json!({ "interface": interface }));
            let reply = bench.admin.answer(call).await.unwrap();
            let first = format!("interface {}\n", interface.as_str().unwrap());
            assert!(reply["description"].as_str().unwrap().contains(&first));
        }
        let unknown = ask("GetInterfaceDescription", json!({ "interface": "a.b" }));
        let fault = bench.admin.answer(unknown).await.unwrap_err();
        assert_eq!(fault.error, "org.varlink.service.InterfaceNotFound");
    });
}
