//! What is signed.

/// What `Prove` signs: a context, the SrvID with its length, the nonce, and the number of the process that has connected,
/// numbers with 32 bits in big endian. So the signature serves for this authority on this connection alone.
pub fn proof(authority: &str, nonce: &[u8], process: u32) -> Vec<u8> {
    let length = u32::try_from(authority.len()).unwrap_or(u32::MAX);
    [
        b"bailiwick local application 1\0".as_slice(),
        &length.to_be_bytes(),
        authority.as_bytes(),
        nonce,
        &process.to_be_bytes(),
    ]
    .concat()
}
