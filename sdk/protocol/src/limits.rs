//! What an input may cost. Every reader of this crate takes its bounds from here and applies them before it builds anything.

/// Upper bounds, all inclusive. [`Limits::default`] suits a small device.
///
/// choice: the specification sets no limits; each field names the abuse that it stops.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// Bytes of a Package#1, #2 or #3, or of a bootstrap document. Stops a peer from filling the memory.
    pub package_bytes: usize,
    /// Bytes of one MO serialization body (the answer to an HGET), and of all paths in its list of nodes. Stops a
    /// repository from filling the memory, and long names above many leaves from multiplying there.
    pub object_bytes: usize,
    /// Bytes of a Package#0. Stops a notification bearer from being used to carry bulk data.
    pub notification_bytes: usize,
    /// Levels of JSON arrays and objects, of XML elements below the root of a DDF, and of nodes in a path.
    /// Stops nesting that overflows the stack of a recursive reader, or of the destructor behind it.
    pub depth: usize,
    /// JSON values in a document, and nodes in an object. Stops `[[],[],…]`, which costs twenty times its size in memory.
    pub nodes: usize,
    /// Bytes of a node name, a MOID or a MIID. Stops names that cost more in every index and log line than they say.
    pub name_bytes: usize,
    /// Bytes of a ClientURI or ServerURI. Stops queries built to make resolution slow.
    pub uri_bytes: usize,
    /// Bytes of one leaf value, after decoding. Stops a leaf from filling the store.
    pub value_bytes: usize,
    /// Commands in a Package#2, and statuses or alerts in a package. Stops a session that never ends.
    pub commands: usize,
    /// Parameters of one command. Stops an HPUT that gathers the whole tree piece by piece.
    pub parameters: usize,
    /// Bytes of a DDF document. Stops a link to something that is not a DDF.
    pub ddf_bytes: usize,
    /// Nodes described by a DDF. Stops a description that is dearer to check than its object.
    pub ddf_nodes: usize,
}

impl Limits {
    /// The bounds behind every reader that takes no `Limits`, such as [`str::parse`].
    pub const DEFAULT: Limits = Limits {
        package_bytes: 1 << 20,
        object_bytes: 8 << 20,
        notification_bytes: 1 << 10,
        depth: 32,
        nodes: 20_000,
        name_bytes: 255,
        uri_bytes: 4 << 10,
        value_bytes: 4 << 20,
        commands: 256,
        parameters: 64,
        ddf_bytes: 512 << 10,
        ddf_nodes: 4_000,
    };
}

impl Default for Limits {
    fn default() -> Self {
        Self::DEFAULT
    }
}

/// What an error message quotes of an input: enough to find it, too little to flood a log.
pub(crate) fn excerpt(text: &str) -> String {
    text.chars().take(48).collect()
}
