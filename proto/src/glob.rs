//! Patterns of keys, as KEYS and SCAN take them.
//!
//! Source: redis-server 7.2, `stringmatchlen` in `util.c`, quirks included: an unclosed class ends with the pattern, a
//! range may be given backwards, and only `*` alone matches the empty key. Unlike there, which recurses, matching takes
//! at most the pattern's length times the key's: the last `*` alone is tried again. Ranges compare bytes without sign;
//! there that depends on the machine.

/// Whether the whole text fits the pattern.
pub fn matches(pattern: &[u8], text: &[u8]) -> bool {
    if text.is_empty() {
        return matches!(pattern, b"" | b"*");
    }
    let (mut pattern, mut text) = (pattern, text);
    // What follows the last star, and the text from where that was tried last.
    let mut retry = None;
    loop {
        if let [b'*', rest @ ..] = pattern {
            if rest.is_empty() {
                return true;
            }
            pattern = rest;
            retry = Some((pattern, text));
            continue;
        }
        let Some((&byte, rest)) = text.split_first() else {
            return pattern.is_empty();
        };
        if let Some(after) = element(pattern, byte) {
            (pattern, text) = (after, rest);
            continue;
        }
        let Some((after, [_, from @ ..])) = retry else {
            return false;
        };
        retry = Some((after, from));
        (pattern, text) = (after, from);
    }
}

/// What follows the pattern's first element, if the byte fits that.
fn element(pattern: &[u8], byte: u8) -> Option<&[u8]> {
    match pattern {
        [] => None,
        [b'?', rest @ ..] => Some(rest),
        [b'[', b'^', class @ ..] => outside(class, byte),
        [b'[', class @ ..] => inside(class, byte),
        [b'\\', literal, rest @ ..] | [literal, rest @ ..] => (*literal == byte).then_some(rest),
    }
}

fn inside(class: &[u8], byte: u8) -> Option<&[u8]> {
    let (fits, rest) = scan_class(class, byte);
    fits.then_some(rest)
}

fn outside(class: &[u8], byte: u8) -> Option<&[u8]> {
    let (fits, rest) = scan_class(class, byte);
    (!fits).then_some(rest)
}

/// Whether the byte is in the class, and what follows the class.
fn scan_class(mut class: &[u8], byte: u8) -> (bool, &[u8]) {
    let mut fits = false;
    loop {
        class = match class {
            [] => return (fits, class),
            [b'\\', literal, rest @ ..] => {
                fits |= *literal == byte;
                rest
            }
            [b']', rest @ ..] => return (fits, rest),
            [start, b'-', end, rest @ ..] => {
                fits |= (*start.min(end)..=*start.max(end)).contains(&byte);
                rest
            }
            [literal, rest @ ..] => {
                fits |= *literal == byte;
                rest
            }
        };
    }
}

#[cfg(test)]
mod tests {
    use super::matches;

    #[test]
    fn patterns_fit_what_redis_says_they_fit() {
        let cases: &[(&str, &str, bool)] = &[
            ("*", "", true),
            ("**", "", false),
            ("", "", true),
            ("", "a", false),
            ("a*", "a", true),
            ("a**", "a", true),
            ("*a", "bca", true),
            ("*a", "ab", false),
            ("a*b*c", "a1b2c", true),
            ("a*b*c", "acb", false),
            ("h?llo", "hello", true),
            ("h?llo", "hllo", false),
            ("h[ae]llo", "hallo", true),
            ("h[^e]llo", "hello", false),
            ("h[^e]llo", "hbllo", true),
            ("h[a-c]llo", "hbllo", true),
            ("h[c-a]llo", "hbllo", true),
            ("h[a-c]llo", "hdllo", false),
            (r"\*", "*", true),
            (r"\*", "a", false),
            (r"a\", r"a\", true),
            (r"[\]]", "]", true),
            ("[abc", "b", true),
            ("[^", "b", true),
            ("[", "[", false),
            ("[]", "]", false),
            ("[a-]", "-", false),
        ];
        for &(pattern, text, fits) in cases {
            assert_eq!(
                matches(pattern.as_bytes(), text.as_bytes()),
                fits,
                "{pattern} {text}"
            );
        }
    }

    #[test]
    fn many_stars_take_no_exponential_time() {
        let text = "a".repeat(20_000);
        let pattern = "a*".repeat(5_000) + "b";
        assert!(!matches(pattern.as_bytes(), text.as_bytes()));
    }
}
