//! The one door through which JSON enters: size, nesting and number of values are known before `serde_json` builds a tree.
