//! Files of a card (ISO/IEC 7816-4 §7): selected in the form that this card understands, and read up to a limit.

use super::apdu::{Answer, Card, Command, Status};
use super::error::CardError;
use super::tlv::{Budget, Reader};

const SELECT: u8 = 0xA4;
const READ_BINARY: u8 = 0xB0;
const READ_RECORD: u8 = 0xB2;

/// The master file.
const MF: [u8; 2] = [0x3F, 0x00];
/// Stands for the application that was selected (ETSI TS 102 221 §8.4.2).
const APPLICATION: [u8; 2] = [0x7F, 0xFF];
/// Where READ BINARY ends: its offset has 15 bits.
const OFFSETS: usize = 1 << 15;
/// Records of one file. Stops a file whose records do not end.
const RECORDS: u8 = 64;
/// A path, bytes: eight levels.
const PATH_BYTES: usize = 16;

/// Where a file is: `3F00...` from the master file, `7FFF...` from the application.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Path(Vec<u8>);

impl Path {
    /// A path as a card writes it; a relative one begins at `application`.
    pub(super) fn new(bytes: &[u8], application: &Path) -> Option<Self> {
        let even = bytes.len().is_multiple_of(2) && !bytes.is_empty();
        let whole = bytes.starts_with(&MF) || bytes.starts_with(&APPLICATION);
        let path = match whole {
            true => bytes.to_vec(),
            false => [&application.0, bytes].concat(),
        };
        (even && path.len() <= PATH_BYTES).then_some(Self(path))
    }

    /// The application that was selected by its identifier, wherever that is.
    pub(super) fn application() -> Self {
        Self(APPLICATION.to_vec())
    }

    /// The master file itself.
    pub(super) fn master() -> Self {
        Self(MF.to_vec())
    }

    /// A file below this one.
    pub(super) fn child(&self, file: u16) -> Self {
        Self([&self.0[..], &file.to_be_bytes()].concat())
    }

    /// A file right below the master file.
    pub(super) fn below_master(file: u16) -> Self {
        Self([MF, file.to_be_bytes()].concat())
    }

    /// The file's own identifier.
    pub(super) fn file(&self) -> [u8; 2] {
        let length = self.0.len();
        [self.0[length - 2], self.0[length - 1]]
    }

    pub(super) fn hex(&self) -> String {
        super::hex(&self.0)
    }
}

/// The application whose files are read.
#[derive(Clone, Debug)]
pub(super) struct Application {
    /// Its identifier, where it was selected by that.
    pub(super) aid: Option<Vec<u8>>,
    /// Where its files are.
    pub(super) path: Path,
}

/// How a file is selected: P1, P2, and what the path becomes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Form {
    /// In one command.
    Once(u8, u8),
    /// One identifier after the other, from the master file or the application.
    Steps(u8, u8),
}

/// For paths from the master file. Cards differ; the first is what the standards say.
const FROM_MASTER: [Form; 5] = [
    Form::Once(0x08, 0x04),
    Form::Once(0x08, 0x00),
    Form::Once(0x08, 0x0C),
    Form::Steps(0x00, 0x00),
    Form::Steps(0x00, 0x0C),
];

/// For paths from the application; the first two carry `7FFF`, as UICCs want it.
const FROM_APPLICATION: [Form; 8] = [
    Form::Once(0x08, 0x04),
    Form::Once(0x08, 0x00),
    Form::Once(0x09, 0x04),
    Form::Once(0x09, 0x00),
    Form::Steps(0x02, 0x04),
    Form::Steps(0x02, 0x00),
    Form::Steps(0x00, 0x00),
    Form::Steps(0x00, 0x0C),
];

/// What a card says about a file that it has selected.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Information {
    /// Bytes in it; it may lie.
    size: Option<usize>,
    has_records: bool,
}

/// The files of one application.
#[derive(Clone, Debug)]
pub(super) struct Files {
    application: Application,
    /// The forms that have worked on this card.
    from_master: Option<Form>,
    from_application: Option<Form>,
    /// Whether the card stands in the application.
    is_inside: bool,
}

impl Files {
    /// Of an application that is selected.
    pub(super) fn new(application: Application) -> Self {
        Self {
            application,
            from_master: None,
            from_application: None,
            is_inside: true,
        }
    }

    pub(super) fn path(&self) -> &Path {
        &self.application.path
    }

    /// Selects the application again, in another session with the card.
    pub(super) fn enter(&mut self, card: &mut Card<'_>) -> Result<(), CardError> {
        self.is_inside = false;
        if let Some(aid) = &self.application.aid {
            select_application(card, aid)?.success("selecting the application")?;
        } else {
            let path = self.application.path.clone();
            self.select(card, &path)?;
        }
        self.is_inside = true;
        Ok(())
    }

    /// Makes the card stand in the application, where its keys and PINs are.
    pub(super) fn stay_inside(&mut self, card: &mut Card<'_>) -> Result<(), CardError> {
        match self.is_inside {
            true => Ok(()),
            false => self.enter(card),
        }
    }

    /// All of a file, if that is no more than `limit` bytes.
    pub(super) fn read(
        &mut self,
        card: &mut Card<'_>,
        path: &Path,
        limit: usize,
    ) -> Result<Vec<u8>, CardError> {
        let information = self.select(card, path)?;
        if let Some(size) = information.size.filter(|size| *size > limit) {
            return Err(too_large(size, limit));
        }
        if information.has_records {
            return read_records(card, limit);
        }
        read_binary(card, information.size, limit)
    }

    fn select(&mut self, card: &mut Card<'_>, path: &Path) -> Result<Information, CardError> {
        let from_master = path.0.starts_with(&MF);
        let (forms, worked) = match from_master {
            true => (&FROM_MASTER[..], self.from_master),
            false => (&FROM_APPLICATION[..], self.from_application),
        };
        let mut refusal = None;
        for form in worked.as_slice().iter().chain(forms) {
            let is_relative = !from_master && !matches!(form, Form::Once(0x08, _));
            if is_relative {
                self.stay_inside(card)?;
            }
            let answer = select_in_form(card, path, *form)?;
            if answer.status == Status::Success {
                match from_master {
                    true => self.from_master = Some(*form),
                    false => self.from_application = Some(*form),
                }
                self.is_inside = !from_master;
                return Ok(information(&answer.data));
            }
            // Forms that are not understood are refused in many ways; one that was understood is believed.
            if worked == Some(*form) || answer.status == Status::Denied {
                refusal = Some(answer.status);
                break;
            }
            if answer.status == Status::NotFound || refusal.is_none() {
                refusal = Some(answer.status);
            }
        }
        let status = refusal.unwrap_or(Status::NotFound);
        let what = "selecting a file";
        Err(CardError::Refused { what, status })
    }
}

/// Selects an application by its identifier. UICCs want to be asked for the parameters of the file (ETSI TS 102 221
/// §11.1.1), others want not.
pub(super) fn select_application(card: &mut Card<'_>, aid: &[u8]) -> Result<Answer, CardError> {
    let (first, second) = match card.has_channel() {
        true => (0x04, 0x00),
        false => (0x00, 0x04),
    };
    let answer = select(card, 0x04, first, aid)?;
    match answer.status {
        Status::Success | Status::NotFound => Ok(answer),
        _ => select(card, 0x04, second, aid),
    }
}

fn select(card: &mut Card<'_>, p1: u8, p2: u8, data: &[u8]) -> Result<Answer, CardError> {
    card.send(Command {
        ins: SELECT,
        p1,
        p2,
        data,
        // ISO/IEC 7816-4 §7.1.1: P2 0C asks for no answer.
        le: (p2 & 0x0C != 0x0C).then_some(0),
    })
}

fn select_in_form(card: &mut Card<'_>, path: &Path, form: Form) -> Result<Answer, CardError> {
    let below = &path.0[2..];
    match form {
        // The whole path from the application with `7FFF`; from the master file without `3F00`.
        Form::Once(0x08, p2) if path.0.starts_with(&APPLICATION) => select(card, 0x08, p2, &path.0),
        Form::Once(p1, p2) => select(card, p1, p2, if below.is_empty() { &path.0 } else { below }),
        Form::Steps(p1, p2) => {
            let steps = match path.0.starts_with(&MF) {
                true => &path.0[..],
                false => below,
            };
            let (directories, file) = steps.split_at(steps.len().saturating_sub(2));
            for directory in directories.chunks(2) {
                let answer = select(card, 0x00, p2, directory)?;
                if answer.status != Status::Success {
                    return Ok(answer);
                }
            }
            select(card, p1, p2, file)
        }
    }
}

/// ISO/IEC 7816-4 §7.4.3: file control parameters; whatever is not understood is not known.
fn information(answer: &[u8]) -> Information {
    let budget = Budget::new();
    let mut information = Information::default();
    let Ok(Some(template)) = Reader::new(answer, &budget).next() else {
        return information;
    };
    let Ok(mut inner) = template.inner() else {
        return information;
    };
    while let Ok(Some(element)) = inner.next() {
        match (element.tag, element.value) {
            (0x80, _) => information.size = element.number().ok().map(|size| size as usize),
            (0x81, _) if information.size.is_none() => {
                information.size = element.number().ok().map(|size| size as usize);
            }
            // Structure: 1 is transparent, 2 to 6 have records; 38 in it is a directory.
            (0x82, [descriptor, ..]) => {
                information.has_records =
                    descriptor & 0x38 != 0x38 && matches!(descriptor & 7, 2..=6);
            }
            _ => {}
        }
    }
    information
}

fn read_binary(
    card: &mut Card<'_>,
    size: Option<usize>,
    limit: usize,
) -> Result<Vec<u8>, CardError> {
    let mut bytes = Vec::new();
    let end = size.unwrap_or(OFFSETS).min(OFFSETS);
    while bytes.len() < end {
        let offset = bytes.len();
        let left = end - offset;
        let answer = card.send(Command {
            ins: READ_BINARY,
            p1: (offset >> 8) as u8,
            p2: offset as u8,
            data: &[],
            // Up to 256, and that is written as 0.
            le: Some(u8::try_from(left).unwrap_or(0)),
        })?;
        let at_end = match answer.status {
            Status::Success => answer.data.is_empty(),
            Status::End => true,
            Status::Offset if size.is_none() || offset > 0 => true,
            status => {
                let what = "reading a file";
                return Err(CardError::Refused { what, status });
            }
        };
        bytes.extend(answer.data);
        if bytes.len() > limit {
            return Err(too_large(bytes.len(), limit));
        }
        if at_end {
            break;
        }
    }
    Ok(bytes)
}

fn read_records(card: &mut Card<'_>, limit: usize) -> Result<Vec<u8>, CardError> {
    let mut bytes = Vec::new();
    for record in 1..=RECORDS {
        let answer = card.send(Command {
            ins: READ_RECORD,
            p1: record,
            p2: 0x04,
            data: &[],
            le: Some(0),
        })?;
        match answer.status {
            Status::Success | Status::End => bytes.extend(answer.data),
            Status::NotFound => break,
            status => {
                let what = "reading a record";
                return Err(CardError::Refused { what, status });
            }
        }
        if bytes.len() > limit {
            return Err(too_large(bytes.len(), limit));
        }
    }
    Ok(bytes)
}

fn too_large(size: usize, limit: usize) -> CardError {
    CardError::Malformed(format!("a file of {size} bytes, {limit} are taken"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_are_taken_from_the_master_file_or_the_application() {
        let application = Path::application();
        let path = |bytes: &[u8]| Path::new(bytes, &application).map(|path| path.hex());
        assert_eq!(path(&[0x64, 0x30]).as_deref(), Some("7FFF6430"));
        assert_eq!(path(&[0x7F, 0xFF, 0x64, 0x30]).as_deref(), Some("7FFF6430"));
        assert_eq!(path(&[0x3F, 0, 0x50, 0x15]).as_deref(), Some("3F005015"));
        assert_eq!(path(&[]), None);
        assert_eq!(path(&[0x3F, 0, 0x50]), None);
        assert_eq!(path(&[1; 18]), None);
    }

    #[test]
    fn what_a_uicc_and_others_say_about_a_file() {
        let uicc = "621682024121830264308A01058B036F06028002007888 00";
        let known = information(&super::super::unhex(&uicc.replace(' ', "")).unwrap());
        assert_eq!((known.size, known.has_records), (Some(0x78), false));
        let records = information(&[0x6F, 6, 0x82, 1, 0x02, 0x81, 1, 9]);
        assert_eq!((records.size, records.has_records), (Some(9), true));
        assert_eq!(information(&[0x6F, 9, 0x80]), Information::default());
        assert_eq!(information(&[]), Information::default());
    }
}
