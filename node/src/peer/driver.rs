//! The driver of one member.

use std::{
    collections::{HashMap, hash_map::Entry},
    fmt,
    sync::Arc,
    time::{Duration, Instant},
};

use bytes::Bytes;
use larder_proto::SlotSet;
use larder_proxy::now_ms;
use parking_lot::Mutex;
use tokio::{
    sync::{Notify, mpsc, watch},
    task::{self, AbortHandle},
    time::{sleep_until, timeout},
};

use super::{
    convert::{Hello, to_wire},
    link::{Link, LinkSettings},
    observe,
    service::PeerListener,
    status::{Counters, MemberStatus},
};
use crate::{
    cluster::{Directory, Held, Keys},
    coordinator::Coordinator,
    election::{Body, Event, MemberId, Notice, Stream, Time},
    engine::Millis,
    node::{Identity, Node, Parts},
    replication::{Ack, Frame, Member, MemberSettings, Now, Output, Pull},
};
use larder_proto::schema::PeerFrame;

/// What a member is driven with.
pub struct PeerConfig {
    /// Decides who leads.
    pub coordinator: Arc<dyn Coordinator>,
    /// Where the cluster's records are.
    pub keys: Keys,
    /// Who this node is.
    pub identity: Identity,
    /// How the member is set up.
    pub settings: MemberSettings,
    /// How old what a replica shows may be.
    pub staleness: Duration,
    /// The records, as far as this process has seen them.
    pub directory: watch::Receiver<Arc<Directory>>,
    /// Until when this node is registered.
    pub held: watch::Receiver<Held>,
    /// The node.
    pub node: Arc<Node>,
    /// Its keys, log and fence.
    pub parts: Parts,
    /// Where other members come in.
    pub listener: PeerListener,
    /// What they have to know; empty: nothing.
    pub password: String,
}

/// A node's membership in its shard. Ends with the last clone's tasks, when the runtime does.
#[derive(Clone)]
pub struct Membership(pub(super) Arc<Driver>);

impl fmt::Debug for Membership {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Membership").field(&self.0.me).finish()
    }
}

/// Everything that the tasks of a member share.
pub(super) struct Driver {
    pub(super) me: MemberId,
    pub(super) keys: Keys,
    pub(super) coordinator: Arc<dyn Coordinator>,
    pub(super) directory: watch::Receiver<Arc<Directory>>,
    pub(super) password: String,
    settings: MemberSettings,
    staleness: Duration,
    node: Arc<Node>,
    parts: Parts,
    /// What the member's times count from.
    origin: Instant,
    state: Mutex<State>,
    /// The time at which the member wants to be woken has come nearer.
    rearm: Notify,
    /// Something has happened that somebody may wait for.
    happened: Notify,
    /// The shard, once the node is assigned to one.
    shard: watch::Sender<Option<Arc<str>>>,
    /// The term that this member leads in; 0: none.
    reign: watch::Sender<u64>,
    drained: watch::Sender<bool>,
    pub(super) counters: Counters,
}

struct State {
    member: Member,
    links: HashMap<MemberId, Link>,
    inbound: HashMap<(MemberId, Stream), Inbound>,
    /// When the timer is set to.
    armed: Time,
}

/// A stream that another member has opened.
struct Inbound {
    answers: mpsc::Sender<PeerFrame>,
    reader: AbortHandle,
}

/// Begins to drive a node's member, on the current runtime.
pub fn start(config: PeerConfig) -> Membership {
    let me = MemberId::new(
        config.identity.name.clone(),
        config.identity.incarnation.clone(),
    );
    let origin = Instant::now();
    let member = Member::new(
        me.clone(),
        config.settings,
        Arc::clone(&config.parts.engine),
        Arc::clone(&config.parts.fence),
        origin,
        Time::default(),
    );
    let driver = Arc::new(Driver {
        me,
        keys: config.keys,
        coordinator: config.coordinator,
        directory: config.directory,
        password: config.password,
        settings: config.settings,
        staleness: config.staleness,
        node: config.node,
        parts: config.parts,
        origin,
        state: Mutex::new(State {
            member,
            links: HashMap::new(),
            inbound: HashMap::new(),
            armed: Time::NEVER,
        }),
        rearm: Notify::new(),
        happened: Notify::new(),
        shard: watch::Sender::new(None),
        reign: watch::Sender::new(0),
        drained: watch::Sender::new(false),
        counters: Counters::default(),
    });
    tokio::spawn(observe::directory(Arc::clone(&driver)));
    tokio::spawn(observe::registration(Arc::clone(&driver), config.held));
    tokio::spawn(Arc::clone(&driver).tick());
    config.listener.serve(Arc::clone(&driver));
    let membership = Membership(driver);
    membership.0.node.joined(&membership);
    membership
}

impl Membership {
    /// Who this is.
    pub fn me(&self) -> &MemberId {
        &self.0.me
    }

    /// The shard, once the node is assigned to one.
    pub fn shard(&self) -> watch::Receiver<Option<Arc<str>>> {
        self.0.shard.subscribe()
    }

    /// The term that this member leads in, and every change of it; 0: none.
    pub fn reign(&self) -> watch::Receiver<u64> {
        self.0.reign.subscribe()
    }

    /// Opens these slots and closes all others, if the member still leads in this term.
    pub fn open(&self, term: u64, slots: SlotSet) {
        self.0.state.lock().member.open(term, slots);
    }

    /// Hands the shard over, if this member leads it, or has itself taken out of the in-sync set. False: that took
    /// longer than this.
    pub async fn drain(&self, patience: Duration) -> bool {
        let mut drained = self.0.drained.subscribe();
        self.0.event(Event::Drain);
        let drained = drained.wait_for(|drained| *drained);
        timeout(patience, drained).await.is_ok()
    }

    /// Whether the member leads its shard.
    pub fn leads(&self) -> bool {
        self.status().core.leads
    }

    /// Serves nothing more, and tells nothing of what it has served, without a word to others: before the node is
    /// deregistered, for then somebody else may take the shard.
    pub fn fall_silent(&self) {
        let _state = self.0.state.lock();
        self.0.parts.fence.end(false);
    }

    /// Waits until this many in-sync followers hold what the log holds now, or the time is up; how many hold it. `None`:
    /// the member does not lead, or no longer.
    ///
    /// `term` is that of the writes in question. No follower counts if they are lost, or may be: if the shard has begun
    /// without data since, or if the primary alone acknowledges and has another term.
    pub async fn replicated(
        &self,
        enough: usize,
        patience: Option<Duration>,
        term: Option<u64>,
    ) -> Option<usize> {
        let position = self.0.parts.log.last().0;
        let begun = self.status().core;
        // A shard that began without data has lost what was written before, and whoever acknowledges alone may have.
        let emptied = begun.record.as_ref().map_or(0, |seen| seen.record.empty_at);
        let alone = self.0.settings.ack == Ack::Primary;
        let lost = term.is_some_and(|term| term < emptied || alone && term != begun.term);
        let hold = || {
            let core = self.status().core;
            let leads = core.leads && core.term == begun.term;
            leads.then(|| if lost { 0 } else { core.holders(position) })
        };
        let waiting = async {
            loop {
                let happened = self.0.happened.notified();
                match hold() {
                    Some(held) if held < enough => happened.await,
                    other => return other,
                }
            }
        };
        match patience {
            None => waiting.await,
            Some(patience) => timeout(patience, waiting).await.unwrap_or_else(|_| hold()),
        }
    }

    /// What there is to know.
    pub fn status(&self) -> MemberStatus {
        self.0.status()
    }

    /// How often things have happened.
    pub fn counters(&self) -> &Counters {
        &self.0.counters
    }
}

impl Driver {
    pub(super) fn shard_name(&self) -> Option<Arc<str>> {
        self.shard.borrow().clone()
    }

    pub(super) fn assigned(&self, shard: &str) {
        tracing::info!(shard, node = %self.me, "assigned");
        self.shard.send_replace(Some(shard.into()));
    }

    pub(super) fn time(&self, instant: Instant) -> Time {
        let since = instant.saturating_duration_since(self.origin);
        Time::default().plus(since)
    }

    fn now(&self) -> Now {
        Now {
            time: self.time(Instant::now()),
            wall: Millis(now_ms()),
        }
    }

    /// Something has happened.
    pub(super) fn event(self: &Arc<Self>, event: Event) {
        self.step(event, &Bytes::new());
    }

    /// A frame has come.
    pub(super) fn received(self: &Arc<Self>, from: &MemberId, frame: Frame) {
        if matches!(frame.message.body, Body::Reset { .. }) {
            // Nobody reads what is about to be thrown away.
            self.node.set_stale();
        }
        let event = Event::Received {
            from: from.clone(),
            message: frame.message,
        };
        self.step(event, &frame.payload);
    }

    fn step(self: &Arc<Self>, event: Event, payload: &Bytes) {
        let mut outputs = Vec::new();
        let mut state = self.state.lock();
        state.member.step(event, payload, self.now(), &mut outputs);
        self.carry_out(&mut state, outputs);
        let wake_at = state.member.wake_at();
        if wake_at < state.armed {
            state.armed = wake_at;
            self.rearm.notify_one();
        }
        drop(state);
        self.happened.notify_waiters();
    }

    /// The next frame for a follower.
    pub(super) fn pull(self: &Arc<Self>, to: &MemberId) -> Pull {
        let mut outputs = Vec::new();
        let mut state = self.state.lock();
        let pull = state.member.pull(to, self.now(), &mut outputs);
        self.carry_out(&mut state, outputs);
        pull
    }

    pub(super) fn log(&self) -> &crate::log::Log {
        &self.parts.log
    }

    /// Ticks when the member wants it.
    async fn tick(self: Arc<Self>) {
        loop {
            let wake_at = {
                let mut state = self.state.lock();
                state.armed = state.member.wake_at();
                state.armed
            };
            // A day is as good as never.
            let span = wake_at.since(self.time(Instant::now()));
            let at = Instant::now() + span.min(Duration::from_secs(86_400));
            tokio::select! {
                () = sleep_until(at.into()) => self.event(Event::Tick),
                () = self.rearm.notified() => {}
            }
        }
    }

    fn carry_out(self: &Arc<Self>, state: &mut State, outputs: Vec<Output>) {
        for output in outputs {
            match output {
                Output::Send { to, frame } => state.send(&to, frame),
                Output::Read => drop(tokio::spawn(observe::read(Arc::clone(self)))),
                Output::Write { record, expected } => {
                    tokio::spawn(observe::write(Arc::clone(self), record, expected));
                }
                Output::Link { to } => self.link(state, to),
                Output::Unlink { to } => drop(state.links.remove(&to)),
                Output::Hangup { from } => {
                    if let Some(inbound) = state.inbound.remove(&(from, Stream::Feed)) {
                        inbound.reader.abort();
                    }
                }
                Output::Begun { term } => {
                    Counters::count(&self.counters.reigns_begun);
                    self.reign.send_replace(term);
                }
                Output::Ended => {
                    Counters::count(&self.counters.reigns_ended);
                    self.reign.send_replace(0);
                }
                Output::Drained => drop(self.drained.send_replace(true)),
                Output::Fresh { as_of } => {
                    let as_of = self.origin + Duration::from_micros(as_of.0);
                    self.node.set_fresh_until(as_of + self.staleness);
                }
                Output::Resync { full: true } => Counters::count(&self.counters.full_resyncs),
                Output::Resync { full: false } => Counters::count(&self.counters.partial_resyncs),
                Output::Feed { to } => {
                    if let Some(link) = state.links.get(&to) {
                        link.wake();
                    }
                }
                Output::Note(notice) => self.note(notice),
            }
        }
    }

    fn link(self: &Arc<Self>, state: &mut State, to: MemberId) {
        let Some(shard) = self.shard_name() else {
            return;
        };
        let hello = Hello {
            cluster: self.keys.cluster().to_string(),
            shard: shard.to_string(),
            from: self.me.clone(),
            to: to.clone(),
        };
        let settings = LinkSettings {
            hello,
            lease: self.settings.timing.lease,
        };
        state
            .links
            .insert(to, Link::open(Arc::clone(self), settings));
    }

    /// The address of a member that is registered.
    pub(super) fn address(&self, member: &MemberId) -> Option<String> {
        let directory = self.directory.borrow();
        let node = &directory.nodes.get(&*member.node)?.record;
        (node.incarnation == *member.incarnation).then(|| node.peer.clone())
    }

    /// Another member has opened a stream. One of its earlier ones is closed: nothing of it arrives any more.
    pub(super) fn accept(
        self: &Arc<Self>,
        from: MemberId,
        stream: Stream,
        answers: mpsc::Sender<PeerFrame>,
        reader: AbortHandle,
    ) {
        let mut state = self.state.lock();
        let inbound = Inbound { answers, reader };
        if let Some(old) = state.inbound.insert((from, stream), inbound) {
            old.reader.abort();
        }
    }

    /// The stream that this task reads has ended. So do its answers: whoever opened it opens another.
    pub(super) fn ended(&self, from: MemberId, stream: Stream, reader: task::Id) {
        let mut state = self.state.lock();
        if let Entry::Occupied(entry) = state.inbound.entry((from, stream))
            && entry.get().reader.id() == reader
        {
            entry.remove();
        }
    }

    fn note(&self, notice: Notice) {
        let shard = self.shard_name().unwrap_or_default();
        match notice {
            Notice::Leads { term: 1 } => {
                tracing::info!(%shard, node = %self.me, "leads the new shard");
            }
            Notice::Leads { term } => {
                tracing::warn!(%shard, node = %self.me, term, "leads the shard");
            }
            Notice::SteppedDown { term } => {
                tracing::warn!(%shard, node = %self.me, term, "no longer leads the shard");
            }
            Notice::LostEverything { term, losses } => {
                Counters::count(&self.counters.data_losses);
                tracing::error!(
                    %shard, node = %self.me, term, losses,
                    "all copies of the shard's data were lost: it begins empty"
                );
            }
            Notice::InSync(members) => {
                let members: Vec<String> = members.iter().map(ToString::to_string).collect();
                let members = members.join(" ");
                tracing::info!(%shard, members, "the in-sync set has changed");
            }
        }
    }

    fn status(&self) -> MemberStatus {
        let core = self.state.lock().member.status();
        let now = self.time(Instant::now());
        let left = core.lease_until.since(now);
        let grace = self.settings.timing.grace;
        MemberStatus {
            hears_primary: core.heard.is_some_and(|heard| now < heard.plus(grace)),
            shard: self.shard_name().unwrap_or_default().to_string(),
            core,
            last: self.parts.log.last().0,
            acknowledged: self.parts.log.acknowledged().0,
            log_bytes: self.parts.log.retained_bytes(),
            lease_left_micros: u64::try_from(left.as_micros()).unwrap_or(u64::MAX),
        }
    }
}

impl State {
    /// Sends a frame on the stream where it belongs, if that is open. What is lost so is sent again or not needed: a
    /// stream that is full is as good as broken.
    fn send(&mut self, to: &MemberId, frame: Frame) {
        let stream = frame.message.body.stream();
        let from_primary = matches!(
            frame.message.body,
            Body::Heartbeat { .. } | Body::Attach | Body::Resume { .. }
        );
        let key = (to.clone(), stream);
        match self.inbound.get(&key).filter(|_| !from_primary) {
            Some(inbound) => {
                if inbound.answers.try_send(to_wire(frame)).is_err() {
                    let inbound = self.inbound.remove(&key);
                    inbound.inspect(|inbound| inbound.reader.abort());
                }
            }
            None => {
                if let Some(link) = self.links.get(to) {
                    link.send(stream, to_wire(frame));
                }
            }
        }
    }
}
