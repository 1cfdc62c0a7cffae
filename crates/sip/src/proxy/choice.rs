//! Which final response is passed on (RFC 3261 section 16.7, step 6).

/// Those of the 4xx that tell the caller how to succeed come first.
const HELPFUL: [u16; 5] = [401, 407, 415, 420, 484];

/// The index of the best of some final responses, none of them 2xx.
pub fn best(statuses: impl Iterator<Item = (usize, u16)>) -> Option<(usize, u16)> {
    statuses.min_by_key(|(branch, status)| (rank(*status), *branch))
}

/// Lower is better.
fn rank(status: u16) -> (u16, u16) {
    let class = status / 100;
    if class == 6 {
        return (0, 0);
    }
    let within = match status {
        _ if HELPFUL.contains(&status) => 0,
        // "Nobody answered" says less than any answer.
        408 | 503 => 2,
        _ => 1,
    };
    (class, within)
}
