//! Values on their way to a node.

use std::{borrow::Cow, fmt};

use bytes::Bytes;

/// An argument of a command, borrowed from the value where that is possible.
///
/// ```
/// use larder_client::ToArgument;
///
/// assert_eq!(42.to_argument().as_bytes(), b"42");
/// assert_eq!("key".to_argument().as_bytes(), b"key");
/// ```
#[derive(Clone)]
pub struct Argument<'a>(Repr<'a>);

#[derive(Clone)]
enum Repr<'a> {
    Borrowed(&'a [u8]),
    Owned(Vec<u8>),
    /// Why the value has no encoding. The call reports it.
    Invalid(String),
}

impl<'a> Argument<'a> {
    /// An argument that borrows its bytes.
    pub fn borrowed(bytes: &'a [u8]) -> Argument<'a> {
        Argument(Repr::Borrowed(bytes))
    }

    /// An argument that owns its bytes.
    pub fn owned(bytes: Vec<u8>) -> Argument<'a> {
        Argument(Repr::Owned(bytes))
    }

    /// A value that has no encoding, and why. The call it is for fails before anything is sent.
    pub fn invalid(reason: impl Into<String>) -> Argument<'a> {
        Argument(Repr::Invalid(reason.into()))
    }

    /// The bytes; none if the value has no encoding.
    pub fn as_bytes(&self) -> &[u8] {
        match &self.0 {
            Repr::Borrowed(bytes) => bytes,
            Repr::Owned(bytes) => bytes,
            Repr::Invalid(_) => b"",
        }
    }

    /// The same, with bytes of its own.
    pub(crate) fn into_owned(self) -> Argument<'static> {
        Argument(match self.0 {
            Repr::Borrowed(bytes) => Repr::Owned(bytes.to_vec()),
            Repr::Owned(bytes) => Repr::Owned(bytes),
            Repr::Invalid(reason) => Repr::Invalid(reason),
        })
    }

    /// Why the value has no encoding, if it has none.
    pub(crate) fn problem(&self) -> Option<&str> {
        match &self.0 {
            Repr::Invalid(reason) => Some(reason),
            _ => None,
        }
    }
}

impl fmt::Debug for Argument<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "b\"{}\"", self.as_bytes().escape_ascii())
    }
}

/// A key or value that a command can take as an argument.
///
/// ```
/// use larder_client::{Argument, ToArgument};
///
/// struct UserId(u64);
///
/// impl ToArgument for UserId {
///     fn to_argument(&self) -> Argument<'_> {
///         Argument::owned(format!("user:{}", self.0).into_bytes())
///     }
/// }
/// assert_eq!(UserId(7).to_argument().as_bytes(), b"user:7");
/// ```
pub trait ToArgument: Send + Sync {
    /// Its bytes.
    fn to_argument(&self) -> Argument<'_>;
}

macro_rules! borrowed {
    ($($kind:ty),*) => {$(
        impl ToArgument for $kind {
            fn to_argument(&self) -> Argument<'_> {
                Argument::borrowed(self.as_ref())
            }
        }
    )*};
}
borrowed!(str, String, [u8], Vec<u8>, Bytes);

macro_rules! displayed {
    ($($kind:ty),*) => {$(
        impl ToArgument for $kind {
            fn to_argument(&self) -> Argument<'_> {
                Argument::owned(self.to_string().into_bytes())
            }
        }
    )*};
}
displayed!(i8, i16, i32, i64, isize, u16, u32, u64, usize, f32, f64);

impl ToArgument for bool {
    /// `1` or `0`.
    fn to_argument(&self) -> Argument<'_> {
        Argument::borrowed(if *self { b"1" } else { b"0" })
    }
}

impl<const N: usize> ToArgument for [u8; N] {
    fn to_argument(&self) -> Argument<'_> {
        Argument::borrowed(self)
    }
}

impl<T: ToArgument + ?Sized> ToArgument for &T {
    fn to_argument(&self) -> Argument<'_> {
        (**self).to_argument()
    }
}

impl<T> ToArgument for Cow<'_, T>
where
    T: ToArgument + ToOwned + ?Sized,
    T::Owned: Send + Sync,
{
    fn to_argument(&self) -> Argument<'_> {
        (**self).to_argument()
    }
}

impl ToArgument for Argument<'_> {
    fn to_argument(&self) -> Argument<'_> {
        match &self.0 {
            Repr::Invalid(reason) => Argument::invalid(reason.clone()),
            _ => Argument::borrowed(self.as_bytes()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_are_written_as_redis_reads_them() {
        fn text(value: impl ToArgument) -> String {
            String::from_utf8(value.to_argument().as_bytes().to_vec()).unwrap()
        }
        assert_eq!(text(-7i64), "-7");
        assert_eq!(text(1.5f64), "1.5");
        assert_eq!(text(1e300f64).len(), 301);
        assert_eq!(text(true), "1");
        assert_eq!(text(Bytes::from_static(b"x")), "x");
        assert_eq!(text(b"ab"), "ab");
        assert_eq!(text(Cow::Borrowed("c")), "c");
        assert_eq!(text(String::from("s")), "s");
    }
}
