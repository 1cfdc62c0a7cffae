//! Every bound of the store, each with its reason. Full means a counted refusal, never growth.

/// Voters in a cluster: more than seven only slows commits down.
pub const PEERS_MAX: usize = 7;
