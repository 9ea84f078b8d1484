//! Many keys at once. The keys may be in any shards; what happens in different shards is not atomic.

use super::word;
use crate::{
    argument::{Argument, ToArgument},
    client::Client,
    error::Error,
    from_reply::FromReply,
};

impl Client {
    /// The values of many keys, in the order of the keys (`MGET`). Not atomic across shards.
    ///
    /// ```no_run
    /// # async fn example(client: larder_client::Client) -> Result<(), larder_client::Error> {
    /// let names: Vec<Option<String>> = client.mget(["user:1", "user:2"]).await?;
    /// # Ok(())
    /// # }
    /// ```
    pub async fn mget<T: FromReply, K: ToArgument>(
        &self,
        keys: impl IntoIterator<Item = K>,
    ) -> Result<Vec<T>, Error> {
        let keys: Vec<K> = keys.into_iter().collect();
        if keys.is_empty() {
            return Ok(Vec::new());
        }
        self.run(&keyed("mget", &keys)).await
    }

    /// Sets many keys (`MSET`). Not atomic across shards: after an error some may have been set.
    ///
    /// ```no_run
    /// # async fn example(client: larder_client::Client) -> Result<(), larder_client::Error> {
    /// client.mset([("user:1", "Ada"), ("user:2", "Alan")]).await?;
    /// # Ok(())
    /// # }
    /// ```
    pub async fn mset<K: ToArgument, V: ToArgument>(
        &self,
        pairs: impl IntoIterator<Item = (K, V)>,
    ) -> Result<(), Error> {
        let pairs: Vec<(K, V)> = pairs.into_iter().collect();
        if pairs.is_empty() {
            return Ok(());
        }
        self.run(&paired("mset", &pairs)).await
    }

    /// Sets many keys if none of them exists; whether it did (`MSETNX`). Atomic: the keys need a common `{hash tag}`.
    pub async fn mset_nx<K: ToArgument, V: ToArgument>(
        &self,
        pairs: impl IntoIterator<Item = (K, V)>,
    ) -> Result<bool, Error> {
        let pairs: Vec<(K, V)> = pairs.into_iter().collect();
        self.run(&paired("msetnx", &pairs)).await
    }

    /// Deletes keys; how many of them existed (`DEL`). Not atomic across shards.
    pub async fn del_many<K: ToArgument>(
        &self,
        keys: impl IntoIterator<Item = K>,
    ) -> Result<u64, Error> {
        self.count("del", keys).await
    }

    /// How many of the keys exist; one that is named twice counts twice (`EXISTS`).
    pub async fn exists_many<K: ToArgument>(
        &self,
        keys: impl IntoIterator<Item = K>,
    ) -> Result<u64, Error> {
        self.count("exists", keys).await
    }

    /// Marks keys as just used; how many of them exist (`TOUCH`).
    pub async fn touch<K: ToArgument>(
        &self,
        keys: impl IntoIterator<Item = K>,
    ) -> Result<u64, Error> {
        self.count("touch", keys).await
    }

    async fn count<K: ToArgument>(
        &self,
        command: &'static str,
        keys: impl IntoIterator<Item = K>,
    ) -> Result<u64, Error> {
        let keys: Vec<K> = keys.into_iter().collect();
        if keys.is_empty() {
            return Ok(0);
        }
        self.run(&keyed(command, &keys)).await
    }
}

fn keyed<'a, K: ToArgument>(command: &'static str, keys: &'a [K]) -> Vec<Argument<'a>> {
    let keys = keys.iter().map(ToArgument::to_argument);
    std::iter::once(word(command)).chain(keys).collect()
}

fn paired<'a, K: ToArgument, V: ToArgument>(
    command: &'static str,
    pairs: &'a [(K, V)],
) -> Vec<Argument<'a>> {
    let pairs = pairs
        .iter()
        .flat_map(|(key, value)| [key.to_argument(), value.to_argument()]);
    std::iter::once(word(command)).chain(pairs).collect()
}
