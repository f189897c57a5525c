//! BER-TLV (ISO/IEC 7816-4 §5.2.2, X.690), read where it lies: whatever a card says, the work and the depth are bounded,
//! and nothing is allocated.

use std::cell::Cell;

/// Elements of one file. Stops a file that consists of nothing but empty elements.
pub(super) const ELEMENTS: u32 = 4_096;
/// How deep elements may lie in each other. PKCS#15 needs nine, a certificate's public key four.
const DEPTH: u8 = 16;

/// What is wrong with an element.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub(super) enum TlvError {
    #[error("an element ends in its header")]
    Header,
    #[error("a tag of more than three bytes")]
    Tag,
    #[error("a length that is not given")]
    Indefinite,
    #[error("a value of {wanted} bytes in {left} left")]
    Length { wanted: u64, left: usize },
    #[error("more than {ELEMENTS} elements")]
    Count,
    #[error("elements more than {DEPTH} deep")]
    Depth,
    #[error("an element of tag {wanted:X} is missing")]
    Missing { wanted: u32 },
    #[error("{0}")]
    Value(&'static str),
}

/// How many elements may still be read; one for all readers of a file.
pub(super) struct Budget(Cell<u32>);

impl Budget {
    pub(super) fn new() -> Self {
        Self(Cell::new(ELEMENTS))
    }

    fn spend(&self) -> Result<(), TlvError> {
        let left = self.0.get().checked_sub(1).ok_or(TlvError::Count)?;
        self.0.set(left);
        Ok(())
    }
}

/// Elements, one after the other.
#[derive(Clone)]
pub(super) struct Reader<'a> {
    rest: &'a [u8],
    depth: u8,
    budget: &'a Budget,
}

/// One element.
#[derive(Clone)]
pub(super) struct Element<'a> {
    /// All bytes of it, e.g. `0x30`, `0xA1`, `0x7F49`.
    pub(super) tag: u32,
    pub(super) value: &'a [u8],
    /// Header and value.
    pub(super) whole: &'a [u8],
    depth: u8,
    budget: &'a Budget,
}

impl<'a> Reader<'a> {
    pub(super) fn new(bytes: &'a [u8], budget: &'a Budget) -> Self {
        Self {
            rest: bytes,
            depth: 0,
            budget,
        }
    }

    /// The next element; `None` at the end.
    pub(super) fn next(&mut self) -> Result<Option<Element<'a>>, TlvError> {
        if self.rest.is_empty() {
            return Ok(None);
        }
        self.budget.spend()?;
        let begun = self.rest;
        let (tag, rest) = tag(begun)?;
        let (length, rest) = length(rest)?;
        let left = rest.len();
        let wanted = usize::try_from(length).unwrap_or(usize::MAX);
        let Some((value, rest)) = rest.split_at_checked(wanted) else {
            return Err(TlvError::Length {
                wanted: length.into(),
                left,
            });
        };
        let whole = &begun[..begun.len() - rest.len()];
        self.rest = rest;
        Ok(Some(Element {
            tag,
            value,
            whole,
            depth: self.depth,
            budget: self.budget,
        }))
    }

    /// The next element of a file, in which bytes 00 and FF may lie before, between and after elements.
    pub(super) fn next_in_file(&mut self) -> Result<Option<Element<'a>>, TlvError> {
        let padding = |byte: &u8| matches!(byte, 0x00 | 0xFF);
        let begin = self.rest.iter().position(|byte| !padding(byte));
        self.rest = &self.rest[begin.unwrap_or(self.rest.len())..];
        self.next()
    }

    /// The next element, which must have this tag.
    pub(super) fn expect(&mut self, wanted: u32) -> Result<Element<'a>, TlvError> {
        self.optional(wanted)?.ok_or(TlvError::Missing { wanted })
    }

    /// The next element if it has this tag.
    pub(super) fn optional(&mut self, wanted: u32) -> Result<Option<Element<'a>>, TlvError> {
        let mut ahead = self.clone();
        match ahead.next()? {
            Some(element) if element.tag == wanted => {
                *self = ahead;
                Ok(Some(element))
            }
            _ => Ok(None),
        }
    }

    /// The first element of this tag among those that are left.
    pub(super) fn find(mut self, wanted: u32) -> Result<Option<Element<'a>>, TlvError> {
        while let Some(element) = self.next()? {
            if element.tag == wanted {
                return Ok(Some(element));
            }
        }
        Ok(None)
    }
}

impl<'a> Element<'a> {
    /// What is in it.
    pub(super) fn inner(&self) -> Result<Reader<'a>, TlvError> {
        if self.depth == DEPTH {
            return Err(TlvError::Depth);
        }
        Ok(Reader {
            rest: self.value,
            depth: self.depth + 1,
            budget: self.budget,
        })
    }

    /// A number that is not negative; leading zeros do not count.
    pub(super) fn number(&self) -> Result<u32, TlvError> {
        let zeros = self.value.iter().take_while(|byte| **byte == 0).count();
        let digits = &self.value[zeros..];
        if self.value.is_empty() || digits.len() > 4 {
            return Err(TlvError::Value("a number of no bytes, or of too many"));
        }
        Ok(digits
            .iter()
            .fold(0, |number, byte| number << 8 | u32::from(*byte)))
    }

    /// Whether bit `bit` of a BIT STRING is set; X.680 counts from the first.
    pub(super) fn bit(&self, bit: usize) -> bool {
        let byte = self.value.get(1 + bit / 8).copied().unwrap_or(0);
        byte & (0x80 >> (bit % 8)) != 0
    }
}

fn tag(bytes: &[u8]) -> Result<(u32, &[u8]), TlvError> {
    let (&first, mut rest) = bytes.split_first().ok_or(TlvError::Header)?;
    let mut tag = u32::from(first);
    if first & 0x1F != 0x1F {
        return Ok((tag, rest));
    }
    for _ in 0..2 {
        let (&byte, more) = rest.split_first().ok_or(TlvError::Header)?;
        tag = tag << 8 | u32::from(byte);
        rest = more;
        if byte & 0x80 == 0 {
            return Ok((tag, rest));
        }
    }
    Err(TlvError::Tag)
}

fn length(bytes: &[u8]) -> Result<(u32, &[u8]), TlvError> {
    let (&first, rest) = bytes.split_first().ok_or(TlvError::Header)?;
    match first {
        0..0x80 => Ok((first.into(), rest)),
        0x80 => Err(TlvError::Indefinite),
        0x81..=0x84 => {
            let digits = rest
                .split_at_checked(usize::from(first & 0x7F))
                .ok_or(TlvError::Header)?;
            let length = digits.0.iter().fold(0, |n, byte| n << 8 | u32::from(*byte));
            Ok((length, digits.1))
        }
        _ => Err(TlvError::Header),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn first(bytes: &[u8]) -> Result<Option<(u32, Vec<u8>)>, TlvError> {
        let budget = Budget::new();
        let element = Reader::new(bytes, &budget).next()?;
        Ok(element.map(|element| (element.tag, element.value.to_vec())))
    }

    #[test]
    fn lengths_of_all_forms() {
        for header in [
            &[4, 2][..],
            &[4, 0x81, 2],
            &[4, 0x82, 0, 2],
            &[4, 0x84, 0, 0, 0, 2],
        ] {
            let bytes = [header, b"ab"].concat();
            assert_eq!(first(&bytes), Ok(Some((4, b"ab".to_vec()))));
        }
        assert_eq!(first(&[0x7F, 0x49, 0]), Ok(Some((0x7F49, vec![]))));
        assert_eq!(first(&[]), Ok(None));
    }

    #[test]
    fn what_cannot_be_is_refused_before_it_is_taken() {
        let length = |wanted, left| Err(TlvError::Length { wanted, left });
        assert_eq!(first(&[4, 3, 1, 2]), length(3, 2));
        assert_eq!(
            first(&[0xA4, 0x84, 0xFF, 0xFF, 0xFF, 0xF0, 1]),
            length(0xFFFF_FFF0, 1)
        );
        assert_eq!(first(&[0xA4, 0x80, 0, 0]), Err(TlvError::Indefinite));
        assert_eq!(first(&[4, 0x85, 0, 0, 0, 0, 0]), Err(TlvError::Header));
        assert_eq!(first(&[4]), Err(TlvError::Header));
        assert_eq!(first(&[0x1F, 0x81, 0x81, 1, 0]), Err(TlvError::Tag));
    }

    #[test]
    fn elements_and_depth_are_counted() {
        let budget = Budget::new();
        let many = [5, 0].repeat(ELEMENTS as usize + 1);
        let mut reader = Reader::new(&many, &budget);
        for _ in 0..ELEMENTS {
            assert!(matches!(reader.next(), Ok(Some(_))));
        }
        assert!(matches!(reader.next(), Err(TlvError::Count)));

        let budget = Budget::new();
        let deep: Vec<u8> = (0..60).rev().flat_map(|inner| [0x30, 2 * inner]).collect();
        let mut reader = Reader::new(&deep, &budget);
        let mut depth = 0;
        let error = loop {
            let element = reader.next().unwrap().unwrap();
            match element.inner() {
                Ok(inner) => reader = inner,
                Err(error) => break error,
            }
            depth += 1;
        };
        assert_eq!((error, depth), (TlvError::Depth, DEPTH));
    }

    #[test]
    fn padding_is_no_element() {
        let budget = Budget::new();
        let file = [0, 0xFF, 4, 1, 7, 0, 0, 5, 0, 0xFF];
        let mut reader = Reader::new(&file, &budget);
        let tags: Vec<u32> = std::iter::from_fn(|| reader.next_in_file().unwrap())
            .map(|element| element.tag)
            .collect();
        assert_eq!(tags, [4, 5]);
    }
}
