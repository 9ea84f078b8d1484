//! Passwords: kept for comparing, never shown.

use std::fmt;

/// A password. `Debug` hides it.
#[derive(Clone, PartialEq, Eq)]
pub(crate) struct Password(String);

impl Password {
    /// `None` if the text is empty: no password is asked for.
    pub(crate) fn new(text: &str) -> Option<Password> {
        (!text.is_empty()).then(|| Password(text.to_owned()))
    }

    /// Whether `attempt` is the password, in a time that does not depend on where they differ.
    pub(crate) fn matches(&self, attempt: &[u8]) -> bool {
        let password = self.0.as_bytes();
        let difference = password
            .iter()
            .zip(attempt)
            .fold(0, |difference, (left, right)| difference | (left ^ right));
        password.len() == attempt.len() && std::hint::black_box(difference) == 0
    }

    /// The text, for `CONFIG GET` by someone who has authenticated.
    pub(crate) fn text(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Password {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Password(hidden)")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_whole_password_matches() {
        let password = Password::new("secret").unwrap();
        assert!(password.matches(b"secret"));
        for attempt in ["", "secre", "secrets", "Secret"] {
            assert!(!password.matches(attempt.as_bytes()), "{attempt}");
        }
        assert_eq!(Password::new(""), None);
        assert!(!format!("{password:?}").contains("secret"));
    }
}
