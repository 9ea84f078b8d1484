//! Work for several shards at once, in rounds: what fails and may be repeated goes into the next round, by then perhaps
//! to other shards.

use larder_proto::{resp::Protocol, topology::Topology};
use tokio::time::timeout;

use crate::{
    call::Call,
    error::Error,
    failure::Failure,
    pipe::{PipeError, Replies},
};

/// What goes to one shard in one round.
#[derive(Debug)]
pub(crate) struct Group {
    /// Index in the round's topology.
    pub(crate) shard: usize,
    /// Which parts of the work it holds.
    pub(crate) members: Vec<usize>,
    /// How many commands there are in `commands`.
    pub(crate) count: u32,
    pub(crate) commands: Vec<u8>,
}

/// What goes into the next round, and why.
#[derive(Debug, Default)]
pub(crate) struct Again(pub(crate) Vec<(usize, Failure)>);

/// Work that consists of numbered parts.
pub(crate) trait Work: Send {
    /// Divides parts among shards.
    fn groups(&self, topology: &Topology, parts: &[usize]) -> Result<Vec<Group>, Error>;

    /// Takes what a group brought: results are kept, what may be repeated goes into `again`.
    fn settle(
        &mut self,
        group: &Group,
        outcome: Result<Replies, PipeError>,
        again: &mut Again,
    ) -> Result<(), Error>;

    /// A round has ended. Takes out of `again` what must not be repeated after what else was executed.
    fn restrain(&mut self, _again: &mut Again) {}
}

impl Call<'_> {
    /// Does all parts of the work, in the time that a call may take.
    pub(crate) async fn run_all(&mut self, work: &mut dyn Work, parts: usize) -> Result<(), Error> {
        let limit = self.inner.timeout;
        match timeout(limit, self.rounds(work, parts)).await {
            Ok(outcome) => outcome,
            Err(_) => Err(self.timed_out()),
        }
    }

    async fn rounds(&mut self, work: &mut dyn Work, parts: usize) -> Result<(), Error> {
        let mut parts: Vec<usize> = (0..parts).collect();
        loop {
            let mut again = self.round(work, &parts).await?;
            work.restrain(&mut again);
            self.partly_done |= again.0.len() < parts.len();
            let Some((_, failure)) = again.0.last().cloned() else {
                return Ok(());
            };
            self.back_off(failure).await?;
            parts = again.0.into_iter().map(|(part, _)| part).collect();
            parts.sort_unstable();
        }
    }

    async fn round(&mut self, work: &mut dyn Work, parts: &[usize]) -> Result<Again, Error> {
        let cluster = &self.inner.cluster;
        let topology = cluster.topology();
        let mut tickets = Vec::new();
        for group in work.groups(&topology, parts)? {
            let pipe = cluster.pipe_of_shard(&topology, group.shard);
            pipe.ready().await;
            self.sent = true;
            let ticket = pipe.enqueue(Protocol::Resp3, group.count, &group.commands);
            tickets.push((ticket, group));
        }
        let mut again = Again::default();
        let mut outcome = Ok(());
        for (ticket, group) in tickets {
            let settled = work.settle(&group, ticket.await, &mut again);
            outcome = outcome.and(settled);
        }
        match outcome {
            Ok(()) => Ok(again),
            Err(error) => Err(self.explain(error)),
        }
    }
}
