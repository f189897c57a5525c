//! Reading all of a card, or nothing: an object that cannot be had is noted and left out, a card that fails gives none.

use super::object::Value;
use super::odf::{self, Directory, Kind};
use super::{
    CARD_BYTES, CERTIFICATE_BYTES, DIRECTORY_BYTES, EF_ODF, Key, Notes, OBJECT_BYTES, Token,
    certificates, data_objects, pins, private_keys,
};
use crate::keys::card::apdu::{Card, Status};
use crate::keys::card::error::CardError;
use crate::keys::card::pin::Pins;
use crate::keys::card::sign::PublicKey;
use crate::keys::card::tlv::{Budget, Reader};
use crate::keys::{Contents, FoundCertificate, FoundKey, FoundObject, KeyKind, KeyRef, PinState};

/// What was read so far.
struct Reading {
    notes: Notes,
    /// Bytes that may still be read; `None`: there were more.
    left: Option<usize>,
}

impl Token {
    /// Reads the card.
    pub(super) fn read(
        &mut self,
        card: &mut Card<'_>,
        known: &Pins,
    ) -> Result<Contents, CardError> {
        let mut reading = Reading {
            notes: Notes::default(),
            left: Some(CARD_BYTES),
        };
        let directories = self.directories(card, &mut reading)?;
        let of = |wanted: fn(&Kind) -> bool| {
            let chosen = directories.iter().filter(move |(d, _)| wanted(&d.kind));
            chosen.map(|(_, file)| file)
        };
        let path = self.files.path().clone();

        let mut pins = Vec::new();
        for file in of(|kind| *kind == Kind::Pins) {
            pins.extend(pins::parse(file, &mut reading.notes)?);
        }
        self.pins = pins;
        let mut certificates = Vec::new();
        for (directory, file) in &directories {
            if let Kind::Certificates(shelf) = directory.kind {
                let budget = Budget::new();
                for entry in certificates::parse(file, &budget, &path, &mut reading.notes)? {
                    let found = self.certificate(card, known, &mut reading, &entry)?;
                    certificates.extend(found.map(|(path, der)| FoundCertificate {
                        shelf,
                        id: entry.id,
                        label: entry.label,
                        path,
                        der,
                    }));
                }
            }
        }
        let mut keys = Vec::new();
        for file in of(|kind| *kind == Kind::PrivateKeys) {
            for entry in private_keys::parse(file, &path, &mut reading.notes)? {
                keys.extend(self.private_key(card, known, &mut reading, entry, &certificates)?);
            }
        }
        let mut objects: Vec<FoundObject> = Vec::new();
        for file in of(|kind| *kind == Kind::DataObjects) {
            let budget = Budget::new();
            for entry in data_objects::parse(file, &budget, &path, &mut reading.notes)? {
                let found = self.data_object(card, known, &mut reading, &entry, &objects)?;
                objects.extend(found);
            }
        }
        let found_keys = keys.iter().map(|key| self.found_key(key)).collect();
        self.keys = Some(keys);
        Ok(Contents {
            card: self.id.clone(),
            label: self.label.clone(),
            certificates,
            keys: found_keys,
            objects,
            skipped: reading.notes.into_inner(),
            effort: card.effort(),
        })
    }

    /// All directories that EF(ODF) names. One that is missing is noted.
    fn directories(
        &mut self,
        card: &mut Card<'_>,
        reading: &mut Reading,
    ) -> Result<Vec<(Directory, Vec<u8>)>, CardError> {
        let application = self.files.path().clone();
        let odf = application.child(EF_ODF);
        let file = self.files.read(card, &odf, DIRECTORY_BYTES)?;
        let budget = Budget::new();
        let file = odf::unwrap(&file, &budget);
        let listed = odf::parse(file, &application, &odf, &mut reading.notes)?;
        let mut directories = Vec::new();
        for directory in listed {
            match self.files.read(card, &directory.path, DIRECTORY_BYTES) {
                Ok(file) => {
                    reading.take(file.len())?;
                    directories.push((directory, file));
                }
                Err(error @ (CardError::Refused { .. } | CardError::Malformed(_))) => {
                    let path = directory.path.hex();
                    reading.notes.add(format!("directory {path}: {error}"));
                }
                Err(error) => return Err(error),
            }
        }
        Ok(directories)
    }

    fn certificate(
        &mut self,
        card: &mut Card<'_>,
        known: &Pins,
        reading: &mut Reading,
        entry: &certificates::Entry<'_>,
    ) -> Result<Option<(String, Vec<u8>)>, CardError> {
        let what = format!("certificate {} ({})", entry.id, entry.label);
        let auth = entry.auth.as_deref();
        let value = self.value(card, known, reading, &entry.value, auth, CERTIFICATE_BYTES);
        let Some((path, bytes)) = reading.or_note(&what, value)? else {
            return Ok(None);
        };
        // Files may be longer than what is in them.
        let budget = Budget::new();
        match Reader::new(&bytes, &budget).expect(super::object::SEQUENCE) {
            Ok(certificate) => Ok(Some((path, certificate.whole.to_vec()))),
            Err(error) => {
                reading.notes.add(format!("{what}: {error}"));
                Ok(None)
            }
        }
    }

    fn data_object(
        &mut self,
        card: &mut Card<'_>,
        known: &Pins,
        reading: &mut Reading,
        entry: &data_objects::Entry<'_>,
        before: &[FoundObject],
    ) -> Result<Option<FoundObject>, CardError> {
        // Cards list one object in two forms, for readers that know only one.
        if let Value::Indirect(path, _) = &entry.value {
            let path = path.hex();
            let same = |other: &FoundObject| other.oid == entry.oid && other.path == path;
            if before.iter().any(same) {
                return Ok(None);
            }
        }
        let what = format!("data object {} ({})", entry.oid, entry.label);
        let auth = entry.auth.as_deref();
        let value = self.value(card, known, reading, &entry.value, auth, OBJECT_BYTES);
        let found = reading.or_note(&what, value)?;
        Ok(found.map(|(path, bytes)| FoundObject {
            oid: entry.oid.clone(),
            label: entry.label.clone(),
            path,
            bytes,
        }))
    }

    /// A value, and where it was; where its file wants a PIN, that is verified if it is known.
    fn value(
        &mut self,
        card: &mut Card<'_>,
        known: &Pins,
        reading: &mut Reading,
        value: &Value<'_>,
        auth: Option<&[u8]>,
        limit: usize,
    ) -> Result<(String, Vec<u8>), CardError> {
        let (path, range) = match value {
            Value::Direct(bytes) => {
                reading.take(bytes.len())?;
                return Ok((self.files.path().hex(), bytes.to_vec()));
            }
            Value::Indirect(path, range) => (path, *range),
        };
        // A part of a file: what lies before it is read too.
        let whole = range.map_or(limit, |_| DIRECTORY_BYTES.max(limit));
        let mut bytes = self.files.read(card, path, whole);
        if let (Err(CardError::Refused { status, .. }), Some(slot)) = (&bytes, self.slot(auth))
            && *status == Status::Denied
        {
            self.files.stay_inside(card)?;
            known.verify(card, &self.id, &slot)?;
            bytes = self.files.read(card, path, whole);
        }
        let mut bytes = bytes?;
        if let Some((offset, length)) = range {
            let part = offset
                .checked_add(length)
                .and_then(|end| bytes.get(offset..end));
            let outside = || CardError::Malformed("its part of the file is not there".into());
            bytes = part.ok_or_else(outside)?.to_vec();
        }
        reading.take(bytes.len())?;
        Ok((path.hex(), bytes))
    }

    fn private_key(
        &mut self,
        card: &mut Card<'_>,
        known: &Pins,
        reading: &mut Reading,
        entry: private_keys::Entry,
        certificates: &[FoundCertificate],
    ) -> Result<Option<Key>, CardError> {
        let what = format!("key {} ({})", entry.id, entry.label);
        let certificate = certificates.iter().find(|other| other.id == entry.id);
        let Some(certificate) = certificate else {
            reading.notes.add(format!("{what}: it has no certificate"));
            return Ok(None);
        };
        let public = match PublicKey::of_certificate(&certificate.der) {
            Ok(public) => public,
            Err(error) => {
                reading
                    .notes
                    .add(format!("{what}: its certificate has {error}"));
                return Ok(None);
            }
        };
        let is_rsa = entry.algorithm == super::Algorithm::Rsa;
        if is_rsa != (public.kind == KeyKind::Rsa) {
            reading
                .notes
                .add(format!("{what}: its certificate is of another kind"));
            return Ok(None);
        }
        let slot = self.slot(entry.auth.as_deref());
        let pin = match (&entry.auth, &slot) {
            (None, _) => PinState::NotNeeded,
            (Some(_), Some(slot)) => known.state(card, &self.id, slot)?,
            (Some(_), None) => PinState::Needed(None),
        };
        Ok(Some(Key {
            id: entry.id,
            label: entry.label,
            public,
            slot,
            pin,
            reference: entry.reference,
            path: entry.path,
        }))
    }

    fn slot(&self, auth: Option<&[u8]>) -> Option<crate::keys::card::pin::Slot> {
        let auth = auth?;
        let pin = self.pins.iter().find(|pin| pin.auth == auth)?;
        Some(pin.slot.clone())
    }

    fn found_key(&self, key: &Key) -> FoundKey {
        FoundKey {
            key: KeyRef::Card {
                card: self.id.clone(),
                key: key.id.clone(),
            },
            id: key.id.clone(),
            label: key.label.clone(),
            kind: key.public.kind,
            pin: key.pin,
        }
    }
}

impl Reading {
    fn take(&mut self, bytes: usize) -> Result<(), CardError> {
        self.left = self.left.and_then(|left| left.checked_sub(bytes));
        let problem = || CardError::Malformed(format!("more than {CARD_BYTES} bytes of objects"));
        self.left.map(drop).ok_or_else(problem)
    }

    /// An object that its card does not give, or that cannot be taken, is noted; a card that fails is an error.
    fn or_note<T>(
        &mut self,
        what: &str,
        result: Result<T, CardError>,
    ) -> Result<Option<T>, CardError> {
        match result {
            Ok(value) => Ok(Some(value)),
            Err(
                error @ (CardError::Refused { .. }
                | CardError::Malformed(_)
                | CardError::Pin { .. }),
            ) if self.left.is_some() => {
                self.notes.add(format!("{what}: {error}"));
                Ok(None)
            }
            Err(error) => Err(error),
        }
    }
}
