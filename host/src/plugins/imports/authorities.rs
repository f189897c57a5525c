//! What an authority keeps on the device beside its objects: certificates, and rights of the applications that it
//! certifies. The rooms above decide; this names on whose behalf, and bounds what a call may write.

use super::WRITE;
use crate::plugins::messages::{ImportReply, ImportRequest};
use crate::plugins::process::Active;
use crate::plugins::{NewCertificate, PluginError, Services};

/// Serves a request of `certificates` or `applications`.
pub(super) fn serve(
    services: &dyn Services,
    active: &Active,
    request: ImportRequest,
) -> Result<ImportReply, PluginError> {
    let (transaction, who) = (&*active.transaction, &active.authority);
    if !active.may_write(cost(&request)) {
        return Err(PluginError::TooLarge);
    }
    match request {
        ImportRequest::Certificates => {
            let all = services.certificates(transaction, who)?;
            Ok(ImportReply::Certificates(all))
        }
        ImportRequest::AddCertificate {
            role,
            der,
            purposes,
        } => {
            let certificate = NewCertificate {
                role,
                der: der.into_vec(),
                purposes,
            };
            let id = services.add_certificate(transaction, who, certificate)?;
            Ok(ImportReply::Text(id))
        }
        ImportRequest::RemoveCertificate { id, role } => {
            services.remove_certificate(transaction, who, &id, role)?;
            Ok(ImportReply::Done)
        }
        ImportRequest::GiveRights(grant) => {
            services.give_rights(transaction, who, grant)?;
            Ok(ImportReply::Done)
        }
        ImportRequest::TakeRights { to, on } => {
            services.take_rights(transaction, who, &to, &on)?;
            Ok(ImportReply::Done)
        }
        ImportRequest::GivenRights => {
            let all = services.given_rights(transaction, who)?;
            Ok(ImportReply::Rights(all))
        }
        _ => Err(PluginError::NotSupported),
    }
}

/// What the request may make the transaction keep, bytes.
fn cost(request: &ImportRequest) -> usize {
    match request {
        ImportRequest::AddCertificate { der, purposes, .. } => {
            WRITE + der.len() + purposes.iter().map(String::len).sum::<usize>()
        }
        // The record of an instance with all its grants.
        ImportRequest::GiveRights(_) | ImportRequest::TakeRights { .. } => 64 * WRITE,
        _ => 0,
    }
}
