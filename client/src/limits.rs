//! The client's own bounds, with their units last in the name. What separate processes share is in
//! [`larder_proto::limits`].

use std::time::Duration;

/// A pipe takes no more commands while this many bytes wait to be sent.
pub(crate) const QUEUED_BYTES_MAX: usize = 8 * 1024 * 1024;

/// A pipe takes no more commands while this many groups wait for their replies.
pub(crate) const GROUPS_MAX: usize = 64 * 1024;

/// Groups that get their replies before others may run: few enough that their next commands are on the way while the
/// rest of the message is handed out, enough that batches stay large. Measured with 64 tasks that each await one GET,
/// by `examples/throughput.rs` on cores that never sleep: 370 k/s without portions, 610 k/s with 8, 680 k/s with 16, 590 k/s with 24.
pub(crate) const REPLIES_PER_TURN: usize = 16;

/// Capacity of a batch's buffer when its first command comes.
pub(crate) const BATCH_CAPACITY_BYTES: usize = 4 * 1024;

/// A command at least this long goes out in its own buffer, so that it need not be copied.
pub(crate) const ALONE_BYTES_MIN: usize = 64 * 1024;

/// HTTP/2 flow control: what a node may send on a stream before the client has taken it.
pub(crate) const STREAM_WINDOW_BYTES: u32 = 4 * 1024 * 1024;

/// HTTP/2 flow control: what a node may send on a connection before the client has taken it.
pub(crate) const CONNECTION_WINDOW_BYTES: u32 = 16 * 1024 * 1024;

/// Longest HTTP/2 frame that a node may send.
pub(crate) const FRAME_BYTES_MAX: u32 = 64 * 1024;

/// Pause before the second attempt to connect, at most: each pause is drawn from zero to its bound.
pub(crate) const RECONNECT_FIRST: Duration = Duration::from_millis(10);

/// The bound of that pause doubles up to this.
pub(crate) const RECONNECT_MAX: Duration = Duration::from_millis(500);

/// Nobody asks for the topology again sooner than this after the last time.
pub(crate) const REFRESH_PAUSE: Duration = Duration::from_millis(50);

/// Pause before a command is sent again for the first time, at most.
pub(crate) const RETRY_FIRST: Duration = Duration::from_millis(2);

/// The bound of that pause doubles up to this.
pub(crate) const RETRY_MAX: Duration = Duration::from_millis(100);

/// A replica that has not answered a read after this long is not waited for: the primary is asked.
pub(crate) const REPLICA_PATIENCE: Duration = Duration::from_millis(100);

/// A command that was sent to the wrong node waits at least this long for a new topology.
pub(crate) const MOVED_PAUSE_MIN: Duration = Duration::from_millis(20);

const _: () = assert!(ALONE_BYTES_MIN <= larder_proto::limits::BATCH_BYTES);
const _: () = assert!(QUEUED_BYTES_MAX >= larder_proto::limits::BATCH_BYTES);
const _: () = assert!(STREAM_WINDOW_BYTES <= CONNECTION_WINDOW_BYTES);
