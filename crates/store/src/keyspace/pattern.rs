//! Glob patterns as Redis matches them: `*`, `?`, `[a-z]`, `[^a]` and backslash escapes.

/// Whether `text` matches `pattern`. Takes at most `pattern.len() * text.len()` steps.
pub fn matches(pattern: &[u8], text: &[u8]) -> bool {
    let (mut p, mut t) = (0, 0);
    let mut star: Option<(usize, usize)> = None;
    while t < text.len() {
        let next = if p < pattern.len() && pattern[p] == b'*' {
            star = Some((p + 1, t));
            p += 1;
            continue;
        } else {
            one(&pattern[p..], text[t])
        };
        match (next, star) {
            (Some(used), _) => {
                p += used;
                t += 1;
            }
            (None, Some((after, from))) => {
                p = after;
                t = from + 1;
                star = Some((after, from + 1));
            }
            (None, None) => return false,
        }
    }
    pattern[p..].iter().all(|byte| *byte == b'*')
}

/// Matches one byte against the front of the pattern; answers how much of the pattern was used.
fn one(pattern: &[u8], byte: u8) -> Option<usize> {
    match pattern {
        [] => None,
        [b'?', ..] => Some(1),
        [b'\\', escaped, ..] => (*escaped == byte).then_some(2),
        [b'[', class @ ..] => class_matches(class, byte),
        [plain, ..] => (*plain == byte).then_some(1),
    }
}

fn class_matches(class: &[u8], byte: u8) -> Option<usize> {
    let negated = class.first() == Some(&b'^');
    let mut at = usize::from(negated);
    let mut found = false;
    while at < class.len() && class[at] != b']' {
        if class[at] == b'\\' && at + 1 < class.len() {
            at += 1;
        }
        if at + 2 < class.len() && class[at + 1] == b'-' && class[at + 2] != b']' {
            let (low, high) = (class[at].min(class[at + 2]), class[at].max(class[at + 2]));
            found |= (low..=high).contains(&byte);
            at += 3;
        } else {
            found |= class[at] == byte;
            at += 1;
        }
    }
    // The bracket that opened the class, and the one that closes it if there is one.
    let used = 1 + at + usize::from(at < class.len());
    (found != negated).then_some(used)
}

#[cfg(test)]
mod tests {
    use super::matches;

    #[test]
    fn patterns_match_as_in_redis() {
        for (pattern, text, expected) in [
            ("*", "", true),
            ("h?llo", "hello", true),
            ("h*llo", "heeeello", true),
            ("h[ae]llo", "hallo", true),
            ("h[^e]llo", "hello", false),
            ("h[a-b]llo", "hbllo", true),
            ("call:*", "call:1", true),
            ("call:*", "calls", false),
            ("a\\*b", "a*b", true),
            ("a\\*b", "axb", false),
            ("*a*b*c", "xxaxxbxxc", true),
            ("[", "a", false),
            ("", "a", false),
        ] {
            assert_eq!(
                matches(pattern.as_bytes(), text.as_bytes()),
                expected,
                "{pattern} {text}"
            );
        }
    }
}
