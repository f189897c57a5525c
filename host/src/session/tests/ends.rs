//! How sessions end when they do not end well.

use super::*;

#[tokio::test]
async fn a_server_that_refuses_or_talks_nonsense_ends_the_session() {
    let rows: [(Reply, &str, bool); 8] = [
        (Reply::new(403, "text/plain", ""), "HTTP 403", false),
        (Reply::new(500, "text/plain", ""), "HTTP 500", false),
        (
            Reply::new(503, "text/plain", "").with("retry-after", "1"),
            "HTTP 503",
            false,
        ),
        (
            Reply::new(302, "text/plain", "").with("location", "https://dm.example/x"),
            "HTTP 302",
            false,
        ),
        (Reply::new(200, "text/html", "<html>"), "text/html", false),
        (
            Reply::new(200, "application/json", "[]"),
            "cannot be read",
            false,
        ),
        (
            Reply::new(200, bailiwick_protocol::MEDIA_REQUEST, ""),
            "cannot be read",
            false,
        ),
        (
            Reply {
                silent: true,
                ..Reply::package(&[])
            },
            "within 500 ms",
            true,
        ),
    ];
    for (reply, words, worth_retrying) in rows {
        story(async |world| {
            world.packages([Reply::package(&[&full("GET M/1/ID")]), reply.clone()]);
            let error = run(&world).await.unwrap_err();
            assert!(error.to_string().contains(words), "{error}");
            assert_eq!(error.is_worth_retrying(), worth_retrying, "{error}");
            assert_eq!(world.asked().len(), 2, "no package is sent again");
            let report = error.report.unwrap();
            assert!(!report.completed);
            assert_eq!(
                report.packages[0].commands.len(),
                1,
                "what had happened is told"
            );
            let last = world.sessions.last(&north()).unwrap().unwrap();
            assert_eq!(last.error, report.error);
            assert!(is_idle(&world));
        })
        .await;
    }
}

#[tokio::test]
async fn what_cannot_be_reached_may_be_tried_again() {
    story(async |world| {
        world.unreachable("dm.example");
        let error = run(&world).await.unwrap_err();
        assert!(error.is_worth_retrying(), "{error}");
        assert!(error.to_string().contains("dm.example:443"), "{error}");
        assert!(is_idle(&world));
    })
    .await;
}

#[tokio::test]
async fn sessions_without_end_are_ended() {
    story(async |world| {
        world.packages([Reply::package(&[])]);
        let mut limits = world.scene.limits.clone();
        limits.packages = 5;
        let few = Sessions::over(
            Rc::clone(&world.sessions.inner.reach),
            world.scene.objects.clone(),
            world.scene.store.clone(),
            &limits,
        );
        let error = few
            .run(&north(), Reason::ClientInitiated)
            .await
            .unwrap_err();
        assert!(
            matches!(error.cause, Cause::TooManyPackages { limit: 5 }),
            "{error}"
        );
        assert_eq!(world.asked().len(), 5);

        limits.packages = 1_000_000;
        limits.session_ms = 50;
        let short = Sessions::over(
            Rc::clone(&world.sessions.inner.reach),
            world.scene.objects.clone(),
            world.scene.store.clone(),
            &limits,
        );
        let error = short
            .run(&north(), Reason::ClientInitiated)
            .await
            .unwrap_err();
        assert!(
            matches!(error.cause, Cause::SessionTooLong { milliseconds: 50 }),
            "{error}"
        );
        assert!(!error.report.unwrap().packages.is_empty());
        assert!(is_idle(&world));
    })
    .await;
}

#[tokio::test]
async fn one_session_per_authority_at_a_time() {
    story(async |world| {
        let silent = Reply {
            silent: true,
            ..Reply::package(&[])
        };
        world.packages([silent]);
        let first = tokio::task::spawn_local({
            let sessions = world.sessions.clone();
            async move { sessions.run(&north(), Reason::ClientInitiated).await }
        });
        while world.asked().is_empty() {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        let error = run(&world).await.unwrap_err();
        assert!(matches!(error.cause, Cause::Busy { .. }), "{error}");
        assert!(error.is_worth_retrying() && error.report.is_none());

        // Another authority is not held up.
        world.packages([Reply::package(&["END"])]);
        world
            .sessions
            .run(&south(), Reason::ClientInitiated)
            .await
            .unwrap();

        assert!(first.await.unwrap().is_err());
        world.packages([Reply::package(&["END"])]);
        run(&world).await.unwrap();
    })
    .await;
}
