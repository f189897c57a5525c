//! The chain of a certificate: from it, over what completes it, to an anchor.

use std::sync::Arc;
use std::time::Duration;

use rustls::RootCertStore;
use rustls::pki_types::{CertificateDer, UnixTime};
use rustls::server::WebPkiClientVerifier;

use super::describe;

/// Certificates of a chain, without its anchor.
const MAX_CHAIN: usize = 8;
/// Anchors that are tried.
const MAX_ANCHORS: usize = 32;

/// Why there is no chain.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NoChain {
    /// Nothing to chain to.
    #[error("there is no anchor that it could chain to")]
    NoAnchor,
    /// None of them vouches for it.
    #[error("it does not chain to an anchor: {reason}")]
    Refused {
        /// What the verifier said.
        reason: String,
    },
}

/// The chain of `certificate`, itself first, over those of `useful` that it needs, that one of `anchors` vouches for
/// as a TLS client at the Unix time `now`, in seconds. All DER. What of `anchors` and `useful` is no certificate is
/// passed over.
pub fn chain(
    certificate: &[u8],
    useful: &[&[u8]],
    anchors: &[&[u8]],
    now: u64,
) -> Result<Vec<Vec<u8>>, NoChain> {
    let mut roots = RootCertStore::empty();
    for anchor in anchors.iter().take(MAX_ANCHORS) {
        // One that cannot be read vouches for nobody.
        let _unreadable = roots.add(CertificateDer::from(*anchor));
    }
    if roots.is_empty() {
        return Err(NoChain::NoAnchor);
    }
    let refused = |reason: String| NoChain::Refused { reason };
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let verifier = WebPkiClientVerifier::builder_with_provider(Arc::new(roots), provider)
        .build()
        .map_err(|e| refused(e.to_string()))?;
    let now = UnixTime::since_unix_epoch(Duration::from_secs(now));
    let verify = |chain: &[&[u8]]| {
        let completing: Vec<_> = chain
            .iter()
            .skip(1)
            .map(|der| CertificateDer::from(*der))
            .collect();
        verifier
            .verify_client_cert(&CertificateDer::from(certificate), &completing, now)
            .map_err(|e| refused(e.to_string()))
    };
    let mut chain = completed(certificate, useful);
    verify(&chain)?;
    for index in (1..chain.len()).rev() {
        let mut without = chain.clone();
        without.remove(index);
        if verify(&without).is_ok() {
            chain = without;
        }
    }
    Ok(chain.into_iter().map(<[u8]>::to_vec).collect())
}

/// Those of `certificates` that an anchor has signed, or another of them below an anchor. All DER.
pub fn issued_below<'a>(certificates: &[&'a [u8]], anchors: &[&'a [u8]]) -> Vec<&'a [u8]> {
    let mut issuers: Vec<&[u8]> = anchors.iter().take(MAX_ANCHORS).copied().collect();
    let mut left: Vec<&[u8]> = certificates.iter().take(MAX_ANCHORS).copied().collect();
    let mut found = Vec::new();
    while let Some(issuer) = issuers.pop() {
        let (below, others) = left
            .into_iter()
            .partition(|certificate| describe::has_signed(issuer, certificate));
        let below: Vec<&[u8]> = below;
        issuers.extend(&below);
        found.extend(below);
        left = others;
    }
    found
}

/// The certificate and, by their names, the issuers of what is there already. Whether any has signed is not looked at.
fn completed<'a>(certificate: &'a [u8], useful: &[&'a [u8]]) -> Vec<&'a [u8]> {
    let mut chain = vec![certificate];
    let mut next = 0;
    while let Some(der) = chain.get(next).copied() {
        next += 1;
        let Ok((_, issuer)) = describe::names(der) else {
            continue;
        };
        for candidate in useful {
            let issues = describe::names(candidate).is_ok_and(|(subject, _)| subject == issuer);
            if issues && chain.len() < MAX_CHAIN && !chain.contains(candidate) {
                chain.push(candidate);
            }
        }
    }
    chain
}

#[cfg(test)]
mod tests {
    use super::super::testing::Ca;
    use super::*;

    /// 2026-01-01.
    const NOW: u64 = 1_767_225_600;

    #[test]
    fn a_chain_ends_at_an_anchor_or_is_none() {
        let root = Ca::new("root");
        let middle = root.intermediate("middle");
        let leaf = middle.client("device").chain_der.remove(0);
        let (root, middle, other) = (root.der(), middle.der(), Ca::new("root").der());
        let found = chain(&leaf, &[&other, &middle], &[&root], NOW).unwrap();
        assert_eq!(found, [leaf.clone(), middle.clone()]);
        // An anchor in the middle is enough, and then nothing completes the chain.
        let found = chain(&leaf, &[&root], &[&middle], NOW).unwrap();
        assert_eq!(found, std::slice::from_ref(&leaf));

        let refused =
            |useful: &[&[u8]], anchors: &[&[u8]]| chain(&leaf, useful, anchors, NOW).unwrap_err();
        refused(&[], &[&root]);
        refused(&[&middle], &[&other]);
        refused(&[&middle, &root], &[&other]);
        refused(&[&middle], &[b"?"]);
        assert_eq!(chain(&leaf, &[&middle], &[], NOW), Err(NoChain::NoAnchor));
        chain(&leaf, &[&middle], &[&root], 0).unwrap_err();
        chain(b"?", &[], &[&root], NOW).unwrap_err();
    }

    #[test]
    fn only_what_an_anchor_has_signed_is_below_it() {
        let root = Ca::new("root");
        let middle = root.intermediate("middle");
        let low = middle.intermediate("low").der();
        let (root, middle) = (root.der(), middle.der());
        let forged = Ca::new("root").intermediate("middle").der();
        let mut found = issued_below(&[&low, &forged, &middle], &[&root]);
        found.sort();
        let mut expected = [low.as_slice(), &middle];
        expected.sort();
        assert_eq!(found, expected);
        assert_eq!(issued_below(&[&low], &[&root]), Vec::<&[u8]>::new());
    }

    #[test]
    fn useful_certificates_without_end_cost_little() {
        let root = Ca::new("same");
        let many: Vec<_> = (0..64).map(|_| Ca::new("same").der()).collect();
        let many: Vec<&[u8]> = many.iter().map(Vec::as_slice).collect();
        let leaf = root.client("device").chain_der.remove(0);
        assert_eq!(completed(&leaf, &many).len(), MAX_CHAIN);
    }
}
