//! The answer to a `GET` whose value the node would have to wait for, because it has to be loaded from the key's origin.
//!
//! Replies leave a pipe in order, so none may wait for an origin. Whoever sent the `GET` asks again, by a call that
//! waits (`Data.Get`), and tells his client what comes of that: no RESP client ever sees this answer.

use crate::resp::{Output, integer};

/// The first word of the answer.
const CODE: &[u8] = b"FILLING ";

/// Writes the answer. `wait_ms`: how long the load may take at most.
pub fn write(out: &mut Output, wait_ms: u64) {
    let mut number = itoa::Buffer::new();
    out.error(&["FILLING ", number.format(wait_ms)].concat());
}

/// How long the load may take, in milliseconds, if this error, given without the minus sign, is such an answer.
pub fn wait_ms(error: &[u8]) -> Option<u64> {
    let number = integer(error.strip_prefix(CODE)?.trim_ascii_end())?;
    u64::try_from(number).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_is_read() {
        let mut out = Output::default();
        write(&mut out, 2500);
        let written = out.take();
        assert_eq!(written, &b"-FILLING 2500\r\n"[..]);
        assert_eq!(wait_ms(&written[1..]), Some(2500));
        for other in [
            &b"FILLING"[..],
            b"FILLING x",
            b"ERR FILLING 1",
            b"FILLING -1",
        ] {
            assert_eq!(wait_ms(other), None);
        }
    }
}
