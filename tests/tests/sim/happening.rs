//! Everything that can happen.

use larder_node::election::{MemberId, Record, Stream, Versioned};

use super::{
    network::{Way, WireId},
    process::{ProcessId, Registry},
};

/// What happens, and where.
#[derive(Clone, Debug)]
pub(super) enum Happening {
    /// At a process, if it is still there; later, if it is paused.
    At(ProcessId, Local),
    /// At the coordinator: a request has come.
    Asked {
        process: ProcessId,
        request: u64,
        ask: Ask,
    },
    /// There: a lease may have ended.
    Lease(u64),
    /// A client goes on.
    Client(usize),
    /// A reply has come to a client.
    Reply { operation: usize, reply: Vec<u8> },
    /// An operation's client has learnt that it was not executed.
    Refused { operation: usize },
    /// An operation's client waits no longer.
    Lost { operation: usize },
    /// Something goes wrong.
    Fault,
    /// A node loses the coordinator until trouble ends.
    CutOff(usize),
    /// A node's next process starts.
    Start(usize),
    /// Trouble ends.
    Heal,
    /// Clients do nothing more than to see whether all is well again.
    Quiet,
    /// Everybody should agree by now.
    Done,
}

/// What happens at a process.
#[derive(Clone, Debug)]
pub(super) enum Local {
    Tick,
    /// The first frame on this lane.
    Arrive {
        wire: WireId,
        way: Way,
    },
    Connected {
        wire: WireId,
    },
    Broken {
        wire: WireId,
    },
    Dial {
        to: MemberId,
        stream: Stream,
    },
    Pull {
        to: MemberId,
    },
    Answered {
        request: u64,
        answer: Answer,
    },
    /// The first thing that the watch has to tell.
    Watch,
    /// The slots were read.
    Open {
        term: u64,
    },
    /// An operation has come.
    Operation(usize),
    /// It is to be executed in this reign, as far as the session knows.
    Execute {
        operation: usize,
        reign: u64,
    },
    /// Sessions look whether replies may leave.
    Release,
    /// The lease is to be renewed.
    KeepAlive,
    Register,
    /// What has expired is dropped.
    Sweep,
    /// It was drained for long enough.
    Stop,
}

/// A request to the coordinator.
#[derive(Clone, Debug)]
pub(super) enum Ask {
    Read,
    Write {
        record: Record,
        expected: u64,
    },
    /// `asked`: when, by the process's clock.
    KeepAlive {
        lease: u64,
        asked: u64,
    },
    Register {
        name: MemberId,
        asked: u64,
    },
}

/// What comes of it.
#[derive(Clone, Debug)]
pub(super) enum Answer {
    Read(Option<(Versioned, Registry)>),
    Written {
        expected: u64,
        outcome: larder_node::election::Outcome,
    },
    Leased {
        lease: u64,
        asked: u64,
    },
    /// There is no such lease, or the name is another process's.
    NotLeased,
    /// Nobody knows.
    NoLease,
}
