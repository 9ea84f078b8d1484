//! Answers of a node that has certainly not executed a command, and would or should not have been asked.
//!
//! Whoever gets one may send the command again: to the node that is named, or after a while, or once the topology has
//! changed. No other error says that a command was not executed for a reason that passes.

/// The codes, each the first word of an error.
const CODES: [&[u8]; 6] = [
    b"MOVED",
    b"TRYAGAIN",
    b"CLUSTERDOWN",
    b"LOADING",
    b"MASTERDOWN",
    b"READONLY",
];

/// Whether an error, given without the minus sign, is a refusal.
pub fn is_refusal(error: &[u8]) -> bool {
    let code = error
        .split(|&byte| byte == b' ' || byte == b'\r')
        .next()
        .unwrap_or_default();
    CODES.contains(&code)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_refusal_is_known_by_its_first_word() {
        for error in ["MOVED 1 a:1", "LOADING", "CLUSTERDOWN\r\n"] {
            assert!(is_refusal(error.as_bytes()), "{error}");
        }
        for error in ["", "MOVEDX 1", "UNCERTAIN", "ERR MOVED"] {
            assert!(!is_refusal(error.as_bytes()), "{error}");
        }
    }
}
