//! A stateful forking proxy (RFC 3261 section 16), without sockets, clocks or bytes in the
//! machine: which destinations are tried when, which response is passed on.
//!
//! ```text
//!             +--> branch 0 --+   1xx, 2xx: passed on at once
//!  request ---+--> branch 1 --+-> best of the others, when all are final (section 16.7)
//!             +--> (3xx) ...--+
//! ```
//! Owner of the state is the engine, which commits it before it sends what follows from it.
//! Invariant: after one `Conclude` or `Answer`, or once a 2xx was relayed, no other final
//! response comes out but further 2xx.
#![forbid(unsafe_code)]

mod choice;
pub mod forward;
pub mod hidden;
mod machine;
#[cfg(test)]
mod tests;
mod veil;

pub use choice::best;
pub use machine::{Branch, Effect, Input, Machine, Options, Progress, Timer};
pub use veil::{Place, Veil};

/// How long an INVITE may ring without news (RFC 3261 section 16.6, timer C), in ms.
pub const TIMER_C_MS: u64 = 185_000;

/// A duration as applications write it: `2s`, `1500ms`; None for nothing or nonsense.
pub fn duration_ms(text: &str) -> Option<u64> {
    let text = text.trim();
    let (digits, unit_ms) = match (text.strip_suffix("ms"), text.strip_suffix('s')) {
        (Some(digits), _) => (digits, 1),
        (None, Some(digits)) => (digits, 1_000),
        (None, None) => (text, 1_000),
    };
    let count: u64 = digits.trim().parse().ok()?;
    (count > 0).then(|| count.saturating_mul(unit_ms))
}
