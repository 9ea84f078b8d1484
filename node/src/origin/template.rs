//! Where an origin has the value of a key: a URL with a place for the key.

use std::fmt::Write;

use hyper::Uri;

/// A URL with `{key}`, or `{rest}` for what comes after the prefix, at least once.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Template {
    /// `http://host:port`; nothing of a key gets here.
    base: String,
    /// What follows.
    pieces: Vec<Piece>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Piece {
    Text(String),
    Key {
        /// Without the prefix.
        rest: bool,
        /// In the query: there a slash is written as `%2F`.
        in_query: bool,
    },
}

impl Template {
    /// Reads a template; an error says what would do.
    pub(crate) fn parse(text: &str) -> Result<Template, String> {
        let Some((scheme, after)) = text.split_once("://") else {
            return Err("a URL that begins with http:// or https:// will do".into());
        };
        if !matches!(scheme, "http" | "https") {
            return Err("a URL that begins with http:// or https:// will do".into());
        }
        let (authority, path) = after.split_at(after.find(['/', '?']).unwrap_or(after.len()));
        if authority.is_empty() || authority.contains(['{', '}', '@', '#']) {
            return Err("a host, or a host and a port, must follow the ://".into());
        }
        let template = Template {
            base: format!("{scheme}://{authority}"),
            pieces: pieces(path)?,
        };
        let has_key = template
            .pieces
            .iter()
            .any(|piece| matches!(piece, Piece::Key { .. }));
        if !has_key {
            return Err("{key}, or {rest} for what comes after the prefix, must be in it".into());
        }
        template.url(b"x", 0).map_err(|why| why.to_string())?;
        Ok(template)
    }

    /// Whether TLS is spoken.
    pub(crate) fn is_https(&self) -> bool {
        self.base.starts_with("https:")
    }

    /// The host, and the port if one was named.
    pub(crate) fn authority(&self) -> &str {
        self.base.split_once("://").map_or("", |(_, host)| host)
    }

    /// The URL of a key whose prefix has so many bytes; or why there is none.
    ///
    /// A key comes from whoever may send a command. Dots that lead out of the template's path are no key's business,
    /// and an encoded dot means the same to many servers: such keys have no URL.
    pub(crate) fn url(&self, key: &[u8], prefix: usize) -> Result<Uri, &'static str> {
        let mut url = self.base.clone();
        if !matches!(self.pieces.first(), Some(Piece::Text(text)) if text.starts_with('/')) {
            url.push('/');
        }
        let path_from = url.len();
        for piece in &self.pieces {
            match *piece {
                Piece::Text(ref text) => url.push_str(text),
                Piece::Key { rest, in_query } => {
                    let from = if rest { prefix.min(key.len()) } else { 0 };
                    encode(&key[from..], in_query, &mut url);
                }
            }
        }
        let path = url[path_from..].split('?').next().unwrap_or_default();
        if path.split('/').any(|segment| matches!(segment, "." | "..")) {
            return Err("a URL has no room for a segment . or ..");
        }
        url.parse().map_err(|_| "the key makes no URL")
    }
}

/// The parts of what follows the host.
fn pieces(text: &str) -> Result<Vec<Piece>, String> {
    let (mut pieces, mut rest, mut in_query) = (Vec::new(), text, false);
    if rest.contains('#') {
        return Err("a URL without a # will do: servers never see what follows it".into());
    }
    while !rest.is_empty() {
        let at = rest.find(['{', '}']).unwrap_or(rest.len());
        let (plain, after) = rest.split_at(at);
        in_query |= plain.contains('?');
        if !plain.is_empty() {
            pieces.push(Piece::Text(plain.to_owned()));
        }
        rest = after;
        for (word, is_rest) in [("{key}", false), ("{rest}", true)] {
            if let Some(after) = rest.strip_prefix(word) {
                pieces.push(Piece::Key {
                    rest: is_rest,
                    in_query,
                });
                rest = after;
            }
        }
        if rest.len() == after.len() && !rest.is_empty() {
            return Err("between braces only {key} and {rest} will do".into());
        }
    }
    Ok(pieces)
}

/// Writes everything that means something in a URL as a percent sign and two digits.
fn encode(bytes: &[u8], in_query: bool, url: &mut String) {
    for &byte in bytes {
        let plain =
            byte.is_ascii_alphanumeric() || b"-._~".contains(&byte) || byte == b'/' && !in_query;
        if plain {
            url.push(char::from(byte));
        } else {
            let _ = write!(url, "%{byte:02X}");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn url(template: &str, key: &str, prefix: usize) -> String {
        let template = Template::parse(template).unwrap();
        match template.url(key.as_bytes(), prefix) {
            Ok(url) => url.to_string(),
            Err(why) => why.to_owned(),
        }
    }

    #[test]
    fn a_key_is_encoded_where_it_stands() {
        let bucket = "https://bucket.example/images/{rest}";
        assert_eq!(
            url(bucket, "img:a/b.jpg", 4),
            "https://bucket.example/images/a/b.jpg"
        );
        assert_eq!(
            url(bucket, "img:ä ?#&%", 4),
            "https://bucket.example/images/%C3%A4%20%3F%23%26%25"
        );
        assert_eq!(
            url("http://a:9000/find?id={key}&v=1", "u/1&x=2", 0),
            "http://a:9000/find?id=u%2F1%26x%3D2&v=1"
        );
        assert_eq!(url("http://a?k={rest}", "p:1", 2), "http://a/?k=1");
        assert_eq!(
            url("http://a/{key}/{rest}.json", "p:1", 2),
            "http://a/p%3A1/1.json"
        );
        assert_eq!(url("http://a/{rest}", "p:", 2), "http://a/");
    }

    #[test]
    fn no_key_leads_out_of_the_path() {
        let bucket = "http://a/images/{rest}";
        for key in ["../secret", "..", "a/../../b", ".", "a/./b"] {
            assert_eq!(
                url(bucket, key, 0),
                "a URL has no room for a segment . or .."
            );
        }
        assert_eq!(url(bucket, "%2e%2e/b", 0), "http://a/images/%252e%252e/b");
        assert_eq!(url(bucket, "..a/b..", 0), "http://a/images/..a/b..");
        assert_eq!(url("http://a/x?{rest}", "../b", 0), "http://a/x?..%2Fb");
        assert_eq!(url(bucket, &"x".repeat(70_000), 0), "the key makes no URL");
    }

    #[test]
    fn what_is_no_template_says_what_would_do() {
        for (text, says) in [
            ("ftp://a/{key}", "http:// or https://"),
            ("a/{key}", "http:// or https://"),
            ("http:///{key}", "a host"),
            ("http://{key}/", "a host"),
            ("http://user@a/{key}", "a host"),
            ("http://a/", "{key}"),
            ("http://a/{name}", "only {key} and {rest}"),
            ("http://a/{key", "only {key} and {rest}"),
            ("http://a/key}", "only {key} and {rest}"),
            ("http://a/{key}#x", "without a #"),
            ("http://a b/{key}", "URL"),
            ("http://a/../{key}", ". or .."),
        ] {
            let error = Template::parse(text).unwrap_err();
            assert!(error.contains(says), "{text}: {error}");
        }
    }
}
