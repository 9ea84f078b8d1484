//! Why there is no value.

use std::time::Duration;

use thiserror::Error;

/// Why [`Client::get_or_load`](crate::Client::get_or_load) has no value. `E` is the loader's own error.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum LoadError<E> {
    /// This call's loader failed.
    #[error("the loader failed: {0}")]
    Loader(E),
    /// Another's loader failed, now or a moment ago; this is what it said.
    #[error("the loader failed elsewhere: {0}")]
    Elsewhere(String),
    /// A loader found nothing, and the type asked for has nothing to say so: ask for an [`Option`].
    #[error("there is nothing to load")]
    Absent,
    /// This call's loader took longer than it may, and was cancelled.
    #[error("the loader was cancelled after {0:?}")]
    LoaderTimeout(Duration),
    /// This call's loader panicked, or its runtime ended.
    #[error("the loader panicked")]
    Panicked,
    /// Another loads the key, and was not done in time.
    #[error("another loads the key, and was not done within {0:?}")]
    WaitTimeout(Duration),
    /// The cluster could not be asked, or the value there is not of the type asked for.
    #[error(transparent)]
    Cache(crate::Error),
}

impl<E> From<crate::Error> for LoadError<E> {
    fn from(error: crate::Error) -> LoadError<E> {
        LoadError::Cache(error)
    }
}
