//! Every bound that separate processes share, with its unit last in the name. Settings may lower most of them.

/// Longest key, in bytes.
pub const KEY_BYTES_MAX: usize = 64 * 1024;

/// Longest string value and longest RESP bulk string unless configured otherwise, in bytes.
pub const VALUE_BYTES_MAX: usize = 512 * 1024 * 1024;

/// Most arguments of one command.
pub const ARGUMENTS_MAX: usize = 1024 * 1024;

/// Longest inline command, and longest header line of a RESP frame, in bytes.
pub const LINE_BYTES_MAX: usize = 64 * 1024;

/// Most arguments, and longest argument in bytes, of a command from a session that has yet to authenticate.
pub const UNAUTHENTICATED_ARGUMENTS_MAX: usize = 10;
/// See [`UNAUTHENTICATED_ARGUMENTS_MAX`].
pub const UNAUTHENTICATED_BULK_BYTES_MAX: usize = 16384;

/// Longest lease on a key that is loaded, and longest wait for one, in milliseconds.
pub const LEASE_MS_MAX: u64 = 3_600_000;

/// Longest reason why a key could not be loaded, in bytes.
pub const LOAD_MESSAGE_BYTES_MAX: usize = 4096;

/// Most bytes of a session's unexecuted input: one command of the largest kind and what goes with it.
pub const QUERY_BUFFER_BYTES_MAX: usize = 1024 * 1024 * 1024;

/// Deepest nesting of a reply.
pub const REPLY_DEPTH_MAX: usize = 32;

/// Longest reply to a command on several keys that one process passes on to another, in bytes: it is held in one piece.
pub const FORWARDED_REPLY_BYTES_MAX: usize = 64 * 1024 * 1024;

/// A batch of commands or replies is sent once it has this many bytes, however many more are waiting.
pub const BATCH_BYTES: usize = 256 * 1024;

/// Longest gRPC message: one command of the largest kind, in a batch that was almost full when it came.
pub const MESSAGE_BYTES_MAX: usize = QUERY_BUFFER_BYTES_MAX + 2 * BATCH_BYTES;

const _: () = assert!(KEY_BYTES_MAX < VALUE_BYTES_MAX);
const _: () = assert!(VALUE_BYTES_MAX < QUERY_BUFFER_BYTES_MAX);
const _: () = assert!(
    QUERY_BUFFER_BYTES_MAX < u32::MAX as usize,
    "spans of arguments are u32"
);
const _: () = assert!(
    MESSAGE_BYTES_MAX < u32::MAX as usize,
    "gRPC frames count in u32"
);
