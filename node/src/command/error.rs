//! What a command is refused for, in Redis's words.

use thiserror::Error;

use crate::engine::{Closed, EngineError};

/// Why a command failed. Its text is the error reply, code first.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum CommandError {
    /// The key holds a value of another type.
    #[error("WRONGTYPE Operation against a key holding the wrong kind of value")]
    WrongType,
    /// An option that is none, or that another one excludes.
    #[error("ERR syntax error")]
    Syntax,
    /// As [`Refusal::Arity`](larder_proto::command::Refusal::Arity), for what the arity alone cannot say.
    #[error("ERR wrong number of arguments for '{0}' command")]
    Arity(&'static str),
    /// A number, in an argument or a value, that is no 64-bit integer.
    #[error("ERR value is not an integer or out of range")]
    NotInteger,
    /// A number, in an argument or a value, that is no floating-point number.
    #[error("ERR value is not a valid float")]
    NotFloat,
    /// A sum of floating-point numbers that is none.
    #[error("ERR increment would produce NaN or Infinity")]
    NotFinite,
    /// A sum beyond 64 bits.
    #[error("ERR increment or decrement would overflow")]
    Overflow,
    /// The one number whose negative is beyond 64 bits.
    #[error("ERR decrement would overflow")]
    DecrementOverflow,
    /// A time to live that is not ahead, or past the end of time.
    #[error("ERR invalid expire time in '{0}' command")]
    InvalidExpire(&'static str),
    /// NX beside another condition on the deadline.
    #[error("ERR NX and XX, GT or LT options at the same time are not compatible")]
    NxExcludesOthers,
    /// Both GT and LT.
    #[error("ERR GT and LT options at the same time are not compatible")]
    GtExcludesLt,
    /// A condition on the deadline that is none.
    #[error("ERR Unsupported option {0}")]
    UnsupportedOption(String),
    /// An offset below 0.
    #[error("ERR offset is out of range")]
    OffsetOutOfRange,
    /// A value longer than the engine allows.
    #[error("ERR string exceeds maximum allowed size (proto-max-bulk-len)")]
    ValueTooLong,
    /// A key longer than the engine allows. Redis knows no such limit.
    #[error("ERR key of {bytes} bytes exceeds the maximum of {max} bytes")]
    KeyTooLong {
        /// The key's length.
        bytes: usize,
        /// The longest allowed.
        max: usize,
    },
    /// The memory limit leaves no room.
    #[error("OOM command not allowed when used memory > 'maxmemory'.")]
    OutOfMemory,
    /// Leases take all the memory that they may.
    #[error("LOADBUSY too many keys are being loaded")]
    TooManyLoads,
    /// As many wait for loads as may.
    #[error("LOADBUSY too many clients wait for keys to be loaded")]
    TooManyWaiters,
    /// A lease, a wait and the like that is none.
    #[error("ERR milliseconds must be an integer from {least} to {max}", max = larder_proto::limits::LEASE_MS_MAX)]
    Milliseconds {
        /// The least that makes sense.
        least: u64,
    },
    /// JITTER that is no part of the time to live.
    #[error("ERR JITTER must be an integer from 0 to 100")]
    Jitter,
    /// STALE or JITTER of a value that lives until it is evicted.
    #[error("ERR STALE and JITTER need a time to live")]
    NeedsExpiry,
    /// A token that no lease can have.
    #[error("ERR a token is what LOAD.GET answers beside LEAD: 16 hexadecimal digits")]
    NoToken,
    /// What a key's origin, or whoever else loads it, has failed for.
    #[error("ORIGIN {0}")]
    Origin(String),
    /// The reason of a failure that is too long.
    #[error("ERR message exceeds the maximum of {max} bytes", max = larder_proto::limits::LOAD_MESSAGE_BYTES_MAX)]
    MessageTooLong,
    /// A number of a rate limit that is too small.
    #[error("ERR {name} must be an integer of {least} or more")]
    TooSmall {
        /// Which one.
        name: &'static str,
        /// The least that makes sense.
        least: i64,
    },
    /// A rate limit that is finer than what it is kept in.
    #[error("ERR count may be 1000000 for each millisecond of period-ms at most")]
    LimitTooFast,
    /// A rate limit whose times go beyond 64 bits.
    #[error("ERR (max-burst + 1) * period-ms / count may be 100 years at most")]
    LimitTooLong,
    /// A key that is to be a rate limit, and that something else has written.
    #[error("WRONGTYPE The key holds something other than a rate limit")]
    NoLimit,
    /// A number of hot keys that is none, or more than are counted.
    #[error("ERR COUNT must be an integer from 1 to {max}", max = crate::hot::HOT_KEYS_MAX)]
    HotKeysCount,
    /// A key that has to exist does not.
    #[error("ERR no such key")]
    NoSuchKey,
    /// A copy onto itself.
    #[error("ERR source and destination objects are the same")]
    SameKey,
    /// A database other than 0.
    #[error("ERR DB index is out of range")]
    NoSuchDatabase,
    /// A database whose number is beyond 32 bits.
    #[error("ERR value is out of range, value must between -2147483648 and 2147483647")]
    DatabaseNumber,
    /// LCS of a value that is no string.
    #[error("ERR The specified keys must contain string values")]
    LcsOfOtherType,
    /// LCS with both LEN and IDX.
    #[error("ERR If you want both the length and indexes, please just use IDX.")]
    LcsLengthAndIndexes,
    /// LCS of strings so long that it would take too much time and memory.
    #[error("ERR Insufficient memory, transient memory for LCS exceeds proto-max-bulk-len")]
    LcsTooLong,
    /// OBJECT FREQ where nothing counts frequencies.
    #[error(
        "ERR An LFU maxmemory policy is not selected, access frequency not tracked. Please note that when switching \
         between policies at runtime LRU and LFU data will take some time to adjust."
    )]
    NoFrequency,
    /// OBJECT IDLETIME where nothing keeps the time of the last use.
    #[error(
        "ERR An LFU maxmemory policy is selected, idle time not tracked. Please note that when switching between \
         policies at runtime LRU and LFU data will take some time to adjust."
    )]
    NoIdleTime,
    /// The same with S3-FIFO.
    #[error(
        "ERR The allkeys-s3fifo maxmemory policy is selected, idle time not tracked. Please note that when switching \
         between policies at runtime LRU and S3-FIFO data will take some time to adjust."
    )]
    NoIdleTimeInQueue,
    /// A cursor that is no number.
    #[error("ERR invalid cursor")]
    InvalidCursor,
    /// A slot that does not exist.
    #[error("ERR Invalid slot")]
    InvalidSlot,
    /// A slot that does not exist, or less than no keys.
    #[error("ERR Invalid slot or number of keys")]
    InvalidSlotOrCount,
    /// The slot is not open. Never a reply: [`execute`](super::execute) returns it as what it is.
    #[error("TRYAGAIN The command's slot is not open here")]
    Closed,
    /// A slot was closed between two keys of a write that names keys of several slots.
    #[error(
        "UNCERTAIN A slot of the command's keys was closed while it ran; the command may have been executed in part"
    )]
    Interrupted,
    /// A command that the front end answers has reached the engine: a defect of the sender.
    #[error("ERR command '{0}' is answered by the front end, not by the engine")]
    Elsewhere(&'static str),
}

impl From<Closed> for CommandError {
    fn from(Closed: Closed) -> CommandError {
        CommandError::Closed
    }
}

impl From<EngineError> for CommandError {
    fn from(error: EngineError) -> CommandError {
        match error {
            EngineError::OutOfMemory { .. } => CommandError::OutOfMemory,
            EngineError::TooManyLoads => CommandError::TooManyLoads,
            EngineError::KeyTooLong { bytes, max } => CommandError::KeyTooLong { bytes, max },
            EngineError::ValueTooLong { .. } => CommandError::ValueTooLong,
        }
    }
}
