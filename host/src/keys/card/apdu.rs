//! Commands to a card and its answers (ISO/IEC 7816-4 §5): short and chained ones, what is fetched with GET RESPONSE,
//! lengths that the card corrects, logical channels; all of it counted.

use std::fmt;
use std::time::Instant;

use zeroize::Zeroizing;

use super::error::CardError;
use crate::keys::Effort;

/// Commands of one job. Stops a card that answers quickly and never comes to an end.
pub(super) const APDUS: u32 = 4_000;
/// What one command may bring, bytes. Stops a card that always has more.
pub(super) const ANSWER_BYTES: usize = 64 << 10;
/// Data of one command, bytes: extended length is not needed, and not every reader passes it on.
const DATA_BYTES: usize = 255;

const GET_RESPONSE: u8 = 0xC0;
const MANAGE_CHANNEL: u8 = 0x70;
const CHAINED: u8 = 0x10;

/// The way to a card: sends one command, and gives the answer with its status word.
pub(super) trait Link {
    /// Never waits longer than it may; an answer has at most 258 bytes.
    fn transmit(&mut self, command: &[u8]) -> Result<Vec<u8>, CardError>;

    /// Whether the card speaks T=0, in which a command that carries data asks for none.
    fn is_t0(&self) -> bool {
        false
    }
}

/// A command.
#[derive(Clone, Copy, Debug)]
pub(super) struct Command<'a> {
    pub(super) ins: u8,
    pub(super) p1: u8,
    pub(super) p2: u8,
    pub(super) data: &'a [u8],
    /// How much is wanted; 0: up to 256 bytes; `None`: nothing.
    pub(super) le: Option<u8>,
}

/// An answer.
#[derive(Debug)]
pub(super) struct Answer {
    pub(super) data: Vec<u8>,
    pub(super) status: Status,
}

impl Answer {
    /// The data of a command that succeeded.
    pub(super) fn success(self, what: &'static str) -> Result<Vec<u8>, CardError> {
        match self.status {
            Status::Success => Ok(self.data),
            status => Err(CardError::Refused { what, status }),
        }
    }
}

/// A status word, by what it means to us (ISO/IEC 7816-4 §5.6).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Status {
    /// 9000.
    Success,
    /// 6282: the file ended before that.
    End,
    /// 63Cx: wrong, and tries are left.
    Tries(u8),
    /// 6982: not without a PIN, or not at all.
    Denied,
    /// 6983: no tries left.
    Blocked,
    /// 6A82, 6A83, 6A88: no such file, record or data.
    NotFound,
    /// 6B00: beyond the end of a file.
    Offset,
    /// Any other.
    Other(u16),
}

impl From<u16> for Status {
    fn from(word: u16) -> Self {
        match word {
            0x9000 => Self::Success,
            0x6282 => Self::End,
            0x63C0..=0x63CF => Self::Tries((word & 0x0F) as u8),
            0x6982 => Self::Denied,
            0x6983 => Self::Blocked,
            0x6A82 | 0x6A83 | 0x6A88 => Self::NotFound,
            0x6B00 => Self::Offset,
            other => Self::Other(other),
        }
    }
}

impl fmt::Display for Status {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Success => f.write_str("done"),
            Self::End => f.write_str("end of file"),
            Self::Tries(left) => write!(f, "{left} tries left"),
            Self::Denied => f.write_str("not permitted"),
            Self::Blocked => f.write_str("blocked"),
            Self::NotFound => f.write_str("not found"),
            Self::Offset => f.write_str("beyond the end"),
            Self::Other(word) => write!(f, "{word:04X}"),
        }
    }
}

/// A card that is spoken to, on the basic channel or on one of its own.
pub(super) struct Card<'a> {
    link: &'a mut dyn Link,
    channel: u8,
    effort: Effort,
    /// A PIN was given to it.
    must_reset: bool,
}

impl<'a> Card<'a> {
    pub(super) fn new(link: &'a mut dyn Link) -> Self {
        Self {
            link,
            channel: 0,
            effort: Effort::default(),
            must_reset: false,
        }
    }

    /// A PIN is given to it: it is reset afterwards, since a card remembers that for whoever comes next.
    pub(super) fn expect_reset(&mut self) {
        self.must_reset = true;
    }

    pub(super) fn must_reset(&self) -> bool {
        self.must_reset
    }

    /// What it was asked so far.
    pub(super) fn effort(&self) -> Effort {
        self.effort
    }

    /// Whether it has a channel of its own.
    pub(super) fn has_channel(&self) -> bool {
        self.channel != 0
    }

    /// Takes a logical channel where the card has them, as UICCs do: on the basic one the modem may be at work.
    pub(super) fn open_channel(&mut self) -> Result<(), CardError> {
        let command = Command {
            ins: MANAGE_CHANNEL,
            p1: 0,
            p2: 0,
            data: &[],
            le: Some(1),
        };
        let answer = self.send(command)?;
        if let (Status::Success, [channel @ 1..=19]) = (answer.status, &answer.data[..]) {
            self.channel = *channel;
        }
        Ok(())
    }

    /// Gives the channel back. That a card refuses it is of no consequence.
    pub(super) fn close_channel(&mut self) -> Result<(), CardError> {
        let channel = std::mem::take(&mut self.channel);
        if channel != 0 {
            self.send(Command {
                ins: MANAGE_CHANNEL,
                p1: 0x80,
                p2: channel,
                data: &[],
                le: None,
            })?;
        }
        Ok(())
    }

    /// Sends a command, in several where its data need it, and gathers the answer.
    pub(super) fn send(&mut self, command: Command<'_>) -> Result<Answer, CardError> {
        let mut data = command.data;
        while data.len() > DATA_BYTES {
            let (piece, rest) = data.split_at(DATA_BYTES);
            let part = Command {
                data: piece,
                le: None,
                ..command
            };
            let (data_back, word) = self.exchange(CHAINED, part)?;
            if word != 0x9000 {
                return Ok(Answer {
                    data: data_back,
                    status: word.into(),
                });
            }
            data = rest;
        }
        let last = Command { data, ..command };
        let (mut data, mut word) = self.exchange(0, last)?;
        if word & 0xFF00 == 0x6C00 {
            let corrected = Command {
                le: Some(word as u8),
                ..last
            };
            (data, word) = self.exchange(0, corrected)?;
        }
        while word & 0xFF00 == 0x6100 {
            let fetch = Command {
                ins: GET_RESPONSE,
                p1: 0,
                p2: 0,
                data: &[],
                le: Some(word as u8),
            };
            let (more, next) = self.exchange(0, fetch)?;
            if data.len() + more.len() > ANSWER_BYTES {
                let problem = format!("an answer of more than {ANSWER_BYTES} bytes");
                return Err(CardError::Malformed(problem));
            }
            data.extend(more);
            word = next;
        }
        let status = word.into();
        Ok(Answer { data, status })
    }

    /// One command, one answer, one status word.
    fn exchange(&mut self, flags: u8, command: Command<'_>) -> Result<(Vec<u8>, u16), CardError> {
        if self.effort.apdus == APDUS {
            let problem = format!("more than {APDUS} commands were needed");
            return Err(CardError::Malformed(problem));
        }
        // A PIN may be in it.
        let bytes = Zeroizing::new(self.encode(flags, command));
        let begun = Instant::now();
        let answer = self.link.transmit(&bytes);
        self.effort.apdus += 1;
        self.effort.card_us += u64::try_from(begun.elapsed().as_micros()).unwrap_or(u64::MAX);
        let mut answer = answer?;
        let (Some(low), Some(high)) = (answer.pop(), answer.pop()) else {
            // Success with nothing in it: the card was pulled meanwhile.
            return Err(CardError::Lost);
        };
        Ok((answer, u16::from_be_bytes([high, low])))
    }

    fn encode(&self, flags: u8, command: Command<'_>) -> Vec<u8> {
        // ISO/IEC 7816-4 §5.4.1: channels 1 to 3, and 4 to 19.
        let class = match self.channel {
            channel @ 0..=3 => channel,
            channel => 0x40 | (channel - 4),
        };
        let Command {
            ins,
            p1,
            p2,
            data,
            le,
        } = command;
        let mut bytes = Vec::with_capacity(6 + data.len());
        bytes.extend([class | flags, ins, p1, p2]);
        if let (false, Ok(length)) = (data.is_empty(), u8::try_from(data.len())) {
            bytes.push(length);
            bytes.extend(data);
        }
        match le {
            Some(_) if self.link.is_t0() && !data.is_empty() => {}
            Some(le) => bytes.push(le),
            // A card that speaks T=0 gets five bytes at least.
            None if data.is_empty() && self.link.is_t0() => bytes.push(0),
            None => {}
        }
        bytes
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Says what is written, in order, and remembers what it was told.
    struct Script {
        answers: Vec<&'static str>,
        told: Vec<String>,
    }

    impl Link for Script {
        fn transmit(&mut self, command: &[u8]) -> Result<Vec<u8>, CardError> {
            self.told.push(super::super::hex(command));
            let answer = self.answers.remove(0);
            Ok(super::super::unhex(answer).unwrap())
        }
    }

    fn script(answers: &[&'static str]) -> Script {
        Script {
            answers: answers.to_vec(),
            told: Vec::new(),
        }
    }

    const READ: Command<'static> = Command {
        ins: 0xB0,
        p1: 0,
        p2: 0,
        data: &[],
        le: Some(0),
    };

    #[test]
    fn the_rest_is_fetched_and_lengths_are_corrected() {
        let mut link = script(&["6C03", "AA6102", "BBCC9000"]);
        let answer = Card::new(&mut link).send(READ).unwrap();
        assert_eq!(answer.success("reading").unwrap(), [0xAA, 0xBB, 0xCC]);
        assert_eq!(link.told, ["00B0000000", "00B0000003", "00C0000002"]);
    }

    #[test]
    fn long_data_are_chained_and_the_first_refusal_ends_it() {
        let data = [7; 300];
        let long = Command {
            data: &data,
            ..READ
        };
        let mut link = script(&["9000", "019000"]);
        let answer = Card::new(&mut link).send(long).unwrap();
        assert_eq!(answer.data, [1]);
        let lengths: Vec<usize> = link.told.iter().map(|told| told.len() / 2).collect();
        assert_eq!(lengths, [5 + 255, 5 + 45 + 1]);
        assert!(link.told[0].starts_with("10B00000FF07"));
        assert!(link.told[1].starts_with("00B000002D07"));

        let mut link = script(&["6884"]);
        let answer = Card::new(&mut link).send(long).unwrap();
        assert_eq!(answer.status, Status::Other(0x6884));
    }

    #[test]
    fn an_answer_without_a_status_is_a_card_that_went() {
        for nothing in ["", "90"] {
            let mut link = script(&[nothing]);
            let error = Card::new(&mut link).send(READ).unwrap_err();
            assert_eq!(error, CardError::Lost);
        }
    }

    #[test]
    fn a_card_that_always_has_more_is_refused() {
        struct More;
        impl Link for More {
            fn transmit(&mut self, _: &[u8]) -> Result<Vec<u8>, CardError> {
                Ok([&[0; 256][..], &[0x61, 0]].concat())
            }
        }
        let error = Card::new(&mut More).send(READ).unwrap_err();
        assert!(matches!(error, CardError::Malformed(_)));

        struct Nothing;
        impl Link for Nothing {
            fn transmit(&mut self, _: &[u8]) -> Result<Vec<u8>, CardError> {
                Ok(vec![0x61, 0])
            }
        }
        let mut nothing = Nothing;
        let mut card = Card::new(&mut nothing);
        assert!(matches!(card.send(READ), Err(CardError::Malformed(_))));
        assert_eq!(card.effort().apdus, APDUS);
    }

    #[test]
    fn channels_are_in_the_class_byte() {
        let mut link = script(&["029000", "9000", "9000"]);
        let mut card = Card::new(&mut link);
        card.open_channel().unwrap();
        card.send(READ).unwrap();
        card.close_channel().unwrap();
        card.close_channel().unwrap();
        assert_eq!(link.told, ["0070000001", "02B0000000", "00708002"]);
    }
}
