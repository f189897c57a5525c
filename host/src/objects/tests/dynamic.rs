//! Types that come and go while the device runs.

use super::*;

#[tokio::test]
async fn dynamic_types_come_with_what_makes_them() {
    let scene = Scene::new(&[]).await;
    let dynamic = "urn:x:dynamic:1.0";
    let place = uri(&format!("{dynamic}//"));
    scene.bench.offer(dynamic, &ddf_with_leaf("Old"));
    scene.bench.offer(MOID, &ddf_with_leaf("Shadow"));
    scene.bench.offer("urn:x:broken:1.0", "<MgmtTree");
    assert_eq!(
        meaning(&scene, &north(), &place.to_string(), Access::Read).await,
        Err(404)
    );

    // The type is there with the instance that makes it, for the command itself already.
    let request = scene.begin(&north());
    let permit = scene.objects.may_create(&request, META).unwrap();
    let shape = tree(&[("ID", &format!("{dynamic} {MOID} urn:x:broken:1.0"))]);
    scene
        .objects
        .create(&request, permit, &shape)
        .await
        .unwrap();
    assert!(
        scene
            .objects
            .served(&request, dynamic)
            .await
            .unwrap()
            .dynamic
    );
    drop(request);
    assert_eq!(
        meaning(&scene, &north(), &place.to_string(), Access::Read).await,
        Err(404)
    );
    scene.create(&north(), META, &shape).await;

    let request = scene.begin(&north());
    let served = scene.objects.served(&request, dynamic).await.unwrap();
    assert_eq!((&*served.class.plugin, served.dynamic), ("shapes", true));
    let served = scene.objects.served(&request, MOID).await.unwrap();
    assert_eq!(
        (&*served.class.plugin, served.dynamic),
        ("trees", false),
        "no shadows"
    );
    drop(request);

    // Asked once, then known; asked again after a write.
    scene.bench.asked();
    let asks = || {
        scene
            .bench
            .asked()
            .iter()
            .filter(|call| call.contains("Classes"))
            .count()
    };
    for _ in 0..3 {
        let request = scene.begin(&north());
        scene.objects.served(&request, dynamic).await.unwrap();
    }
    assert_eq!(asks(), 0);
    replace(
        &scene,
        &north(),
        &format!("{META}//ID"),
        &leaf(&format!("{dynamic} again")),
    )
    .await
    .unwrap();
    for _ in 0..3 {
        let request = scene.begin(&north());
        scene.objects.served(&request, dynamic).await.unwrap();
    }
    assert_eq!(asks(), 1);

    // An instance keeps the description that it was made by.
    let instance = scene
        .create(&north(), dynamic, &tree(&[("Old", "v")]))
        .await;
    let namespace = crate::plugins::imports::storage::Namespace::instance("shapes", &instance);
    let kept = namespace
        .get(&scene.store.begin(), DDF_KEY)
        .unwrap()
        .unwrap();
    assert_eq!(kept, ddf_with_leaf("Old").as_bytes());
    scene.bench.offer(dynamic, &ddf_with_leaf("New"));
    replace(
        &scene,
        &north(),
        &format!("{META}//ID"),
        &leaf(&format!("{dynamic} anew")),
    )
    .await
    .unwrap();
    assert_eq!(
        read(&scene, &north(), &place.to_string()).await.unwrap(),
        ["Old=v"]
    );
    let request = scene.begin(&north());
    let permit = scene.objects.may_create(&request, dynamic).unwrap();
    let error = scene
        .objects
        .create(&request, permit, &tree(&[("Old", "v")]))
        .await
        .unwrap_err();
    assert_eq!(error.status().0, 400);
}

#[tokio::test]
async fn a_plug_in_that_cannot_be_asked_is_not_a_missing_type() {
    let scene = Scene::new(&[]).await;
    scene.bench.script(|call| match &call.operation {
        Operation::Classes => Some(Err(CallError::Busy {
            plugin: call.plugin.to_string(),
        })),
        _ => None,
    });
    let request = scene.begin(&north());
    let error = scene
        .objects
        .served(&request, "urn:x:dynamic:1.0")
        .await
        .unwrap_err();
    assert_eq!(error.status().0, 503);
    assert!(scene.objects.served(&request, MOID).await.is_ok());
    assert_eq!(scene.objects.list(&request).await.unwrap().len(), 3);
}

#[tokio::test]
async fn the_operator_reads_instances_of_types_that_others_added() {
    let scene = Scene::new(&[]).await;
    let dynamic = "urn:x:dynamic:1.0";
    scene.bench.offer(dynamic, &ddf_with_leaf("Leaf"));
    // A plug-in tells each authority its own types.
    scene.bench.script(|call| match &call.operation {
        Operation::Classes if call.authority != north() => Some(Ok(Output::Classes(Vec::new()))),
        _ => None,
    });
    scene
        .create(&north(), META, &tree(&[("ID", dynamic)]))
        .await;
    let all = format!("{dynamic}/*/");
    let operator = Authority::operator();
    assert_eq!(read(&scene, &operator, &all).await.unwrap_err(), 404);
    scene
        .create(&north(), dynamic, &tree(&[("Leaf", "v")]))
        .await;
    assert_eq!(read(&scene, &operator, &all).await.unwrap(), ["Leaf=v"]);
    assert_eq!(
        read(&scene, &south(), &all).await.unwrap_err(),
        404,
        "nobody else learns of the type"
    );
}
