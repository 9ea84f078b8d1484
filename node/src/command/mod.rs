//! The commands that run in the engine.
//!
//! A row of `larder_proto`'s command table names a function here, and [`execute`] calls it: adding a command is that row
//! and that function. Commands that belong together share a file:
//!
//! ```text
//! strings   get  set  append  range  counter  lcs
//! loads     load
//! limits    limit
//! keys      delete  exists  expire  ttl  rename  object  scan  flush
//! hot keys  hot
//! shared    error (what a command is refused for)   value (the type a command asks for)
//!           expiry (EX, PX, EXAT, PXAT)   long_double (INCRBYFLOAT's numbers)
//! ```
//!
//! A command reads its arguments, locks the stripe of its keys once, and writes its reply. What it has written when it
//! fails is forgotten.

mod append;
mod counter;
mod delete;
mod error;
mod exists;
mod expire;
mod expiry;
mod flush;
mod get;
mod hot;
mod lcs;
mod limit;
mod load;
mod long_double;
mod object;
mod range;
mod rename;
mod scan;
mod set;
#[cfg(test)]
mod tests;
mod ttl;
mod value;

use larder_proto::Slot;
use larder_proto::command::{Command, Flags, Route};
use larder_proto::resp::{Args, Output, integer};

use crate::engine::{Engine, Locked, Millis};
use crate::hot::Use;
use crate::log::Position;

pub use crate::engine::{Access, Closed};
pub(crate) use counter::increment;
pub use error::CommandError;
pub(crate) use load::FillLifetime;
pub(crate) use value::{reply, string_of};

/// One command on its way through the engine.
struct Call<'a> {
    engine: &'a Engine,
    command: &'static Command,
    /// Its name first, of a subcommand its container's before that. As many as the command's arity says.
    args: Args<'a>,
    now: Millis,
    access: Access,
    out: &'a mut Output,
    /// The highest position of what was written or seen so far.
    position: Position,
    /// Whether it has had a stripe: it may have written.
    entered: bool,
}

type Handler = fn(&mut Call<'_>) -> Result<(), CommandError>;

macro_rules! handler {
    (node $module:ident::$function:ident) => {
        $module::$function
    };
    (front $module:ident::$function:ident) => {
        elsewhere
    };
}

macro_rules! dispatch {
    ($($id:ident $name:literal $arity:literal ($($flag:ident)|*) ($first:literal, $last:literal, $step:literal)
        $route:ident $(($merge:ident))? $side:ident $module:ident::$function:ident
        $group:ident $since:literal $complexity:literal $summary:literal;)*) => {
        /// What runs each command, in the order of `Id`.
        static HANDLERS: &[Handler] = &[$(handler!($side $module::$function)),*];
    };
}
larder_proto::command_table!(dispatch);

/// Executes a command whose arity has been checked, and writes exactly one reply; or does nothing because a slot that it
/// needs is not open, and then writes nothing.
///
/// Returns the position that the log must have acknowledged before the reply may leave. As of a replica, only commands
/// that read are executed.
pub fn execute(
    engine: &Engine,
    command: &'static Command,
    args: Args<'_>,
    now: Millis,
    access: Access,
    out: &mut Output,
) -> Result<Position, Closed> {
    if access == Access::Replica && !command.flags.contains(Flags::READONLY) {
        return Err(Closed);
    }
    engine.hot().used_by(command, args, now);
    let start = out.mark();
    let mut call = Call {
        engine,
        command,
        args,
        now,
        access,
        out,
        position: Position::default(),
        entered: false,
    };
    if let Err(error) = call.run() {
        call.out.rewind(start);
        if error == CommandError::Closed {
            return Err(Closed);
        }
        call.out.error(&error.to_string());
    }
    Ok(call.position)
}

/// Runs `work`, which uses the key so, while the key's stripe is locked. Returns its result and the position that the
/// log must have acknowledged before anybody may learn of it.
pub(crate) fn with_stripe<R>(
    engine: &Engine,
    key: &[u8],
    made: Use,
    access: Access,
    now: Millis,
    work: impl FnOnce(&mut Locked<'_>) -> R,
) -> Result<(R, Position), Closed> {
    let mut stripe = engine.enter(Slot::of(key), access, now)?;
    let result = work(&mut stripe);
    let position = stripe.position();
    drop(stripe);
    engine.hot().used(key, made, now);
    Ok((result, position))
}

impl<'a> Call<'a> {
    fn run(&mut self) -> Result<(), CommandError> {
        // What changes several slots is refused as a whole while that is still possible.
        if matches!(self.command.route, Route::Split(_)) && self.is_write() && !self.is_admitted() {
            return Err(Closed.into());
        }
        if self.command.flags.contains(Flags::DENY_OOM) {
            let bytes = self.args.from(1).iter().map(<[u8]>::len).sum();
            self.make_room(bytes)?;
        }
        HANDLERS[self.command.id as usize](self)
    }

    fn is_write(&self) -> bool {
        !self.command.flags.contains(Flags::READONLY)
    }

    /// Whether all slots of the keys seem to be open.
    fn is_admitted(&self) -> bool {
        let mut keys = self.command.key_indices(self.args.len());
        keys.all(|index| self.engine.admits(Slot::of(self.arg(index))))
    }

    /// Makes room for so many bytes. There is no room to be refused where the command is not executed.
    fn make_room(&self, bytes: usize) -> Result<(), CommandError> {
        let room = self.engine.make_room(bytes, self.now);
        room.map_err(|error| match self.is_admitted() {
            true => error.into(),
            false => Closed.into(),
        })
    }

    /// The argument at this index; empty if there are not that many, which the arity rules out.
    fn arg(&self, index: usize) -> &'a [u8] {
        self.args.get(index).unwrap_or_default()
    }

    /// The argument at this index as an integer.
    fn integer(&self, index: usize) -> Result<i64, CommandError> {
        integer(self.arg(index)).ok_or(CommandError::NotInteger)
    }

    /// Runs `work` while the key's stripe is locked, if its slot is open, and remembers what it wrote or saw. Every key
    /// of the slot may be used, so every key of a command routed by slot.
    fn locked<R>(
        &mut self,
        key: &[u8],
        work: impl FnOnce(&mut Locked<'_>, &mut Output) -> Result<R, CommandError>,
    ) -> Result<R, CommandError> {
        self.locked_slot(Slot::of(key), work)
    }

    /// The same for the keys of a slot.
    ///
    /// A command on keys of several slots locks one after the other. If one is closed by then, a command that only reads
    /// is refused as a whole: nobody sees what it has found. One that writes is not repeated, for some of its writes may
    /// have been done: it fails. That is rare: all its slots seemed open when it began.
    fn locked_slot<R>(
        &mut self,
        slot: Slot,
        work: impl FnOnce(&mut Locked<'_>, &mut Output) -> Result<R, CommandError>,
    ) -> Result<R, CommandError> {
        let mut stripe = match self.engine.enter(slot, self.access, self.now) {
            Err(Closed) if self.entered && self.is_write() => {
                return Err(CommandError::Interrupted);
            }
            stripe => stripe?,
        };
        self.entered = true;
        let result = work(&mut stripe, self.out);
        self.position = self.position.max(stripe.position());
        result
    }

    /// Runs `work` on the engine as a whole, if any slot is open from its beginning to its end, and remembers that it
    /// may have seen everything.
    fn everywhere<R>(
        &mut self,
        work: impl FnOnce(&Engine, &mut Output) -> R,
    ) -> Result<R, CommandError> {
        let is_admitted = |call: &Call<'_>| call.engine.admits_any(call.access);
        if !is_admitted(self) {
            return Err(Closed.into());
        }
        let result = work(self.engine, self.out);
        self.position = self.engine.log().last();
        // If it was the last slot that closed meanwhile, some stripes may have seemed empty.
        if !is_admitted(self) {
            return Err(Closed.into());
        }
        Ok(result)
    }
}

/// Stands in the table for commands that the front end answers.
fn elsewhere(call: &mut Call<'_>) -> Result<(), CommandError> {
    Err(CommandError::Elsewhere(call.command.name))
}
