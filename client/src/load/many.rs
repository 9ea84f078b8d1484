//! Loading many keys at once.

use std::{collections::HashMap, fmt, hash::Hash, time::Duration};

use bytes::Bytes;
use tokio::time::Instant;

use super::{
    Load, LoadError, LoadOptions, bytes_of, is_unavailable, lease::Found, read, whole::Whole,
};
use crate::{argument::ToArgument, client::Client, error::Error, from_reply::FromReply};

impl Client {
    /// The values of many keys. What is missing is loaded with one call of the loader for all keys that nobody else
    /// loads; for the others see [`Client::get_or_load`]. The loader is given keys and answers with what it found; keys
    /// that it leaves out are absent, and missing in the result.
    ///
    /// It is called again for keys whose load by somebody else came to nothing.
    ///
    /// ```no_run
    /// # async fn example(client: larder_client::Client) -> Result<(), Box<dyn std::error::Error>> {
    /// use larder_client::LoadOptions;
    /// use std::{collections::HashMap, io};
    ///
    /// let keys = ["user:7".to_owned(), "user:8".to_owned()];
    /// let users: HashMap<String, String> = client
    ///     .get_or_load_many(keys, &LoadOptions::new(), |keys: Vec<String>| async move {
    ///         // SELECT id, name FROM users WHERE id IN (...)
    ///         let rows = keys.into_iter().map(|key| (key, "Ada".to_owned()));
    ///         Ok::<_, io::Error>(rows.collect())
    ///     })
    ///     .await?;
    /// # Ok(())
    /// # }
    /// ```
    pub async fn get_or_load_many<K, T, E, L, F>(
        &self,
        keys: impl IntoIterator<Item = K>,
        options: &LoadOptions,
        loader: L,
    ) -> Result<HashMap<K, T>, LoadError<E>>
    where
        K: ToArgument + Clone + Eq + Hash + Send + Sync + 'static,
        T: ToArgument + FromReply + Send + 'static,
        E: fmt::Display + Send + 'static,
        L: Fn(Vec<K>) -> F + Clone + Send + 'static,
        F: Future<Output = Result<HashMap<K, T>, E>> + Send,
    {
        let until = Instant::now() + options.longest_wait();
        let mut pending: Vec<K> = keys.into_iter().collect();
        pending.sort_by_cached_key(|key| key.to_argument().as_bytes().to_vec());
        pending.dedup();
        let mut values = HashMap::with_capacity(pending.len());
        self.take_copies(&mut pending, &mut values, options);
        while !pending.is_empty() {
            let found = match self.find_many(&pending, options).await {
                Err(error) if options.bypass && is_unavailable(&error) => {
                    let (client, options) = (self.clone(), options.clone());
                    let loading = tokio::spawn(async move {
                        client.run_loader(&options, move || loader(pending)).await
                    });
                    values.extend(loading.await.unwrap_or(Err(LoadError::Panicked))?);
                    return Ok(values);
                }
                found => found?,
            };
            let (mut leads, mut refreshes, mut busy) = (Vec::new(), Vec::new(), Vec::new());
            // Told when what this call is to load is loaded: others wait for that.
            let mut failed = None;
            for (key, found) in pending.into_iter().zip(found) {
                match found {
                    Found::Value(value) => match read(value) {
                        Ok(value) => drop(values.insert(key, value)),
                        Err(error) => failed = Some(error),
                    },
                    Found::Lead(lease, Some(stale)) => {
                        refreshes.push((key.clone(), lease));
                        match read(stale) {
                            Ok(value) => drop(values.insert(key, value)),
                            Err(error) => failed = Some(error),
                        }
                    }
                    Found::Lead(lease, None) => leads.push((key, lease)),
                    Found::Absent => {}
                    Found::Failed(message) => failed = Some(LoadError::Elsewhere(message)),
                    Found::Busy => busy.push(key),
                }
            }
            if !refreshes.is_empty() {
                drop(self.lead_many(refreshes, options, loader.clone()));
            }
            if !leads.is_empty() {
                let loading = self.lead_many(leads, options, loader.clone());
                values.extend(loading.await.unwrap_or(Err(LoadError::Panicked))?);
            }
            if let Some(error) = failed {
                return Err(error);
            }
            // Those that others load take their time together, and what this call is to load comes with the next round.
            let mut waited = Vec::new();
            for key in busy {
                match self.wait(&bytes_of(&key)?, options, until).await {
                    Ok(Some(lease)) => {
                        let load = self.lead_many(vec![(key, lease)], options, loader.clone());
                        values.extend(load.await.unwrap_or(Err(LoadError::Panicked))?);
                    }
                    Ok(None) => waited.push(key),
                    Err(LoadError::Absent) => {}
                    Err(error) => return Err(error),
                }
            }
            pending = waited;
        }
        Ok(values)
    }

    /// Takes out of `keys` those of which the near cache has copies that are fresh.
    fn take_copies<K, T>(
        &self,
        keys: &mut Vec<K>,
        values: &mut HashMap<K, T>,
        options: &LoadOptions,
    ) where
        K: ToArgument + Clone + Eq + Hash,
        T: FromReply,
    {
        let early = Duration::from_millis(options.early_ms(self.inner.loads.typical()));
        keys.retain(|key| {
            let copy = self.near_lasting(key.to_argument().as_bytes());
            let fresh = copy.filter(|(_, left)| *left > early);
            // What cannot be read is told by whoever asks for it.
            let value = fresh.and_then(|(value, _)| read::<T, String>(value).ok());
            match value {
                Some(value) => {
                    values.insert(key.clone(), value);
                    false
                }
                None => true,
            }
        });
    }

    /// Asks for keys, all at once. Leases that come when the caller has left are given back.
    async fn find_many<K: ToArgument>(
        &self,
        keys: &[K],
        options: &LoadOptions,
    ) -> Result<Vec<Found>, Error> {
        let keys: Vec<Bytes> = keys.iter().map(bytes_of).collect::<Result<_, _>>()?;
        let typical = self.inner.loads.typical();
        let mut pipeline = self.pipeline();
        for key in &keys {
            pipeline = pipeline.command(&options.ask(key, options.early_ms(typical)));
        }
        let client = self.clone();
        let asking = Whole::new(async move {
            let replies = pipeline.send().await;
            // All of them first: a lease that is not made of its reply would have to run out.
            let found = keys
                .iter()
                .zip(replies)
                .map(|(key, reply)| Found::of(&client, key, reply?));
            let found: Vec<Result<Found, Error>> = found.collect();
            found.into_iter().collect()
        });
        asking.await
    }

    /// Loads keys with one call of the loader, in a task of its own.
    fn lead_many<K, T, E, L, F>(
        &self,
        leads: Vec<(K, super::Lease)>,
        options: &LoadOptions,
        loader: L,
    ) -> tokio::task::JoinHandle<Result<HashMap<K, T>, LoadError<E>>>
    where
        K: Clone + Eq + Hash + Send + Sync + 'static,
        T: Load + ToArgument,
        E: fmt::Display + Send + 'static,
        L: Fn(Vec<K>) -> F + Send + 'static,
        F: Future<Output = Result<HashMap<K, T>, E>> + Send,
    {
        let (client, options) = (self.clone(), options.clone());
        tokio::spawn(async move {
            let keys = leads.iter().map(|(key, _)| key.clone()).collect();
            let loaded = client.run_loader(&options, move || loader(keys)).await;
            let told = leads.into_iter().map(|(key, lease)| {
                let value = match &loaded {
                    Ok(values) => {
                        let value = values.get(&key);
                        Ok(value.map(|value| value.to_argument().into_owned()))
                    }
                    Err(error) => Err(error.to_string()),
                };
                let options = options.clone();
                async move {
                    match value {
                        Ok(Some(value)) => lease.store(&value, &options).await,
                        Ok(None) => lease.absent(&options).await,
                        Err(message) => lease.failed(&message, &options).await,
                    }
                }
            });
            // All at once: they share the pipes' batches.
            let told: Vec<_> = told.collect();
            futures_util::future::join_all(told).await;
            loaded
        })
    }
}
