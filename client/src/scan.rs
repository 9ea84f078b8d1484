//! Iterating over the keys of the whole cluster.

use std::{
    collections::VecDeque,
    fmt,
    future::{Future, poll_fn},
    pin::Pin,
    task::{Context, Poll},
};

use bytes::Bytes;
use futures_core::Stream;

use crate::{
    argument::Argument,
    client::{Client, decode},
    error::Error,
    request::Request,
    split::Split,
};

/// Which keys to scan, and how.
///
/// ```
/// let options = larder_client::ScanOptions::new().pattern("user:*").page(500);
/// ```
#[derive(Clone, Debug, Default)]
pub struct ScanOptions {
    pattern: Option<Vec<u8>>,
    page: Option<u32>,
}

impl ScanOptions {
    /// All keys.
    pub fn new() -> ScanOptions {
        ScanOptions::default()
    }

    /// Only keys that match a glob pattern, as `MATCH` takes it.
    pub fn pattern(mut self, pattern: impl AsRef<[u8]>) -> ScanOptions {
        self.pattern = Some(pattern.as_ref().to_vec());
        self
    }

    /// About how many keys a node looks at for one page, as `COUNT` takes it.
    pub fn page(mut self, keys: u32) -> ScanOptions {
        self.page = Some(keys);
        self
    }
}

type Page = Result<(Bytes, Vec<Bytes>), Error>;

/// The keys of the whole cluster: a [`Stream`] of `Result<Bytes, Error>`, shard after shard, page after page.
///
/// As with Redis' `SCAN`, a key that is there from beginning to end is returned at least once, others perhaps, and some
/// may come twice. Keys of slots that move to another shard meanwhile may be missed. After an error it ends.
pub struct Scan {
    client: Client,
    options: ScanOptions,
    /// Names of the shards still to be scanned, the present one first.
    shards: VecDeque<String>,
    cursor: Bytes,
    /// Of the last page.
    keys: VecDeque<Bytes>,
    page: Option<Pin<Box<dyn Future<Output = Page> + Send>>>,
}

impl Scan {
    pub(crate) fn new(client: Client, options: ScanOptions) -> Scan {
        let topology = client.cluster().topology();
        let shards = topology.shards.iter();
        Scan {
            shards: shards.map(|shard| shard.name.clone()).collect(),
            client,
            options,
            cursor: Bytes::from_static(b"0"),
            keys: VecDeque::new(),
            page: None,
        }
    }

    /// The next key; `None` after the last.
    ///
    /// ```no_run
    /// # async fn example(client: larder_client::Client) -> Result<(), larder_client::Error> {
    /// let mut keys = client.scan(Default::default());
    /// while let Some(key) = keys.next().await {
    ///     println!("{:?}", key?);
    /// }
    /// # Ok(())
    /// # }
    /// ```
    pub async fn next(&mut self) -> Option<Result<Bytes, Error>> {
        poll_fn(|context| Pin::new(&mut *self).poll_next(context)).await
    }

    fn take(&mut self, page: Page) -> Option<Error> {
        match page {
            Ok((cursor, keys)) => {
                if &cursor[..] == b"0" {
                    self.shards.pop_front();
                }
                self.cursor = cursor;
                self.keys = keys.into();
                None
            }
            Err(error) => {
                self.shards.clear();
                Some(error)
            }
        }
    }
}

impl Stream for Scan {
    type Item = Result<Bytes, Error>;

    fn poll_next(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Bytes, Error>>> {
        let scan = &mut *self;
        loop {
            if let Some(key) = scan.keys.pop_front() {
                return Poll::Ready(Some(Ok(key)));
            }
            let Some(shard) = scan.shards.front() else {
                return Poll::Ready(None);
            };
            let page = scan.page.get_or_insert_with(|| {
                let (client, shard) = (scan.client.clone(), shard.clone());
                Box::pin(page(
                    client,
                    shard,
                    scan.cursor.clone(),
                    scan.options.clone(),
                ))
            });
            let Poll::Ready(page) = page.as_mut().poll(context) else {
                return Poll::Pending;
            };
            scan.page = None;
            if let Some(error) = scan.take(page) {
                return Poll::Ready(Some(Err(error)));
            }
        }
    }
}

async fn page(client: Client, shard: String, cursor: Bytes, options: ScanOptions) -> Page {
    let count = options.page.map(|page| page.to_string());
    let mut args = vec![Argument::borrowed(b"scan"), Argument::borrowed(&cursor)];
    if let Some(pattern) = &options.pattern {
        args.extend([b"match", &pattern[..]].map(Argument::borrowed));
    }
    if let Some(count) = &count {
        args.extend([b"count", count.as_bytes()].map(Argument::borrowed));
    }
    let request = Request::new(&args)?;
    let split = Split::in_shard(request, &shard);
    let reply = client.run_split(request.command, split).await?;
    decode(request, reply)
}

impl fmt::Debug for Scan {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Scan")
            .field("options", &self.options)
            .field("shards", &self.shards)
            .field("cursor", &self.cursor)
            .finish_non_exhaustive()
    }
}
