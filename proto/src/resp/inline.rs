//! Inline commands: a line of words, as typed into telnet.

use super::args::Arguments;

/// Splits a line into arguments as Redis does: words between spaces; `"..."` with `\n \r \t \b \a \xHH` and escaped
/// characters; `'...'` with `\'`. A closing quote must be followed by a space or the end. `false` if it is not, or if
/// a quote stays open.
pub(super) fn split(line: &[u8], arguments: &mut Arguments) -> bool {
    let mut rest = line;
    loop {
        while let [byte, after @ ..] = rest
            && is_space(*byte)
        {
            rest = after;
        }
        if rest.is_empty() {
            return true;
        }
        let start = arguments.bytes();
        match word(rest, arguments) {
            Some(after) => rest = after,
            None => return false,
        }
        arguments.finish_from(start);
    }
}

/// Copies one word and returns what follows it.
fn word<'a>(mut rest: &'a [u8], arguments: &mut Arguments) -> Option<&'a [u8]> {
    loop {
        match rest {
            [] => return Some(rest),
            [byte, ..] if is_space(*byte) || *byte == 0 => return Some(&rest[1..]),
            [b'"', quoted @ ..] => return ended(double_quoted(quoted, arguments)?),
            [b'\'', quoted @ ..] => return ended(single_quoted(quoted, arguments)?),
            [byte, after @ ..] => {
                arguments.push_byte(*byte);
                rest = after;
            }
        }
    }
}

fn ended(rest: &[u8]) -> Option<&[u8]> {
    rest.first()
        .is_none_or(|byte| is_space(*byte))
        .then_some(rest)
}

fn double_quoted<'a>(mut rest: &'a [u8], arguments: &mut Arguments) -> Option<&'a [u8]> {
    loop {
        let (byte, after) = match rest {
            [] => return None,
            [b'"', after @ ..] => return Some(after),
            [b'\\', b'x', high, low, after @ ..]
                if high.is_ascii_hexdigit() && low.is_ascii_hexdigit() =>
            {
                (hex(*high) << 4 | hex(*low), after)
            }
            [b'\\', escaped, after @ ..] => (unescape(*escaped), after),
            [byte, after @ ..] => (*byte, after),
        };
        arguments.push_byte(byte);
        rest = after;
    }
}

fn single_quoted<'a>(mut rest: &'a [u8], arguments: &mut Arguments) -> Option<&'a [u8]> {
    loop {
        let (byte, after) = match rest {
            [] => return None,
            [b'\'', after @ ..] => return Some(after),
            [b'\\', b'\'', after @ ..] => (b'\'', after),
            [byte, after @ ..] => (*byte, after),
        };
        arguments.push_byte(byte);
        rest = after;
    }
}

fn is_space(byte: u8) -> bool {
    byte.is_ascii_whitespace() || byte == 0x0b
}

fn hex(digit: u8) -> u8 {
    match digit {
        b'0'..=b'9' => digit - b'0',
        _ => (digit | 0x20) - b'a' + 10,
    }
}

fn unescape(byte: u8) -> u8 {
    match byte {
        b'n' => b'\n',
        b'r' => b'\r',
        b't' => b'\t',
        b'b' => 0x08,
        b'a' => 0x07,
        other => other,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn words(line: &[u8]) -> Option<Vec<Vec<u8>>> {
        let mut arguments = Arguments::new();
        split(line, &mut arguments).then(|| arguments.args().iter().map(<[u8]>::to_vec).collect())
    }

    #[test]
    fn words_and_quotes() {
        assert_eq!(
            words(b"  set  a b "),
            Some(vec![b"set".to_vec(), b"a".to_vec(), b"b".to_vec()])
        );
        assert_eq!(
            words(br#"set "a b" 'c d'"#),
            Some(vec![b"set".to_vec(), b"a b".to_vec(), b"c d".to_vec()])
        );
        assert_eq!(
            words(br#""\x41\n\q" 'it\'s' ''"#),
            Some(vec![b"A\nq".to_vec(), b"it's".to_vec(), vec![]])
        );
        assert_eq!(words(b""), Some(vec![]));
    }

    #[test]
    fn unbalanced_quotes_are_refused() {
        for line in [&br#""a"#[..], b"'a", br#""a"b"#, b"'a'b", br#"set "\"#] {
            assert_eq!(words(line), None, "{}", String::from_utf8_lossy(line));
        }
    }
}
