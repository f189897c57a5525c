//! One renewal: a key, a request that it signs, the answer checked and kept on trial.

use super::RenewalError;
use crate::accounts::{Account, Shown};
use crate::agent::rooms::Rooms;
use crate::certificates::{self, Asked, Origin, Pending, Purpose, Request, Role, State};
use crate::keys::{KeyKind, KeyRef};
use crate::provisioning::{self, Offer};
use crate::session::Enrol;

/// Renews `shown` at `service`; returns the id of the new certificate.
pub(super) async fn renew(
    rooms: &Rooms,
    account: &Account,
    service: &str,
    shown: &Shown,
) -> Result<String, RenewalError> {
    let authority = &account.authority;
    let asked = asked(rooms, account, shown).await?;
    let answer = rooms
        .sessions
        .enrol(authority, service, Enrol::Again, &asked.request)
        .await?;
    let (certificate, mut useful) = certificates::ours(answer, &asked.spki)?;
    // Whoever the authority's CA is by its own word, over a connection that its anchors vouch for.
    let cas = rooms.sessions.ca_certificates(authority, service).await;
    let cas = cas.unwrap_or_else(|error| {
        tracing::warn!(%authority, %error, "the service does not say who its CA is");
        Vec::new()
    });
    useful.extend(cas.iter().cloned());
    let useful: Vec<&[u8]> = useful.iter().map(Vec::as_slice).collect();
    let anchors = account.anchors_der.iter().chain(&cas);
    let anchors: Vec<&[u8]> = anchors.map(Vec::as_slice).collect();
    let now = rooms.accounts.clock().now();
    let chain_der = certificates::chain(&certificate, &useful, &anchors, now)?;

    let purposes = shown.credential.as_ref().map(|it| it.purposes.clone());
    let offer = Offer {
        authority: authority.clone(),
        role: Role::Identity { key: asked.key },
        chain_der,
        purposes: purposes.unwrap_or_else(|| [Purpose::Sessions].into()),
        origin: Origin::Enrolment(service.to_owned()),
    };
    let tx = rooms.store.begin();
    let mut credential = provisioning::add(&tx, offer, now)?;
    credential.state = State::Trial {
        replaces: shown.id(),
    };
    credential.put(&tx)?;
    Pending::forget(&tx, authority);
    tx.commit().await?;
    Ok(credential.id)
}

/// The request that was kept, or another one: for the same key where that is on a card, else for a fresh one in a file.
///
/// choice: fresh keys are P-256, whatever the old one was: every service and every TLS version takes them.
async fn asked(rooms: &Rooms, account: &Account, shown: &Shown) -> Result<Asked, RenewalError> {
    let authority = &account.authority;
    let pending = Pending::of(&rooms.store, authority)?;
    let kept = pending.clone().filter(|kept| kept.replaces == shown.id());
    if let Some(asked) = kept.as_ref().and_then(|kept| kept.asked.clone()) {
        return Ok(asked);
    }
    // One for an identity that has gone meanwhile.
    if let Some(stale) = pending.and_then(|pending| pending.asked)
        && let KeyRef::File(_) = stale.key
    {
        let _stays = rooms.keys.forget(&stale.key).await;
    }
    let (key, spki) = match &shown.key {
        KeyRef::Card { .. } => (shown.key.clone(), rooms.keys.public_key(&shown.key).await?),
        KeyRef::File(_) => rooms.keys.generate(KeyKind::EcP256).await?,
    };
    let request = Request::new(&spki, Some(shown.der()))?;
    let signature = rooms
        .keys
        .sign(&key, request.scheme(), &request.message()?)
        .await?;
    let asked = Asked {
        key,
        spki,
        request: request.signed(&signature)?,
    };
    let mut pending = kept.unwrap_or_else(|| Pending::new(&shown.id()));
    pending.asked = Some(asked.clone());
    let tx = rooms.store.begin();
    pending.put(&tx, authority)?;
    tx.commit().await?;
    Ok(asked)
}
