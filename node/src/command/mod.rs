//! The commands that run in the engine.
//!
//! A row of `larder_proto`'s command table names a function here, and [`execute`] calls it: adding a command is that row
//! and that function. Commands that belong together share a file:
//!
//! ```text
//! strings   get  set  append  range  counter  lcs
//! keys      delete  exists  expire  ttl  rename  object  scan  flush
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
mod lcs;
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
use larder_proto::command::{Command, Flags};
use larder_proto::resp::{Args, Output, integer};

use crate::engine::{Engine, Locked, Millis};
use crate::log::Position;

pub(crate) use counter::increment;
pub use error::CommandError;
pub(crate) use value::string_of;

/// One command on its way through the engine.
struct Call<'a> {
    engine: &'a Engine,
    command: &'static Command,
    /// Its name first, of a subcommand its container's before that. As many as the command's arity says.
    args: Args<'a>,
    now: Millis,
    out: &'a mut Output,
    /// The highest position of what was written or seen so far.
    position: Position,
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

/// Executes a command whose arity has been checked and whose slot this node owns, and writes exactly one reply.
///
/// Returns the position that the log must have acknowledged before the reply may leave.
pub fn execute(
    engine: &Engine,
    command: &'static Command,
    args: Args<'_>,
    now: Millis,
    out: &mut Output,
) -> Position {
    let start = out.mark();
    let mut call = Call {
        engine,
        command,
        args,
        now,
        out,
        position: Position::default(),
    };
    if let Err(error) = call.run() {
        call.out.rewind(start);
        call.out.error(&error.to_string());
    }
    call.position
}

/// Runs `work` while the key's stripe is locked. Returns its result and the position that the log must have
/// acknowledged before anybody may learn of it.
pub(crate) fn with_stripe<R>(
    engine: &Engine,
    key: &[u8],
    now: Millis,
    work: impl FnOnce(&mut Locked<'_>) -> R,
) -> (R, Position) {
    let mut stripe = engine.lock(Slot::of(key), now);
    let result = work(&mut stripe);
    (result, stripe.position())
}

impl<'a> Call<'a> {
    fn run(&mut self) -> Result<(), CommandError> {
        if self.command.flags.contains(Flags::DENY_OOM) {
            let bytes = self.args.from(1).iter().map(<[u8]>::len).sum();
            self.engine.make_room(bytes, self.now)?;
        }
        HANDLERS[self.command.id as usize](self)
    }

    /// The argument at this index; empty if there are not that many, which the arity rules out.
    fn arg(&self, index: usize) -> &'a [u8] {
        self.args.get(index).unwrap_or_default()
    }

    /// The argument at this index as an integer.
    fn integer(&self, index: usize) -> Result<i64, CommandError> {
        integer(self.arg(index)).ok_or(CommandError::NotInteger)
    }

    /// Runs `work` while the key's stripe is locked, and remembers what it wrote or saw. Every key of the stripe may be
    /// used, so every key of a command routed by slot.
    fn locked<R>(&mut self, key: &[u8], work: impl FnOnce(&mut Locked<'_>, &mut Output) -> R) -> R {
        let (result, position) =
            with_stripe(self.engine, key, self.now, |stripe| work(stripe, self.out));
        self.position = self.position.max(position);
        result
    }

    /// Runs `work` on the engine as a whole, and remembers that it may have seen everything.
    fn everywhere<R>(&mut self, work: impl FnOnce(&Engine, &mut Output) -> R) -> R {
        let result = work(self.engine, self.out);
        self.position = self.engine.log().last();
        result
    }
}

/// Stands in the table for commands that the front end answers.
fn elsewhere(call: &mut Call<'_>) -> Result<(), CommandError> {
    Err(CommandError::Elsewhere(call.command.name))
}
