//! A server that speaks RESP, as a cache to replay into.

use std::{io, time::Duration};

use bytes::Bytes;
use larder_proto::resp::Reply;

use super::{
    batch::{Answer, Batch},
    error::TraceError,
    replay::Tally,
    request::Trace,
};
use crate::{driver, target::Target, wire::Wire};

/// How long the server may take to answer a batch, or to empty itself.
const PATIENCE: Duration = Duration::from_secs(60);

/// What is set for a replay, and put back after the last.
const PARAMETERS: [&str; 2] = ["maxmemory", "maxmemory-policy"];

/// A connection to the server.
#[derive(Debug)]
pub(super) struct Server {
    wire: Wire,
    target: Target,
    /// Most requests of a batch.
    pipeline: usize,
    /// The parameters as they were found.
    before: Vec<(&'static str, String)>,
}

/// Whether a server takes a policy.
#[derive(Debug)]
pub(super) enum Prepared {
    Ready,
    /// What it said.
    Refused(String),
}

impl Server {
    pub(super) async fn connect(target: &Target, pipeline: u64) -> Result<Server, TraceError> {
        let connecting = driver::connect_resp(target).await;
        let stream = connecting.map_err(|source| TraceError::Connection {
            target: target.to_string(),
            source,
        })?;
        let mut server = Server {
            wire: Wire::over(stream),
            target: target.clone(),
            pipeline: pipeline as usize,
            before: Vec::new(),
        };
        for parameter in PARAMETERS {
            let value = server.parameter(parameter).await?;
            server.before.push((parameter, value));
        }
        Ok(server)
    }

    /// Empties the server, and gives it this policy and this many bytes beside what it uses then.
    pub(super) async fn prepare(
        &mut self,
        policy: &str,
        bytes: u64,
    ) -> Result<Prepared, TraceError> {
        if let Reply::Error(reply) = self.set("maxmemory-policy", policy).await? {
            return Ok(Prepared::Refused(text(&reply)));
        }
        self.empty().await?;
        let limit = self.used_memory().await?.saturating_add(bytes);
        match self.set("maxmemory", &limit.to_string()).await? {
            Reply::Error(reply) => Err(self.unexpected("CONFIG SET maxmemory", text(&reply))),
            _ => Ok(Prepared::Ready),
        }
    }

    /// Empties the server, and puts back the parameters that it had.
    pub(super) async fn restore(mut self) -> Result<(), TraceError> {
        self.empty().await?;
        for (parameter, value) in std::mem::take(&mut self.before) {
            if let Reply::Error(reply) = self.set(parameter, &value).await? {
                return Err(self.unexpected("CONFIG SET", text(&reply)));
            }
        }
        Ok(())
    }

    /// Replays a trace; `lifetime` is asked once for each request.
    pub(super) async fn replay(
        &mut self,
        trace: &Trace,
        mut lifetime: impl FnMut() -> Option<u64>,
        payload: &Bytes,
    ) -> Result<Tally, TraceError> {
        let (mut tally, mut start) = (Tally::default(), 0);
        while start < trace.requests().len() {
            let batch = Batch::new(trace, start, self.pipeline, &mut lifetime, payload);
            start += batch.len();
            self.replay_batch(&batch, &mut tally).await?;
        }
        let Reply::Integer(entries) = self.call("DBSIZE", &["DBSIZE"]).await? else {
            return Err(self.unexpected("DBSIZE", "no number".to_owned()));
        };
        tally.entries = u64::try_from(entries).unwrap_or(0);
        Ok(tally)
    }

    async fn replay_batch(
        &mut self,
        batch: &Batch<'_>,
        tally: &mut Tally,
    ) -> Result<(), TraceError> {
        let answers = self.ask(&batch.commands(), batch.len()).await?;
        let missed = batch.missed(&answers);
        let written = self.ask(&batch.writes(&missed), missed.len()).await?;
        batch.count(&answers, &missed, &written, tally);
        Ok(())
    }

    /// Sends so many commands, and waits for what they are answered.
    async fn ask(&mut self, commands: &[u8], count: usize) -> Result<Vec<Answer>, TraceError> {
        let mut answers = Vec::with_capacity(count);
        let mut refused = None;
        let each = |reply: Bytes| {
            match Answer::of(&reply) {
                Ok(answer) => answers.push(answer),
                Err(message) => refused = refused.take().or(Some(text(message))),
            }
            Ok(())
        };
        let asking = self.wire.exchange(commands, count, PATIENCE, each);
        asking.await.map_err(|source| self.lost(source))?;
        match refused {
            Some(reply) => Err(self.unexpected("a request", reply)),
            None => Ok(answers),
        }
    }

    /// Removes everything, and waits until its memory is free.
    async fn empty(&mut self) -> Result<(), TraceError> {
        self.call("FLUSHALL", &["FLUSHALL", "SYNC"]).await?;
        let mut used = self.used_memory().await?;
        loop {
            tokio::time::sleep(Duration::from_millis(10)).await;
            let now = self.used_memory().await?;
            if now >= used {
                return Ok(());
            }
            used = now;
        }
    }

    async fn used_memory(&mut self) -> Result<u64, TraceError> {
        let reply = self.call("INFO memory", &["INFO", "memory"]).await?;
        let told = match &reply {
            Reply::Bulk(told) => String::from_utf8_lossy(told).into_owned(),
            _ => String::new(),
        };
        let number = told
            .lines()
            .find_map(|line| line.strip_prefix("used_memory:")?.trim().parse().ok());
        number.ok_or_else(|| self.unexpected("INFO memory", "no used_memory".to_owned()))
    }

    async fn parameter(&mut self, name: &'static str) -> Result<String, TraceError> {
        let reply = self.call("CONFIG GET", &["CONFIG", "GET", name]).await?;
        match &reply {
            Reply::Array(pair) => match &pair[..] {
                [_, Reply::Bulk(value)] => Ok(text(value)),
                _ => Err(self.unexpected("CONFIG GET", format!("no {name}; a proxy has none"))),
            },
            other => Err(self.unexpected("CONFIG GET", format!("{other:?}"))),
        }
    }

    async fn set(&mut self, name: &str, value: &str) -> Result<Reply, TraceError> {
        let words = ["CONFIG", "SET", name, value].map(str::as_bytes);
        let setting = self.wire.call(&words, PATIENCE).await;
        setting.map_err(|source| self.lost(source))
    }

    /// The reply to a command that no server refuses.
    async fn call(&mut self, command: &'static str, words: &[&str]) -> Result<Reply, TraceError> {
        let words: Vec<&[u8]> = words.iter().map(|word| word.as_bytes()).collect();
        match self.wire.call(&words, PATIENCE).await {
            Ok(Reply::Error(reply)) => Err(self.unexpected(command, text(&reply))),
            Ok(reply) => Ok(reply),
            Err(source) => Err(self.lost(source)),
        }
    }

    fn lost(&self, source: io::Error) -> TraceError {
        let source = match source.kind() {
            io::ErrorKind::UnexpectedEof => io::Error::other("the server closed the connection"),
            io::ErrorKind::TimedOut => {
                io::Error::other(format!("no answer within {} s", PATIENCE.as_secs()))
            }
            _ => source,
        };
        TraceError::Connection {
            target: self.target.to_string(),
            source,
        }
    }

    fn unexpected(&self, command: &'static str, reply: String) -> TraceError {
        TraceError::Reply {
            target: self.target.to_string(),
            command,
            reply,
        }
    }
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).trim_end().to_owned()
}
