//! Commands that the front end answers itself. Adding one: a row in the table with side `front`, and its function here.

mod auth;
mod client;
mod client_kill;
mod cluster;
#[allow(clippy::module_inception)]
mod command;
mod config;
mod container;
mod hello;
mod info;
mod ping;
mod slowlog;
mod wait;

use larder_proto::{
    command::{Command, Id},
    resp::Args,
};

use crate::{
    front::View,
    session::{Flow, Session},
};

/// What a handler works with.
pub(crate) struct Call<'a> {
    pub(crate) session: &'a mut Session,
    pub(crate) view: &'a View,
    pub(crate) command: &'static Command,
    pub(crate) args: Args<'a>,
}

impl Call<'_> {
    /// An argument as text, for names and options.
    pub(crate) fn text(&self, index: usize) -> String {
        String::from_utf8_lossy(self.args.get(index).unwrap_or_default()).into_owned()
    }

    /// Whether an argument is this word, in any case.
    pub(crate) fn is(&self, index: usize, word: &str) -> bool {
        self.args
            .get(index)
            .is_some_and(|argument| argument.eq_ignore_ascii_case(word.as_bytes()))
    }
}

/// `Err`: answer with this error.
type Answer = Result<Flow, String>;

const SYNTAX: &str = "ERR syntax error";
const NOT_AN_INTEGER: &str = "ERR value is not an integer or out of range";

macro_rules! dispatch {
    ($($id:ident $name:literal $arity:literal ($($flag:ident)|*) ($($position:literal),*)
        $route:ident $(($merge:ident))? $side:ident $module:ident::$function:ident
        $group:ident $since:literal $complexity:literal $summary:literal;)*) => {
        fn answer(call: &mut Call<'_>) -> Answer {
            match call.command.id {
                $(Id::$id => run!($side $module $function call),)*
            }
        }
    };
}

macro_rules! run {
    (front $module:ident $function:ident $call:ident) => {
        $module::$function($call)
    };
    (node $module:ident $function:ident $call:ident) => {
        Err(format!("ERR '{}' runs on a node", $call.command.name))
    };
}

larder_proto::command_table!(dispatch);

/// Runs a command whose row says that it goes to no shard.
pub(crate) fn execute(
    session: &mut Session,
    view: &View,
    command: &'static Command,
    args: Args<'_>,
) -> Flow {
    let mark = session.out.mark();
    let mut call = Call {
        session,
        view,
        command,
        args,
    };
    match answer(&mut call) {
        Ok(flow) => flow,
        Err(message) => {
            session.out.rewind(mark);
            session.fail(&message);
            Flow::Continue
        }
    }
}
