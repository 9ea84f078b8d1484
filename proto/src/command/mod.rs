//! The commands: their names, arities, keys, flags and routes.
//!
//! Everything that the front end, the client and the nodes must agree on about a command is its row in
//! [`command_table!`](crate::command_table).

mod flags;
mod table;

pub use flags::Flags;

use crate::{Slot, resp::Args};

/// A command: a row of the table.
#[derive(Debug)]
pub struct Command {
    /// Which command it is.
    pub id: Id,
    /// Lower case; of a subcommand, `container|subcommand`.
    pub name: &'static str,
    /// How many arguments it takes, its name (and its container's) included; negative: at least that many.
    pub arity: i8,
    /// What it does and when it may run.
    pub flags: Flags,
    /// Where its keys are.
    pub keys: KeyPositions,
    /// Which shards it goes to.
    pub route: Route,
    /// What it is about.
    pub group: Group,
    /// The version of Redis that brought it.
    pub since: &'static str,
    /// How long it takes.
    pub complexity: &'static str,
    /// What it does, in a sentence.
    pub summary: &'static str,
    /// Whether the complexity is O(1): it cannot be slow.
    pub takes_constant_time: bool,
}

/// Where a command's keys are among its arguments; all 0: it has none.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct KeyPositions {
    /// Index of the first key.
    pub first: i8,
    /// Index of the last key; negative: counted from the end.
    pub last: i8,
    /// From one key to the next.
    pub step: i8,
}

/// Which shards a command goes to, and what becomes of their replies.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Route {
    /// To none: the front end answers.
    Session,
    /// To the owner of its keys, which are all in one slot.
    Slot,
    /// To the owner of the slot whose number is its third argument.
    SlotNumber,
    /// To the owner of each key, with that owner's keys.
    Split(Merge),
    /// To every shard.
    Every(Merge),
    /// To the shard that the cursor names.
    Scan,
    /// To shards in random order until one has a key.
    Random,
}

/// How the replies of several shards become one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Merge {
    /// Integers are added.
    Sum,
    /// Arrays are joined: of a split command in the order of its keys, else one after the other.
    Array,
    /// Arrays of arrays are joined, those with the highest second element first.
    Ranked,
    /// All must be `OK`.
    Ok,
}

/// What a command is about, by Redis' names.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[allow(missing_docs)]
pub enum Group {
    Generic,
    String,
    Load,
    Limit,
    Connection,
    Server,
    Cluster,
}

impl Group {
    /// Its name, as `COMMAND DOCS` shows it.
    pub fn name(self) -> &'static str {
        match self {
            Group::Generic => "generic",
            Group::String => "string",
            Group::Load => "load",
            Group::Limit => "limit",
            Group::Connection => "connection",
            Group::Server => "server",
            Group::Cluster => "cluster",
        }
    }
}

const fn is_constant_time(complexity: &str) -> bool {
    matches!(complexity.as_bytes(), b"O(1)")
}

macro_rules! define {
    ($($id:ident $name:literal $arity:literal ($($flag:ident)|*) ($first:literal, $last:literal, $step:literal)
        $route:ident $(($merge:ident))? $side:ident $module:ident::$function:ident
        $group:ident $since:literal $complexity:literal $summary:literal;)*) => {
        /// Which command: the index of its row.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
        #[repr(u8)]
        #[allow(missing_docs)]
        pub enum Id { $($id),* }

        /// Every command, in the order of [`Id`].
        pub static COMMANDS: &[Command] = &[$(Command {
            id: Id::$id,
            name: $name,
            arity: $arity,
            flags: Flags::NONE$(.union(Flags::$flag))*,
            keys: KeyPositions { first: $first, last: $last, step: $step },
            route: Route::$route $((Merge::$merge))?,
            group: Group::$group,
            since: $since,
            complexity: $complexity,
            summary: $summary,
            takes_constant_time: is_constant_time($complexity),
        }),*];
    };
}
crate::command_table!(define);

/// Why a command cannot run, in Redis's words.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Refusal {
    /// There is no such command.
    Unknown,
    /// Too few or too many arguments for this command.
    Arity(&'static Command),
}

impl PartialEq for Command {
    fn eq(&self, other: &Command) -> bool {
        self.id == other.id
    }
}

impl Eq for Command {}

impl Command {
    /// The command that these arguments call, its arity checked.
    pub fn of(args: Args<'_>) -> Result<&'static Command, Refusal> {
        let name = args.get(0).ok_or(Refusal::Unknown)?;
        let mut command = Command::named(name).ok_or(Refusal::Unknown)?;
        if command.is_container()
            && let Some(subcommand) = args.get(1).and_then(|name| command.subcommand(name))
        {
            command = subcommand;
        }
        if command.takes(args.len()) {
            Ok(command)
        } else {
            Err(Refusal::Arity(command))
        }
    }

    /// The command of this name, in any case. Subcommands have no name of their own.
    pub fn named(name: &[u8]) -> Option<&'static Command> {
        let mut place = hash(name);
        loop {
            let command = match INDEX[place % INDEX.len()] {
                0 => return None,
                row => &COMMANDS[usize::from(row) - 1],
            };
            if command.name.as_bytes().eq_ignore_ascii_case(name) {
                return Some(command);
            }
            place += 1;
        }
    }

    /// The subcommand of this name, in any case, of a container.
    pub fn subcommand(&self, name: &[u8]) -> Option<&'static Command> {
        self.subcommands()
            .find(|command| command.short_name().as_bytes().eq_ignore_ascii_case(name))
    }

    /// A container's subcommands, in the order of the table.
    pub fn subcommands(&self) -> impl Iterator<Item = &'static Command> {
        let container = self.name;
        COMMANDS
            .iter()
            .filter(move |command| command.container() == Some(container))
    }

    /// Whether it has subcommands.
    pub fn is_container(&self) -> bool {
        // A container's subcommands follow it in the table; a test holds the table to that.
        COMMANDS
            .get(self.id as usize + 1)
            .is_some_and(|next| next.container() == Some(self.name))
    }

    /// The name of its container, if it is a subcommand.
    pub fn container(&self) -> Option<&'static str> {
        self.name.split_once('|').map(|(container, _)| container)
    }

    /// Its name without its container's.
    pub fn short_name(&self) -> &'static str {
        self.name
            .split_once('|')
            .map_or(self.name, |(_, name)| name)
    }

    /// Whether it may have this many arguments, its name included.
    pub fn takes(&self, arguments: usize) -> bool {
        let least = usize::from(self.arity.unsigned_abs());
        if self.arity < 0 {
            arguments >= least
        } else {
            arguments == least
        }
    }

    /// Whether it may be sent again after it may have been executed: it changes nothing, or nothing the second time. A
    /// token is good for one load, and a lease that nobody knows of runs out.
    pub fn is_repeatable(&self) -> bool {
        self.flags.contains(Flags::READONLY)
            || matches!(self.id, Id::LoadGet | Id::LoadSet | Id::LoadFail)
    }

    /// Whether a key may hold something else after it. Who asks to load a key changes nothing yet.
    pub fn may_alter_keys(&self) -> bool {
        !self.flags.contains(Flags::READONLY) && !matches!(self.id, Id::LoadGet | Id::LoadFail)
    }

    /// The indices of its keys among this many arguments.
    pub fn key_indices(&self, arguments: usize) -> impl Iterator<Item = usize> + use<> {
        let KeyPositions { first, last, step } = self.keys;
        let last = match usize::try_from(last) {
            Ok(last) => last,
            Err(_) => arguments.saturating_sub(usize::from(last.unsigned_abs())),
        };
        let first = usize::from(first.unsigned_abs());
        let none = first == 0 || last < first;
        let range = if none {
            0..0
        } else {
            first..arguments.min(last + 1)
        };
        range.step_by(usize::from(step.unsigned_abs()).max(1))
    }

    /// The slot of all its keys; `None` if it has none, `Err` if they are in more than one.
    pub fn slot(&self, args: Args<'_>) -> Result<Option<Slot>, CrossSlot> {
        let mut indices = self.key_indices(args.len());
        let Some(first) = indices.next() else {
            return Ok(None);
        };
        let slot = Slot::of(&args[first]);
        if indices.all(|index| Slot::of(&args[index]) == slot) {
            Ok(Some(slot))
        } else {
            Err(CrossSlot)
        }
    }
}

/// A command's keys are in more than one slot.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CrossSlot;

impl Refusal {
    /// The error to answer with.
    pub fn message(self, args: Args<'_>) -> String {
        match self {
            Refusal::Arity(command) => format!(
                "ERR wrong number of arguments for '{}' command",
                command.name
            ),
            Refusal::Unknown => unknown(args),
        }
    }
}

/// Longest part of a name or argument that an error repeats, in bytes.
const QUOTED_BYTES_MAX: usize = 128;

fn unknown(args: Args<'_>) -> String {
    let quote = |bytes: &[u8], most: usize| {
        String::from_utf8_lossy(&bytes[..bytes.len().min(most)]).into_owned()
    };
    let mut beginning = String::new();
    for argument in args.from(1).iter() {
        if beginning.len() >= QUOTED_BYTES_MAX {
            break;
        }
        beginning += &format!("'{}' ", quote(argument, QUOTED_BYTES_MAX - beginning.len()));
    }
    let name = quote(args.get(0).unwrap_or_default(), QUOTED_BYTES_MAX);
    format!("ERR unknown command '{name}', with args beginning with: {beginning}")
}

/// An open-addressed hash table of rows, counted from 1; 0: free. Made when the crate is compiled.
static INDEX: [u8; 512] = {
    let mut index = [0; 512];
    let mut row = 0;
    while row < COMMANDS.len() {
        let mut place = hash(COMMANDS[row].name.as_bytes());
        while index[place % 512] != 0 {
            place += 1;
        }
        index[place % 512] = row as u8 + 1;
        row += 1;
    }
    index
};

const _: () = assert!(COMMANDS.len() < 256, "INDEX holds rows as u8");

/// FNV-1a of the name in lower case, folded.
const fn hash(name: &[u8]) -> usize {
    let mut state: u32 = 0x811c_9dc5;
    let mut at = 0;
    while at < name.len() {
        state = (state ^ (name[at] | 0x20) as u32).wrapping_mul(0x0100_0193);
        at += 1;
    }
    (state ^ (state >> 15)) as usize
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::resp::Arguments;

    fn command(line: &str) -> Result<&'static str, Refusal> {
        let arguments: Arguments = line.split_whitespace().collect();
        Command::of(arguments.args()).map(|command| command.name)
    }

    #[test]
    fn every_command_is_found_by_its_name_in_any_case() {
        for (row, row_command) in COMMANDS.iter().enumerate() {
            assert_eq!(row_command.id as usize, row);
            let upper = row_command.name.to_uppercase();
            assert_eq!(
                Command::named(upper.as_bytes()).map(|c| c.id),
                Some(row_command.id)
            );
        }
        assert!(Command::named(b"").is_none());
        assert!(Command::named(b"gett").is_none());
    }

    #[test]
    fn rows_make_sense() {
        for command in COMMANDS {
            assert!(
                !command.flags.contains(Flags::WRITE | Flags::READONLY),
                "{}",
                command.name
            );
            let keyed = command.keys.first > 0;
            let by_key = matches!(command.route, Route::Slot | Route::Split(_));
            assert_eq!(keyed, by_key, "{}: keys and route disagree", command.name);
            if let Some(container) = command.container() {
                let container = Command::named(container.as_bytes()).unwrap();
                assert!(
                    container.is_container(),
                    "{} does not follow its container",
                    command.name
                );
            }
        }
    }

    #[test]
    fn subcommands_and_arities_are_resolved() {
        assert_eq!(command("GET a"), Ok("get"));
        assert_eq!(command("client ID"), Ok("client|id"));
        assert_eq!(command("client nonsense"), Ok("client"));
        assert_eq!(command("command"), Ok("command"));
        assert_eq!(command("nonsense"), Err(Refusal::Unknown));
        assert!(matches!(command("get"), Err(Refusal::Arity(get)) if get.id == Id::Get));
        assert!(
            matches!(command("object encoding"), Err(Refusal::Arity(object)) if object.id == Id::ObjectEncoding)
        );
    }

    #[test]
    fn refusals_are_in_the_words_of_redis() {
        let arguments: Arguments = ["foo", "a", "b"].into_iter().collect();
        let message = Refusal::Unknown.message(arguments.args());
        assert_eq!(
            message,
            "ERR unknown command 'foo', with args beginning with: 'a' 'b' "
        );
        let refusal = command("get").unwrap_err();
        assert_eq!(
            refusal.message(arguments.args()),
            "ERR wrong number of arguments for 'get' command"
        );
    }

    #[test]
    fn keys_are_where_the_table_says() {
        let indices = |line: &str| -> Vec<usize> {
            let arguments: Arguments = line.split_whitespace().collect();
            Command::of(arguments.args())
                .unwrap()
                .key_indices(arguments.args().len())
                .collect()
        };
        assert_eq!(indices("get a"), [1]);
        assert_eq!(indices("mset a 1 b 2"), [1, 3]);
        assert_eq!(indices("del a b c"), [1, 2, 3]);
        assert_eq!(indices("rename a b"), [1, 2]);
        assert_eq!(indices("object encoding a"), [2]);
        assert!(indices("dbsize").is_empty());
    }

    #[test]
    fn keys_of_one_slot_share_it() {
        let slot = |line: &str| {
            let arguments: Arguments = line.split_whitespace().collect();
            Command::of(arguments.args())
                .unwrap()
                .slot(arguments.args())
        };
        assert_eq!(slot("rename {x}a {x}b"), Ok(Some(Slot::of(b"x"))));
        assert_eq!(slot("rename a b"), Err(CrossSlot));
        assert_eq!(slot("ping"), Ok(None));
    }
}
