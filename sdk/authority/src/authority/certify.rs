//! Certificates for keys that devices, cards and their makers keep to themselves.

use rustls::pki_types::CertificateDer;

use super::{Authority, AuthorityError, enrolment::Device};
use crate::{
    clock,
    device::DeviceId,
    files::{self, PRIVATE},
    pki::{self, CertificateRequest, Validity},
    record,
};

/// Certificates of one device that requests keep: the card's, the one in use, the one that replaces it, and one whose answer
/// was lost.
const CERTIFICATES_PER_DEVICE: usize = 4;

impl Authority {
    /// A further certificate for an enrolled device, from the next request on as good as those it has. Of more than four, the
    /// oldest go; `shown`, the fingerprint of the one by which the device asks, stays.
    pub fn certify(
        &self,
        device: &DeviceId,
        request: &CertificateRequest,
        shown: Option<&str>,
        validity: Validity,
    ) -> Result<CertificateDer<'static>, AuthorityError> {
        let certificate = self
            .ca()?
            .certify_client(device.as_str(), request, validity)?;
        let fingerprint = pki::fingerprint(&certificate);

        let _changing = files::lock(&self.dir.join("authority.lock"))?;
        let mut record: Device = self.device(device)?;
        record.certificates.push(fingerprint.clone());
        record.not_after = clock::unix_seconds(validity.not_after);
        let mut surplus = record
            .certificates
            .len()
            .saturating_sub(CERTIFICATES_PER_DEVICE);
        let mut kept = Vec::new();
        for known in record.certificates.drain(..) {
            if surplus > 0 && shown != Some(known.as_str()) {
                files::remove(&self.certificate_path(&known))?;
                surplus -= 1;
            } else {
                kept.push(known);
            }
        }
        record.certificates = kept;
        record::replace(&self.device_path(device), &record, PRIVATE)?;
        let path = self.certificate_path(&fingerprint);
        files::replace(&path, device.as_str().as_bytes(), PRIVATE)?;
        Ok(certificate)
    }
}
