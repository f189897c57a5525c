//! An authority that decides by itself what devices are told.
#![allow(clippy::unwrap_used, reason = "a test may fail")]

mod device;

use bailiwick_authority::{
    CommandResult, DeviceId, Event, Limits, Order, Policy, PolicyError, QueuePolicy, ServerOptions,
};
use bailiwick_protocol::{Alert, MEDIA_INITIATION, Package1, alert};
use device::{DEVINFO, World, get};
use std::sync::{Arc, Mutex};

/// Tells every device to be read once, and then what is queued.
struct ReadFirst {
    queue: QueuePolicy,
    seen: Mutex<Vec<CommandResult>>,
}

impl Policy for ReadFirst {
    fn commands(&self, device: &DeviceId, opened: &Package1) -> Result<Vec<Order>, PolicyError> {
        if opened
            .alerts
            .iter()
            .any(|alert| alert.alert_type == alert::BOOTSTRAP_COMPLETE)
        {
            return Err("not ready for new devices".into());
        }
        let mut orders = Vec::new();
        if self.seen.lock().unwrap().is_empty() {
            orders.push(get(DEVINFO).into());
        }
        orders.extend(self.queue.commands(device, opened)?);
        Ok(orders)
    }

    fn sending(&self, device: &DeviceId, orders: &[Order]) -> Result<(), PolicyError> {
        self.queue.sending(device, orders)
    }

    fn results(&self, device: &DeviceId, results: &[CommandResult]) -> Result<(), PolicyError> {
        self.seen.lock().unwrap().extend_from_slice(results);
        self.queue.results(device, results)
    }
}

#[tokio::test]
async fn a_policy_decides() {
    let world = World::new();
    let device = world.enroll("dev1");
    world.queue(&device, &get("urn:oma:mo:x:1.0//"));
    let policy = Arc::new(ReadFirst {
        queue: QueuePolicy::new(world.authority.clone()),
        seen: Mutex::default(),
    });
    let options = ServerOptions {
        policy: Some(policy.clone()),
        ..ServerOptions::default()
    };
    let server = world.serve(options).await;
    let mut observer = server.observe();
    let mut connection = device.connect(server.local_addr()).await.unwrap();
    assert_eq!(
        connection.open().await.commands(),
        [get(DEVINFO), get("urn:oma:mo:x:1.0//")]
    );
    assert_eq!(connection.answer(&[200, 404]).await.names(), ["END"]);
    let codes: Vec<_> = policy
        .seen
        .lock()
        .unwrap()
        .iter()
        .map(|result| result.status.clone().unwrap().code.0)
        .collect();
    assert_eq!(codes, [200, 404]);
    assert_eq!(world.waiting(&device), []);

    // A policy that fails is our problem, and the device learns nothing of it.
    let package = Package1 {
        mos: Vec::new(),
        alerts: vec![Alert::new(alert::BOOTSTRAP_COMPLETE)],
    };
    let answer = connection.post(MEDIA_INITIATION, &package.to_bytes()).await;
    assert_eq!(answer.status, 500);
    assert!(!String::from_utf8_lossy(&answer.body).contains("not ready"));
    while let Some(event) = observer.next().await {
        if let Event::Refused {
            status,
            device: Some(refused),
            ..
        } = event
        {
            assert_eq!((status, refused), (500, device.id.clone()));
            break;
        }
    }
}

/// Never has enough.
struct Endless;

impl Policy for Endless {
    fn commands(&self, _: &DeviceId, _: &Package1) -> Result<Vec<Order>, PolicyError> {
        Ok(vec![get(DEVINFO).into()])
    }
}

#[tokio::test]
async fn a_session_has_an_end() {
    let world = World::new();
    let device = world.enroll("dev1");
    let options = ServerOptions {
        policy: Some(Arc::new(Endless)),
        limits: Limits {
            packages_per_session: 3,
            ..Limits::default()
        },
        ..ServerOptions::default()
    };
    let server = world.serve(options).await;
    let mut connection = device.connect(server.local_addr()).await.unwrap();
    assert_eq!(connection.open().await.names(), ["GET"]);
    assert_eq!(connection.answer(&[200]).await.names(), ["GET"]);
    assert_eq!(connection.answer(&[200]).await.names(), ["END"]);
}
