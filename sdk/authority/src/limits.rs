//! What a device, or whoever reaches the port, may cost. Every bound names the abuse that it stops.

use std::time::Duration;

/// Upper bounds of the server, all inclusive. [`Limits::default`] suits an authority of a few thousand devices.
///
/// choice: the specification sets neither sizes nor times; in particular it sets no time between packages.
#[derive(Debug, Clone)]
pub struct Limits {
    /// Open connections. Further ones are closed at once. Stops a flood of connections from filling memory.
    pub connections: usize,
    /// Open connections that present one certificate. Stops a single device from using up `connections`.
    pub connections_per_device: usize,
    /// From accept to the end of the TLS handshake. Stops peers that connect and say nothing.
    pub handshake: Duration,
    /// From the end of a response to the complete head of the next request. Stops a head that arrives byte by byte, and
    /// idle connections; a device that needs longer for its commands connects again.
    pub head: Duration,
    /// Bytes of a request head. Stops endless headers.
    pub head_bytes: usize,
    /// Header fields of a request. Stops heads that are small on the wire and dear in memory.
    pub headers: usize,
    /// Lifetime of a connection. Stops a transfer that is just fast enough for every other deadline.
    pub connection: Duration,
    /// Time without progress while a request body is read or a response is written. Stops peers that stop reading.
    pub stall: Duration,
    /// From the head to the end of a Package#1 or #3. Stops packages that arrive byte by byte.
    pub package: Duration,
    /// From the head to the end of an upload. Stops uploads that hold a temporary file for ever.
    pub upload: Duration,
    /// Bytes of an upload. Stops a device from filling the disk with one file.
    pub upload_bytes: u64,
    /// Bytes of all that one device may have uploaded. Stops a device from filling the disk with many files.
    pub uploads_bytes: u64,
    /// Files that one device may have uploaded. Stops a device from using up inodes.
    pub uploads_files: usize,
    /// Packages of one session; the server answers the next one with END. Stops a session that never ends.
    pub packages_per_session: usize,
    /// Commands of one Package#2. Stops answers that overwhelm a small device.
    pub batch_commands: usize,
    /// Bytes of the command parameters of one Package#2. The same.
    pub batch_bytes: usize,
    /// Bytes of one device's results file; then it is set aside as `.1`, and an older `.1` goes. Stops a device from
    /// filling the disk with alerts.
    pub journal_bytes: u64,
    /// Bytes of the body of a request for a certificate. Stops devices that send something else.
    pub certificate_request_bytes: usize,
    /// Time that open connections get at shutdown. Stops a slow device from holding up a restart.
    pub drain: Duration,
    /// Bounds on what the packages contain; `package_bytes` is also the bound of their HTTP bodies.
    pub protocol: bailiwick_protocol::Limits,
}

impl Default for Limits {
    fn default() -> Self {
        Limits {
            connections: 512,
            connections_per_device: 8,
            handshake: Duration::from_secs(10),
            head: Duration::from_secs(60),
            head_bytes: 16 << 10,
            headers: 64,
            connection: Duration::from_secs(3600),
            stall: Duration::from_secs(30),
            package: Duration::from_secs(30),
            upload: Duration::from_secs(600),
            upload_bytes: 64 << 20,
            uploads_bytes: 256 << 20,
            uploads_files: 1_000,
            packages_per_session: 256,
            batch_commands: 32,
            batch_bytes: 256 << 10,
            journal_bytes: 64 << 20,
            certificate_request_bytes: 16 << 10,
            drain: Duration::from_secs(10),
            protocol: bailiwick_protocol::Limits::DEFAULT,
        }
    }
}
