//! A cache before a database: `get_or_load` loads a row once for all who miss it, and `invalidate` after a write sees to
//! it that nobody is shown the old one for longer than it takes to say so.
//!
//! ```text
//! make up                                                    # a cluster, in another terminal
//! cargo run --package larder-client --example database -- 127.0.0.1:16380
//! ```
//!
//! The database is SQLite, in memory. PostgreSQL is the same but for the name of the pool.

#![allow(clippy::print_stdout, reason = "printing is what it is for")]

use std::{
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use larder_client::{Client, Json, LoadOptions, NearCache};
use serde::{Deserialize, Serialize};
use sqlx::{SqlitePool, sqlite::SqlitePoolOptions};
use tokio::task::JoinSet;

type Failure = Box<dyn std::error::Error>;

/// A row of the table.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
struct User {
    id: i64,
    name: String,
    visits: i64,
}

/// Users, from the cache if they are there.
#[derive(Clone)]
struct Users {
    database: SqlitePool,
    cache: Client,
    options: LoadOptions,
    queries: Arc<AtomicUsize>,
}

impl Users {
    fn key(id: i64) -> String {
        format!("user:{id}")
    }

    /// A user; `None` if there is none, which is remembered for a moment as well.
    async fn find(&self, id: i64) -> Result<Option<User>, Failure> {
        let (database, queries) = (self.database.clone(), Arc::clone(&self.queries));
        let load = move || async move {
            queries.fetch_add(1, Ordering::Relaxed);
            let row = sqlx::query_as("SELECT id, name, visits FROM users WHERE id = ?").bind(id);
            let row: Option<(i64, String, i64)> = row.fetch_optional(&database).await?;
            let user = row.map(|(id, name, visits)| Json(User { id, name, visits }));
            Ok::<_, sqlx::Error>(user)
        };
        let key = Users::key(id);
        let user: Option<Json<User>> = self.cache.get_or_load(key, &self.options, load).await?;
        Ok(user.map(|Json(user)| user))
    }

    /// Counts a visit. First the database, then the cache: a load that has read the old row by then is void.
    async fn visit(&self, id: i64) -> Result<(), Failure> {
        sqlx::query("UPDATE users SET visits = visits + 1 WHERE id = ?")
            .bind(id)
            .execute(&self.database)
            .await?;
        self.cache.invalidate([Users::key(id)]).await?;
        Ok(())
    }
}

#[tokio::main]
async fn main() -> Result<(), Failure> {
    let seed = std::env::args().nth(1);
    let seed = seed.unwrap_or_else(|| "127.0.0.1:16380".to_owned());
    // Every connection to a database in memory is one of its own.
    let pool = SqlitePoolOptions::new().max_connections(1);
    let database = pool.connect("sqlite::memory:").await?;
    sqlx::query("CREATE TABLE users (id INTEGER PRIMARY KEY, name TEXT, visits INTEGER)")
        .execute(&database)
        .await?;
    sqlx::query("INSERT INTO users VALUES (7, 'Ada', 0), (8, 'Grace', 0)")
        .execute(&database)
        .await?;
    let cache = Client::builder().near_cache(NearCache::new(16 * 1024 * 1024));
    let users = Users {
        database,
        cache: cache.connect([seed]).await?,
        options: LoadOptions::new()
            .ttl(Duration::from_secs(300))
            .jitter(10)
            .stale_while_revalidate(Duration::from_secs(60))
            .absent_ttl(Duration::from_secs(5)),
        queries: Arc::default(),
    };
    users.cache.invalidate([7, 8, 9].map(Users::key)).await?;

    let mut callers = JoinSet::new();
    for _ in 0..1000 {
        let users = users.clone();
        callers.spawn(async move { users.find(7).await.map_err(|error| error.to_string()) });
    }
    while let Some(found) = callers.join_next().await {
        assert!(found??.is_some_and(|user| user.name == "Ada"));
    }
    let queries = users.queries.swap(0, Ordering::Relaxed);
    println!("1000 callers, {queries} query");

    for _ in 0..10 {
        users.visit(7).await?;
        let user = users.find(7).await?.ok_or("she is there")?;
        println!("{} has visited {} times", user.name, user.visits);
    }
    for _ in 0..10 {
        assert_eq!(users.find(9).await?, None);
    }
    println!("{} queries", users.queries.load(Ordering::Relaxed));
    Ok(())
}
