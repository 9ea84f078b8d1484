//! The answer to a `GET` whose value the node would have to wait for, because it has to be loaded from the key's origin.
//!
//! Replies leave a pipe in order, so none may wait for an origin. Whoever sent the `GET` asks again, by a call that
//! waits (`Data.Get`), and tells his client what comes of that: no RESP client ever sees this answer.

use crate::{
    load_reply::ABSENT,
    resp::{Output, integer},
};

/// How a load ends of which the origin says that there is nothing: no failure to who has sent a `GET`.
pub const NOTHING: &[u8] = ABSENT.as_bytes();

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

/// What a load that ended so has failed for; `None`: there is nothing, which is no failure.
pub fn failure(message: &[u8]) -> Option<String> {
    (message != NOTHING).then(|| String::from_utf8_lossy(message).into_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn that_there_is_nothing_is_no_failure() {
        assert_eq!(failure(NOTHING), None);
        assert_eq!(failure(b"img: 503").as_deref(), Some("img: 503"));
    }

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
