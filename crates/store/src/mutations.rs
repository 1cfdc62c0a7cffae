//! Promises broken on purpose, so that the proof of the store can show that it would notice.
//!
//! Compiled only with the cargo feature `mutations`, which no product build enables; without it
//! all questions are the constant `false`. With it, `RAFTPBX_MUTATION` in the environment names
//! the promise to break: `local-reads`, `old-lease` or `skip-fsync`.
//! See `docs/internals/store-proof.md`.

/// Whether a read is answered from this node's state without a look at the lease.
#[cfg(not(feature = "mutations"))]
#[inline]
pub const fn reads_locally() -> bool {
    false
}

/// Whether a leader answers reads although its lease may be over.
#[cfg(not(feature = "mutations"))]
#[inline]
pub const fn trusts_old_lease() -> bool {
    false
}

/// Whether the next flush of the log is reported as done without being done.
#[cfg(not(feature = "mutations"))]
#[inline]
pub const fn skips_flush() -> bool {
    false
}

#[cfg(feature = "mutations")]
pub use broken::{reads_locally, skips_flush, trusts_old_lease};

#[cfg(feature = "mutations")]
mod broken {
    use std::sync::LazyLock;
    use std::sync::atomic::{AtomicU64, Ordering};

    /// One flush in this many is not done.
    const FLUSHES_TO_A_SKIP: u64 = 2;

    static MUTATION: LazyLock<String> =
        LazyLock::new(|| std::env::var("RAFTPBX_MUTATION").unwrap_or_default());

    static FLUSHES: AtomicU64 = AtomicU64::new(0);

    /// See the variant without the feature.
    pub fn reads_locally() -> bool {
        *MUTATION == "local-reads"
    }

    /// See the variant without the feature.
    pub fn trusts_old_lease() -> bool {
        *MUTATION == "old-lease"
    }

    /// See the variant without the feature.
    pub fn skips_flush() -> bool {
        *MUTATION == "skip-fsync"
            && FLUSHES
                .fetch_add(1, Ordering::Relaxed)
                .is_multiple_of(FLUSHES_TO_A_SKIP)
    }
}
