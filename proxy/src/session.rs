//! One client's session: from complete commands to replies.

mod dispatch;

use std::{
    mem,
    sync::{Arc, atomic::Ordering::Relaxed},
};

use larder_proto::{
    command::{Command, Flags},
    limits::BATCH_BYTES,
    resp::{Args, Limits, Output, Protocol},
    topology::Topology,
};

use crate::{
    backend::{AHEAD_MAX, Revoked},
    batch::Batch,
    copies::Written,
    front::{Front, View, now_ms},
    in_place::InPlace,
    input::Input,
    lead::Lead,
    park::Park,
    registry::{Client, Registered},
    stats::Stats,
    together::Turn,
    wait::Wait,
    window::Window,
};

/// Which replies a client wants (`CLIENT REPLY`).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum Replying {
    /// All.
    #[default]
    On,
    /// None.
    Off,
    /// All but that to the next command.
    SkipNext,
    /// All but that to this command.
    Skip,
}

/// What a command leaves to be done.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Flow {
    /// Go on with the next command.
    Continue,
    /// Replies have to be there before this command can run: settle, then run it again.
    Settle,
    /// Send what there is, then close.
    Close,
}

const VIEWED: &str = "a session that runs nothing has its view";

/// With less input than this, there are hardly two commands in it.
const AHEAD_BYTES_MIN: usize = 64;

/// A session's state between commands.
pub(crate) struct Session {
    pub(crate) front: Arc<Front>,
    /// By which the commands of `batch` were routed. Taken out while commands run: counting references to what all
    /// threads share would make them wait for each other.
    view: Option<Arc<View>>,
    registered: Registered,
    pub(crate) out: Output,
    pub(crate) batch: Batch,
    woven: Output,
    pub(crate) authenticated: bool,
    /// Has asked for `CLUSTER SLOTS`, `SHARDS` or `NODES`: it is told where keys are rather than served from afar.
    pub(crate) cluster_aware: bool,
    /// Has said `READONLY`: what it reads may be as old as replicas may be.
    pub(crate) reads_replicas: bool,
    pub(crate) replying: Replying,
    /// The last command, if it is a `WAIT`: its reply comes after all others have been released.
    pub(crate) wait: Option<Wait>,
    /// A `LOAD.GET` was sent on as the last command, and may have to wait.
    asked: Option<Park>,
    /// The last command is a `LOAD.GET` or `GET` that waits: its reply comes after all others have left.
    parked: Option<Park>,
    /// What `batch` may have written, if there are copies.
    written: Written,
    /// The topology when the session began, or when it last waited.
    pub(crate) since: Arc<Topology>,
    /// What this run has executed here, and must be released before `out` may leave.
    in_place: InPlace,
    now_ms: u64,
    window: Window,
    /// Commands since the counters were last brought up to date.
    commands: usize,
    errors: usize,
}

impl Session {
    pub(crate) fn new(front: Arc<Front>, registered: Registered) -> Session {
        let authenticated = front.password.is_none();
        Session {
            authenticated,
            since: Arc::clone(&front.view.load().topology),
            view: Some(front.view.load_full()),
            front,
            registered,
            out: Output::default(),
            batch: Batch::default(),
            woven: Output::default(),
            cluster_aware: false,
            reads_replicas: false,
            replying: Replying::On,
            wait: None,
            asked: None,
            parked: None,
            written: Written::default(),
            in_place: InPlace::default(),
            now_ms: now_ms(),
            window: Window::default(),
            commands: 0,
            errors: 0,
        }
    }

    /// What others know of this session, apart from it.
    pub(crate) fn client_handle(&self) -> Arc<Client> {
        Arc::clone(&self.registered.client)
    }

    pub(crate) fn client(&self) -> &Client {
        &self.registered.client
    }

    pub(crate) fn now_ms(&self) -> u64 {
        self.now_ms
    }

    /// Runs the complete commands in `input` until there are none, or replies have to be sent first.
    pub(crate) fn run(&mut self, input: &mut Input) -> Flow {
        let mut view = self.view.take().expect(VIEWED);
        if self.batch.is_empty() {
            let newest = self.front.view.load();
            if !Arc::ptr_eq(&newest, &view) {
                view = Arc::clone(&newest);
            }
        }
        let flow = self.run_by(&view, input);
        self.view = Some(view);
        flow
    }

    fn run_by(&mut self, view: &View, input: &mut Input) -> Flow {
        self.in_place.begin(&*self.front.backend);
        self.now_ms = now_ms();
        self.client().active_ms.store(self.now_ms, Relaxed);
        let bulk_bytes_max = self.front.limits.bulk_bytes_max.load(Relaxed);
        let mut warm = 0;
        loop {
            if warm == 0 && self.in_place.is_open() {
                warm = AHEAD_MAX;
                self.warm(input, bulk_bytes_max);
            }
            warm -= usize::from(warm > 0);
            let limits = Limits {
                bulk_bytes_max,
                authenticated: self.authenticated,
            };
            let length = match input.next(limits) {
                Ok(Some(length)) => length,
                Ok(None) => return Flow::Continue,
                Err(error) => {
                    Stats::add(&self.front.stats.here().protocol_errors, 1);
                    // What came before it is answered before it.
                    if !self.batch.is_empty() {
                        return Flow::Settle;
                    }
                    self.out.error(&format!("ERR Protocol error: {error}"));
                    return Flow::Close;
                }
            };
            match self.one(view, input.args(), input.raw(length)) {
                Flow::Settle => return Flow::Settle,
                Flow::Close => return Flow::Close,
                Flow::Continue => input.advance(length),
            }
            if self.out.len() + self.batch.len() >= BATCH_BYTES
                || self.window.is_full(self.batch.commands())
                || self.wait.is_some()
                || self.asked.is_some()
                || self.parked.is_some()
            {
                return Flow::Settle;
            }
            if self.client().is_killed() {
                return Flow::Close;
            }
        }
    }

    /// Notes the key of a command that came alone, to be fetched together with those of other sessions.
    pub(crate) fn note_key(&self, input: &mut Input) -> Option<Turn> {
        if !self.authenticated || self.front.backend.reign() == 0 {
            return None;
        }
        let limits = Limits {
            bulk_bytes_max: self.front.limits.bulk_bytes_max.load(Relaxed),
            authenticated: true,
        };
        // What is wrong with it is told when it is run.
        let is_lone = matches!(input.next(limits), Ok(Some(_))) && input.is_lone();
        let args = is_lone.then(|| input.args())?;
        // The second word: for most commands, a key.
        Turn::note(args.get(1)?)
    }

    /// Has the keys of the next commands fetched, if there are several.
    fn warm(&self, input: &mut Input, bulk_bytes_max: usize) {
        if input.len() < AHEAD_BYTES_MIN || input.is_lone() || !self.authenticated {
            return;
        }
        let limits = Limits {
            bulk_bytes_max,
            authenticated: true,
        };
        let (mut keys, mut count) = ([&[][..]; AHEAD_MAX], 0);
        input.look_ahead(AHEAD_MAX, limits, |key| {
            keys[count] = key;
            count += 1;
        });
        if count > 1 {
            self.front.backend.warm(&keys[..count]);
        }
    }

    /// Fills the holes in the output and waits until it may leave.
    ///
    /// [`Revoked`]: it never may. Some of its replies tell what this node did while another may have been the primary
    /// already, and a write of those may be lost. Which of the others would be safe to send no longer matters: a client
    /// whose connection is closed knows that it knows nothing of what has no reply, and that is the truth.
    pub(crate) async fn settle(&mut self) -> Result<(), Revoked> {
        if !self.batch.is_empty() {
            let front = Arc::clone(&self.front);
            let view = Arc::clone(self.view.as_ref().expect(VIEWED));
            let commands = self.batch.commands();
            self.woven.set_protocol(self.out.protocol());
            let last = self
                .batch
                .settle(&front, &view, &self.out, &mut self.woven)
                .await;
            mem::swap(&mut self.out, &mut self.woven);
            if let Some(park) = self.asked.take() {
                self.parked = Park::instead(&mut self.out, last, || Some(park));
            }
            self.woven.clear();
            self.window.learn(commands, self.out.len());
        }
        if let Some(copies) = &self.front.copies {
            // Before anybody is told that it was done.
            copies.forget(&mem::take(&mut self.written));
        }
        self.in_place.release(&*self.front.backend).await?;
        if let Some(wait) = self.wait.take() {
            let client = self.client_handle();
            let _long = wait.timeout_ms.is_none().then(|| client.wait_long());
            self.since = wait.finish(&self.front, &mut self.out).await;
        }
        let stats = self.front.stats.here();
        Stats::add(&stats.commands_processed, mem::take(&mut self.commands));
        if self.errors > 0 {
            Stats::add(&stats.error_replies, mem::take(&mut self.errors));
        }
        Ok(())
    }

    /// Whether the last command waits for a key to be loaded.
    pub(crate) fn is_parked(&self) -> bool {
        self.parked.is_some()
    }

    /// Waits for that, and writes the reply. If that says that the client is to load the key, it has yet to be told.
    pub(crate) async fn unpark(&mut self) -> Option<Lead> {
        let park = self.parked.take()?;
        let client = self.client_handle();
        let _long = park.is_for_who_stays().then(|| client.wait_long());
        park.finish(&self.front, &mut self.out).await
    }

    /// Whether the replies to be sent at once are more than a session may hold.
    pub(crate) fn is_overfull(&self) -> bool {
        let overfull = self.out.len() > self.front.limits.output_bytes_max.load(Relaxed);
        if overfull {
            let address = self.client().address;
            tracing::warn!(%address, bytes = self.out.len(), "client closed: output buffer limit reached");
        }
        overfull
    }

    /// Runs one command, timed if it is of a kind that may take long.
    fn one(&mut self, view: &View, args: Args<'_>, raw: Option<&[u8]>) -> Flow {
        if args.is_empty() {
            return Flow::Continue;
        }
        let mark = self.out.mark();
        let command = match Command::of(args) {
            Ok(command) => command,
            Err(_) if is_http(&args[0]) => {
                let address = self.client().address;
                tracing::warn!(%address, "client closed: it speaks HTTP, perhaps on behalf of a web page");
                return Flow::Close;
            }
            Err(refusal) => {
                self.commands += 1;
                self.fail(&refusal.message(args));
                return self.after(mark, Flow::Continue);
            }
        };
        self.client().last_command.store(command.id as u8, Relaxed);
        if !self.authenticated && !command.flags.contains(Flags::NO_AUTH) {
            self.commands += 1;
            self.fail("NOAUTH Authentication required.");
            return self.after(mark, Flow::Continue);
        }
        let started = self
            .front
            .slowlog
            .timer(command, raw.map_or(0, <[u8]>::len));
        let flow = self.dispatch(view, command, args, raw);
        if flow == Flow::Settle {
            return flow;
        }
        self.commands += 1;
        if let Some(started) = started {
            let client = self.client();
            let whose = || {
                (
                    client.address.to_string(),
                    client.labels.lock().name.clone(),
                )
            };
            self.front.slowlog.note(started, self.now_ms, args, whose);
        }
        self.after(mark, flow)
    }

    /// Drops the reply that the client did not want.
    fn after(&mut self, mark: larder_proto::resp::Mark, flow: Flow) -> Flow {
        match self.replying {
            Replying::On => {}
            Replying::Off | Replying::Skip => self.out.rewind(mark),
            Replying::SkipNext => {}
        }
        self.replying = match self.replying {
            Replying::SkipNext => Replying::Skip,
            Replying::Skip => Replying::On,
            other => other,
        };
        flow
    }

    /// Answers with an error.
    pub(crate) fn fail(&mut self, message: &str) {
        self.errors += 1;
        self.out.error(message);
    }

    /// Speaks this protocol from now on.
    pub(crate) fn set_protocol(&mut self, protocol: Protocol) {
        self.out.set_protocol(protocol);
        self.client().protocol.store(protocol.version(), Relaxed);
    }
}

/// Whether this begins a line of an HTTP request. A browser can be made to send one to a server that only its user can
/// reach, with commands in its body; Redis closes such connections too.
fn is_http(word: &[u8]) -> bool {
    word.eq_ignore_ascii_case(b"post") || word.eq_ignore_ascii_case(b"host:")
}
