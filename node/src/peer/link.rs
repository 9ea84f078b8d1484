//! The two streams from a primary to a follower.

use std::{sync::Arc, time::Duration};

use larder_proto::{
    limits::MESSAGE_BYTES_MAX,
    schema::{PeerFrame, peer_client::PeerClient},
};
use tokio::{
    sync::{Notify, mpsc},
    task::AbortHandle,
    time::{sleep, timeout},
};
use tokio_stream::wrappers::ReceiverStream;
use tonic::{
    Request, Streaming,
    transport::{Channel, Endpoint},
};

use super::{
    convert::Hello,
    driver::Driver,
    pieces::{self, Gathering},
    status::Counters,
};
use crate::{
    election::{Event, Stream},
    replication::Pull,
};

/// Frames that wait to be written on a stream, beside those that HTTP/2 has taken.
const QUEUE: usize = 4;

/// Messages without data that wait for a stream. Heartbeats that do not fit are late anyway.
const MESSAGES: usize = 64;

/// After a stream has broken, the next is opened this soon.
const PAUSE_FIRST: Duration = Duration::from_millis(10);
/// And not later than this.
const PAUSE_MAX: Duration = Duration::from_millis(250);

/// A connection on which nothing has come for this long is asked for a sign of life, and given up if it gives none for
/// the time below: TCP alone would notice minutes after a network that was cut is whole again.
pub(super) const KEEP_ALIVE_INTERVAL: Duration = Duration::from_secs(1);
pub(super) const KEEP_ALIVE_TIMEOUT: Duration = Duration::from_secs(2);

/// What a follower may send before it is read. Its answers are short.
const WINDOW_BYTES: u32 = 4 * 1024 * 1024;

/// How a link is set up.
pub(super) struct LinkSettings {
    pub(super) hello: Hello,
    /// A connection that takes longer is of no use.
    pub(super) lease: Duration,
}

/// Keeps both streams open until it is dropped.
pub(super) struct Link {
    heart: mpsc::Sender<PeerFrame>,
    feed: mpsc::Sender<PeerFrame>,
    wake: Arc<Notify>,
    tasks: [AbortHandle; 2],
}

impl Drop for Link {
    fn drop(&mut self) {
        self.tasks.iter().for_each(AbortHandle::abort);
    }
}

impl Link {
    pub(super) fn open(driver: Arc<Driver>, settings: LinkSettings) -> Link {
        let (heart, heartbeats) = mpsc::channel(MESSAGES);
        let (feed, messages) = mpsc::channel(MESSAGES);
        let wake = Arc::new(Notify::new());
        let settings = Arc::new(settings);
        let end = |stream, messages| End {
            driver: Arc::clone(&driver),
            settings: Arc::clone(&settings),
            stream,
            messages,
            wake: Arc::clone(&wake),
        };
        let tasks = [
            tokio::spawn(end(Stream::Heart, heartbeats).run()).abort_handle(),
            tokio::spawn(end(Stream::Feed, messages).run()).abort_handle(),
        ];
        Link {
            heart,
            feed,
            wake,
            tasks,
        }
    }

    /// There may be something to pull.
    pub(super) fn wake(&self) {
        self.wake.notify_one();
    }

    /// Sends a message without data, or drops it if the stream takes none.
    pub(super) fn send(&self, stream: Stream, frame: PeerFrame) {
        let queue = match stream {
            Stream::Heart => &self.heart,
            Stream::Feed => &self.feed,
        };
        // A lost message of the feed is made good by the next connection: nothing follows it on this one.
        if queue.try_send(frame).is_err() {
            tracing::debug!(?stream, "a stream to a follower is full");
        }
    }
}

/// This end of one stream.
struct End {
    driver: Arc<Driver>,
    settings: Arc<LinkSettings>,
    stream: Stream,
    messages: mpsc::Receiver<PeerFrame>,
    wake: Arc<Notify>,
}

impl End {
    async fn run(mut self) {
        let mut pause = PAUSE_FIRST;
        let mut said = String::new();
        loop {
            match timeout(self.settings.lease * 2, self.connect()).await {
                Ok(Ok((frames, answers))) => {
                    pause = PAUSE_FIRST;
                    said.clear();
                    let broken = self.converse(frames, answers).await;
                    let to = &self.settings.hello.to;
                    tracing::info!(%to, stream = ?self.stream, reason = broken, "a stream to a follower broke");
                }
                Ok(Err(error)) => {
                    let to = &self.settings.hello.to;
                    // Once for as long as it stays the same, however often it is tried.
                    if self.stream == Stream::Feed && said != error {
                        tracing::warn!(%to, error, "cannot reach a follower");
                        said = error;
                    }
                }
                Err(_) => {}
            }
            sleep(pause).await;
            pause = (pause * 2).min(PAUSE_MAX);
        }
    }

    async fn connect(&self) -> Result<(mpsc::Sender<PeerFrame>, Streaming<PeerFrame>), String> {
        let to = &self.settings.hello.to;
        let address = self.driver.address(to).ok_or("it is not registered")?;
        let endpoint = Endpoint::from_shared(format!("http://{address}"))
            .map_err(|error| error.to_string())?
            .connect_timeout(self.settings.lease * 2)
            .tcp_nodelay(true)
            .http2_keep_alive_interval(KEEP_ALIVE_INTERVAL)
            .keep_alive_timeout(KEEP_ALIVE_TIMEOUT)
            .initial_stream_window_size(WINDOW_BYTES)
            .initial_connection_window_size(WINDOW_BYTES);
        let channel = endpoint
            .connect()
            .await
            .map_err(|error| error.to_string())?;
        let mut client: PeerClient<Channel> = PeerClient::new(channel)
            .max_decoding_message_size(MESSAGE_BYTES_MAX)
            .max_encoding_message_size(MESSAGE_BYTES_MAX);
        let (frames, outgoing) = mpsc::channel(QUEUE);
        let hello = self.settings.hello.to_wire();
        frames.try_send(hello).map_err(|error| error.to_string())?;
        let mut request = Request::new(ReceiverStream::new(outgoing));
        if !self.driver.password.is_empty() {
            let bearer = format!("Bearer {}", self.driver.password);
            let bearer = bearer.parse().map_err(|_| "the password is no header")?;
            request.metadata_mut().insert("authorization", bearer);
        }
        let response = match self.stream {
            Stream::Heart => client.heart(request).await,
            Stream::Feed => client.feed(request).await,
        };
        let response = response.map_err(|status| status.to_string())?;
        Ok((frames, response.into_inner()))
    }

    /// Sends and receives until the stream breaks. Returns why it did.
    async fn converse(
        &mut self,
        frames: mpsc::Sender<PeerFrame>,
        answers: Streaming<PeerFrame>,
    ) -> String {
        // What was meant for an earlier connection is no use on this one.
        while self.messages.try_recv().is_ok() {}
        let (driver, to) = (Arc::clone(&self.driver), self.settings.hello.to.clone());
        let feeds = self.stream == Stream::Feed;
        if feeds {
            driver.event(Event::Connected(to.clone()));
        }
        let broken = tokio::select! {
            broken = listen(&driver, &to, answers) => broken,
            () = self.speak(frames) => "it takes no more".to_owned(),
        };
        if feeds {
            Counters::count(&driver.counters.feeds_broken);
            driver.event(Event::Disconnected(to));
        }
        broken
    }

    async fn speak(&mut self, frames: mpsc::Sender<PeerFrame>) {
        let (driver, to) = (Arc::clone(&self.driver), self.settings.hello.to.clone());
        loop {
            // Messages go first: a feed begins with one.
            while let Ok(message) = self.messages.try_recv() {
                if frames.send(message).await.is_err() {
                    return;
                }
            }
            let pull = match self.stream {
                Stream::Feed => driver.pull(&to),
                Stream::Heart => Pull::Wait,
            };
            match pull {
                Pull::Frame(outgoing) => {
                    let mut pieces = pieces::cut(outgoing).peekable();
                    while let Some(frame) = pieces.next() {
                        if frames.send(frame).await.is_err() {
                            return;
                        }
                        if pieces.peek().is_some() {
                            driver.event(Event::Fed(to.clone()));
                        }
                    }
                    continue;
                }
                Pull::Grow(position) => tokio::select! {
                    () = driver.log().grown(position) => {}
                    () = self.wake.notified() => {}
                    message = self.messages.recv() => if !pass(&frames, message).await { return },
                },
                Pull::Wait => tokio::select! {
                    () = self.wake.notified(), if self.stream == Stream::Feed => {}
                    message = self.messages.recv() => if !pass(&frames, message).await { return },
                },
            }
        }
    }
}

async fn pass(frames: &mpsc::Sender<PeerFrame>, message: Option<PeerFrame>) -> bool {
    match message {
        Some(message) => frames.send(message).await.is_ok(),
        None => false,
    }
}

async fn listen(
    driver: &Arc<Driver>,
    to: &crate::election::MemberId,
    mut answers: Streaming<PeerFrame>,
) -> String {
    let mut gathering = Gathering::default();
    loop {
        match answers.message().await {
            Ok(Some(frame)) => match gathering.add(frame) {
                Ok(Some(frame)) => driver.received(to, frame),
                Ok(None) => {}
                Err(malformed) => return malformed.to_string(),
            },
            Ok(None) => return "it ended the stream".into(),
            Err(status) => return status.to_string(),
        }
    }
}
