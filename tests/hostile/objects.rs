//! Answers that are well formed for the sandbox and wrong for the object: checked above the plug-ins, where the
//! description of the type is known.

use std::rc::Rc;
use std::time::{Duration, Instant};

use bailiwick::config::{Limits, PolicyRule};
use bailiwick::objects::{Fault, ObjectError, Objects};
use bailiwick::permissions::Permissions;
use bailiwick_protocol::ClientUri;

use crate::device::{Device, GOOD, GOOD_MOID, Ground, Installation, good, mean};
use crate::kinds::MOID;

/// What must be found wrong with an answer.
type Finds = fn(&ObjectError) -> bool;

/// The trees of `tests/plugins/object/src/trees.rs`.
const TREES: &[(&str, Finds)] = &[
    ("empty", |error| {
        is(error, |fault| matches!(fault, Fault::NoStart))
    }),
    ("no-root", |error| {
        is(error, |fault| matches!(fault, Fault::NoStart))
    }),
    ("out-of-order", |error| {
        is(error, |fault| matches!(fault, Fault::NoStart))
    }),
    ("duplicate", |error| {
        is(error, |fault| matches!(fault, Fault::Repeated { .. }))
    }),
    ("two-roots", |error| {
        is(error, |fault| matches!(fault, Fault::Repeated { .. }))
    }),
    ("orphan", |error| {
        is(error, |fault| matches!(fault, Fault::OutOfOrder { .. }))
    }),
    ("below-a-leaf", |error| {
        is(error, |fault| matches!(fault, Fault::OutOfOrder { .. }))
    }),
    ("outside", |error| {
        is(error, |fault| matches!(fault, Fault::OutOfOrder { .. }))
    }),
    ("unknown", |error| {
        is(error, |fault| matches!(fault, Fault::Unknown { .. }))
    }),
    ("wrong-format", |error| {
        is(error, |fault| matches!(fault, Fault::Format { .. }))
    }),
    ("leaf-for-interior", |error| {
        is(error, |fault| matches!(fault, Fault::Format { .. }))
    }),
    ("interior-for-leaf", |error| {
        is(error, |fault| matches!(fault, Fault::Format { .. }))
    }),
    ("odd-names", |error| {
        is(error, |fault| matches!(fault, Fault::Name { .. }))
    }),
    ("empty-name", |error| {
        is(error, |fault| matches!(fault, Fault::Name { .. }))
    }),
    ("deep", |error| {
        is(error, |fault| matches!(fault, Fault::TooDeep { .. }))
    }),
    ("not-a-number", |error| {
        is(error, |fault| matches!(fault, Fault::Format { .. }))
    }),
    ("huge-integer", |error| {
        is(error, |fault| matches!(fault, Fault::Format { .. }))
    }),
    ("bad-base64", |error| {
        is(error, |fault| matches!(fault, Fault::Format { .. }))
    }),
    ("too-many", |error| {
        matches!(error, ObjectError::Call { .. })
    }),
];

fn is(error: &ObjectError, fits: impl FnOnce(&Fault) -> bool) -> bool {
    matches!(error, ObjectError::Faulty { fault, .. } if fits(fault))
}

/// Every tree is refused for what is wrong with it, and a good one is read.
pub(crate) async fn malformed_trees(ground: Rc<Ground>) -> Result<String, String> {
    let device = Device::new(&ground, &[&Installation::built("hostile-object")], "")?;
    let objects = objects(&ground, &device).await?;
    let read = async |name: &str| {
        let request = objects.begin(&mean(), None, 0);
        objects
            .read_all(&request, &ClientUri::root(MOID, name))
            .await
    };
    read("good")
        .await
        .map_err(|error| format!("a good tree: {error}"))?;
    for (name, finds) in TREES {
        match read(name).await {
            Err(error) if finds(&error) => {}
            Err(error) => return Err(format!("{name}: {error:?}")),
            Ok(_) => return Err(format!("{name} is believed")),
        }
    }
    unaffected(&objects).await?;
    Ok(format!("{} trees", TREES.len()))
}

/// Lists of instances that are none are not believed; others are served meanwhile.
pub(crate) async fn malformed_instances(ground: Rc<Ground>) -> Result<String, String> {
    let kinds = [
        "many-instances",
        "odd-instances",
        "empty-instances",
        "repeated-instances",
        "long-instances",
    ];
    for kind in kinds {
        let plugin = Installation::built("hostile-object").set("behaviour", kind);
        let device = Device::new(&ground, &[&plugin], "")?;
        let objects = objects(&ground, &device).await?;
        let request = objects.begin(&mean(), None, 0);
        let listed = objects
            .list(&request)
            .await
            .map_err(|error| format!("{kind}: {error}"))?;
        let of_type = |moid| {
            let found = listed.iter().find(|listed| listed.moid == moid);
            found.map_or(0, |listed| listed.miids.len())
        };
        if of_type(MOID) != 0 || of_type(GOOD_MOID) != 1 {
            return Err(format!(
                "{kind}: {} of {MOID}, {} of {GOOD_MOID}",
                of_type(MOID),
                of_type(GOOD_MOID)
            ));
        }
        unaffected(&objects).await?;
    }
    Ok(format!("{} lists", kinds.len()))
}

/// Types that a plug-in claims to serve and whose descriptions are bombs, or that are others' types.
pub(crate) async fn malformed_types(ground: Rc<Ground>) -> Result<String, String> {
    let kinds = ["many-classes", "deep-class", "long-class", "same-class"];
    let mut longest = Duration::ZERO;
    for kind in kinds {
        let plugin = Installation::built("hostile-object").set("behaviour", kind);
        let device = Device::new(&ground, &[&plugin], "")?;
        let objects = objects(&ground, &device).await?;
        device.good_call(&mean()).await?;
        let request = objects.begin(&mean(), None, 0);
        let began = Instant::now();
        let served = objects
            .all_served(&request)
            .await
            .map_err(|error| format!("{kind}: {error}"))?;
        longest = longest.max(began.elapsed());
        let of = |moid: &str| {
            let class = served.iter().find(|served| served.class.moid == moid);
            class.map(|served| (served.class.plugin.to_string(), served.dynamic))
        };
        if of(GOOD_MOID) != Some((GOOD.into(), false))
            || of(MOID) != Some(("hostile-object".into(), false))
        {
            return Err(format!(
                "{kind}: somebody else serves {GOOD_MOID} or {MOID}"
            ));
        }
        if served.len() > 3 {
            return Err(format!("{kind}: {} types are served", served.len()));
        }
        unaffected(&objects).await?;
    }
    Ok(format!(
        "{} answers, the longest was refused after {} ms",
        kinds.len(),
        longest.as_millis()
    ))
}

async fn objects(ground: &Ground, device: &Device) -> Result<Objects, String> {
    let rule = |moid: &str| PolicyRule {
        authority: "*".into(),
        moid: moid.into(),
        rights: vec!["read".into()],
    };
    let policy = [rule(MOID), rule(GOOD_MOID)];
    let text = |error: &dyn std::fmt::Display| error.to_string();
    let permissions = Permissions::new(ground.store.clone(), &policy).map_err(|e| text(&e))?;
    let transaction = ground.store.begin();
    for who in [mean(), good()] {
        let moids = [
            MOID,
            GOOD_MOID,
            "urn:example:mo:deep:1.0",
            "urn:example:mo:twice:1.0",
        ];
        permissions
            .set_permitted(&transaction, &who, &moids.map(String::from))
            .map_err(|error| text(&error))?;
    }
    transaction.commit().await.map_err(|error| text(&error))?;
    let plugins = device.plugins.clone();
    Ok(Objects::new(
        plugins,
        permissions,
        ground.store.clone(),
        &Limits::default(),
    ))
}

/// The other authority reads the good plug-in's object.
async fn unaffected(objects: &Objects) -> Result<(), String> {
    let request = objects.begin(&good(), None, 0);
    let uri = ClientUri::root(GOOD_MOID, "1");
    let readings = objects.read_all(&request, &uri).await;
    match readings {
        Ok(readings) if readings.len() == 1 => Ok(()),
        Ok(readings) => Err(format!(
            "the other authority reads {} instances",
            readings.len()
        )),
        Err(error) => Err(format!("the other authority: {error}")),
    }
}
