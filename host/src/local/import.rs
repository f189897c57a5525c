//! `ImportCertificates`: what the operator has read from a file.

use base64::Engine;
use base64::engine::general_purpose::STANDARD as BASE64;
use serde::Deserialize;
use serde_json::{Value, json};

use super::varlink::Fault;
use crate::accounts::Accounts;
use crate::authority::Authority;
use crate::provisioning::{self, Import, ImportError, Secret};
use crate::store::Store;

/// Certificates of one call.
const CERTIFICATES: usize = 16;

/// Parameters of `ImportCertificates`.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct ImportCertificates {
    authority: String,
    purposes: Vec<String>,
    certificates: Vec<String>,
    key: Option<String>,
    file: String,
}

impl ImportCertificates {
    /// The ids of what was taken; a fault names the parameter, a text what is wrong.
    pub(super) async fn run(
        self,
        accounts: &Accounts,
        store: &Store,
    ) -> Result<Result<Value, String>, Fault> {
        let decoded = |text: &String, of| {
            BASE64
                .decode(text)
                .map_err(|_| Fault::invalid_parameter(of))
        };
        if !(1..=CERTIFICATES).contains(&self.certificates.len()) {
            return Err(Fault::invalid_parameter("certificates"));
        }
        let certificates_der = self
            .certificates
            .iter()
            .map(|text| decoded(text, "certificates"))
            .collect::<Result<_, _>>()?;
        let key = self.key.as_ref().map(|text| decoded(text, "key"));
        let purposes = self.purposes.iter().map(|text| text.parse());
        let purposes = match purposes.collect::<Result<_, _>>() {
            Ok(purposes) => purposes,
            Err(error) => return Ok(Err(crate::certificates::UnknownPurpose::to_string(&error))),
        };
        let authority = Authority::server(&self.authority);
        if authority.as_str() != self.authority {
            return Ok(Err(ImportError::Authority { authority }.to_string()));
        }
        let import = Import {
            authority,
            purposes,
            certificates_der,
            key: key.transpose()?.map(Secret),
            file: self.file,
        };
        let now = accounts.clock().now();
        let taken = provisioning::import(accounts, store, import, now).await;
        Ok(match taken {
            Ok(taken) => {
                let ids: Vec<_> = taken.into_iter().map(|credential| credential.id).collect();
                Ok(json!({ "certificates": ids }))
            }
            Err(error) => Err(error.to_string()),
        })
    }
}
