//! Certificates that are compressed to fit (NIST SP 800-73-4 part 1, appendix A: `CertInfo`): gzip (RFC 1952), bounded.

use miniz_oxide::inflate::decompress_to_vec_with_limit;

/// Flags of what follows the header.
const CHECKSUM: u8 = 1 << 1;
const EXTRA: u8 = 1 << 2;
const NAME: u8 = 1 << 3;
const COMMENT: u8 = 1 << 4;

/// What a gzip member holds, if that is at most `limit` bytes. Its checksum is not looked at: a certificate has a signature.
pub(super) fn inflate(member: &[u8], limit: usize) -> Result<Vec<u8>, String> {
    let deflated = deflated(member).ok_or("it is not compressed as it says")?;
    decompress_to_vec_with_limit(deflated, limit)
        .map_err(|_| format!("it cannot be decompressed, or not into {limit} bytes"))
}

fn deflated(member: &[u8]) -> Option<&[u8]> {
    let [0x1F, 0x8B, 8, flags, _, _, _, _, _, _, rest @ ..] = member else {
        return None;
    };
    let mut rest = rest;
    if flags & EXTRA != 0 {
        let length = rest.first_chunk().map(|bytes| u16::from_le_bytes(*bytes))?;
        rest = rest.get(2 + usize::from(length)..)?;
    }
    for flag in [NAME, COMMENT] {
        if flags & flag != 0 {
            let end = rest.iter().position(|byte| *byte == 0)?;
            rest = &rest[end + 1..];
        }
    }
    if flags & CHECKSUM != 0 {
        rest = rest.get(2..)?;
    }
    Some(rest)
}

#[cfg(test)]
mod tests {
    use super::*;
    use miniz_oxide::deflate::compress_to_vec;

    fn member(flags: u8, between: &[u8], content: &[u8]) -> Vec<u8> {
        let header = [0x1F, 0x8B, 8, flags, 0, 0, 0, 0, 0, 3];
        [&header, between, &compress_to_vec(content, 6), &[0; 8]].concat()
    }

    #[test]
    fn members_with_and_without_a_longer_header() {
        let all = CHECKSUM | EXTRA | NAME | COMMENT;
        for member in [
            member(0, b"", b"content"),
            member(all, b"\x02\0xyname\0comment\0cc", b"content"),
        ] {
            assert_eq!(inflate(&member, 7).unwrap(), b"content");
            assert!(inflate(&member, 6).is_err());
            for end in 0..member.len() - 8 {
                let _never_panics = inflate(&member[..end], 100);
            }
        }
        assert!(inflate(b"\x30\x82\x01\x00 no gzip", 100).is_err());
    }

    #[test]
    fn a_bomb_is_not_inflated() {
        let bomb = member(0, b"", &[0; 1 << 22]);
        assert!(bomb.len() < 16 << 10);
        assert!(inflate(&bomb, 16 << 10).is_err());
    }
}
