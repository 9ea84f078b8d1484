//! Work for several shards at once, in rounds: what fails and may be repeated goes into the next round, by then perhaps
//! to other shards.

use larder_proto::{resp::Protocol, topology::Topology};

use crate::{
    call::Call,
    cluster::Flight,
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
pub(crate) trait Work: Send + Sync {
    /// Divides parts among shards.
    fn groups(&self, topology: &Topology, parts: &[usize]) -> Result<Vec<Group>, Error>;

    /// Takes what a group brought: results are kept, what may be repeated goes into `again`.
    fn settle(
        &mut self,
        group: &Group,
        outcome: Result<Replies, PipeError>,
        again: &mut Again,
    ) -> Result<(), Error>;

    /// Whether all that a group holds may be sent again after it may have been executed.
    fn is_repeatable(&self, group: &Group) -> bool;

    /// A round has ended. Takes out of `again` what must not be repeated after what else was executed.
    fn restrain(&mut self, _again: &mut Again) {}
}

impl Call<'_> {
    /// Does all parts of the work, in the time that a call may take.
    pub(crate) async fn run_all(&mut self, work: &mut dyn Work, parts: usize) -> Result<(), Error> {
        self.rounds(work, parts).await
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
        let (mut flights, mut timed_out) = (Vec::new(), false);
        for group in work.groups(&topology, parts)? {
            let pipe = cluster.pipe_of_shard(&topology, group.shard);
            let flight = match self.ready(&pipe).await {
                Ok(()) => {
                    let ticket = pipe.enqueue(Protocol::Resp3, group.count, &group.commands);
                    Ok(Flight::new(pipe, ticket))
                }
                Err(_) => Err(PipeError::NotSent("too much is queued for the node".into())),
            };
            flights.push((flight, group));
        }
        let mut again = Again::default();
        let mut outcome = Ok(());
        for (flight, group) in flights {
            let route = || cluster.pipe_of_shard_now(&topology, group.shard);
            let repeatable = || work.is_repeatable(&group);
            let answer = match flight {
                Ok(flight) => flight.land(cluster, self.deadline, repeatable, route).await,
                Err(error) => Err(error),
            };
            if answer.is_err() && self.is_over() {
                self.sent |= matches!(answer, Err(PipeError::Lost(_)));
                timed_out = true;
                continue;
            }
            let settled = work.settle(&group, answer, &mut again);
            outcome = outcome.and(settled);
        }
        if timed_out && outcome.is_ok() {
            return Err(self.timed_out());
        }
        match outcome {
            Ok(()) => Ok(again),
            Err(error) => Err(self.explain(error)),
        }
    }
}
