//! The command table. One row says everything that several parts must agree on about a command.

/// Calls `$callback!` with every row of the table:
///
/// `Id "name" arity (flags) (first key, last key, step) Route side module::function group "since" "complexity" "summary";`
///
/// - The name of a subcommand is `container|subcommand`.
/// - The arity counts the name; negative: at least that many (Redis' convention, as are key positions).
/// - `node` commands run in the engine, by `larder_node::command::module::function`; `front` commands run in the RESP
///   front end, by `larder_proxy::command::module::function`.
/// - The route says which shards a command goes to; see [`Route`](crate::command::Route).
#[macro_export]
macro_rules! command_table {
    ($callback:ident) => {
        $callback! {
            // Strings
            Append "append" 3 (WRITE | DENY_OOM | FAST) (1, 1, 1) Slot node append::append String "2.0.0" "O(1)" "Appends a string to the value of a key. Creates the key if it doesn't exist.";
            Decr "decr" 2 (WRITE | DENY_OOM | FAST) (1, 1, 1) Slot node counter::decr String "1.0.0" "O(1)" "Decrements the integer value of a key by one. Uses 0 as initial value if the key doesn't exist.";
            DecrBy "decrby" 3 (WRITE | DENY_OOM | FAST) (1, 1, 1) Slot node counter::decrby String "1.0.0" "O(1)" "Decrements a number from the integer value of a key. Uses 0 as initial value if the key doesn't exist.";
            Get "get" 2 (READONLY | FAST) (1, 1, 1) Slot node get::get String "1.0.0" "O(1)" "Returns the string value of a key.";
            GetDel "getdel" 2 (WRITE | FAST) (1, 1, 1) Slot node get::getdel String "6.2.0" "O(1)" "Returns the string value of a key after deleting the key.";
            GetEx "getex" -2 (WRITE | FAST) (1, 1, 1) Slot node get::getex String "6.2.0" "O(1)" "Returns the string value of a key after setting its expiration time.";
            GetRange "getrange" 4 (READONLY) (1, 1, 1) Slot node range::getrange String "2.4.0" "O(N) where N is the length of the returned string" "Returns a substring of the string stored at a key.";
            GetSet "getset" 3 (WRITE | DENY_OOM | FAST) (1, 1, 1) Slot node set::getset String "1.0.0" "O(1)" "Returns the previous string value of a key after setting it to a new value.";
            Incr "incr" 2 (WRITE | DENY_OOM | FAST) (1, 1, 1) Slot node counter::incr String "1.0.0" "O(1)" "Increments the integer value of a key by one. Uses 0 as initial value if the key doesn't exist.";
            IncrBy "incrby" 3 (WRITE | DENY_OOM | FAST) (1, 1, 1) Slot node counter::incrby String "1.0.0" "O(1)" "Increments the integer value of a key by a number. Uses 0 as initial value if the key doesn't exist.";
            IncrByFloat "incrbyfloat" 3 (WRITE | DENY_OOM | FAST) (1, 1, 1) Slot node counter::incrbyfloat String "2.6.0" "O(1)" "Increments the floating point value of a key by a number. Uses 0 as initial value if the key doesn't exist.";
            Lcs "lcs" -3 (READONLY) (1, 2, 1) Slot node lcs::lcs String "7.0.0" "O(N*M) where N and M are the lengths of the strings" "Finds the longest common substring.";
            MGet "mget" -2 (READONLY | FAST) (1, -1, 1) Split(Array) node get::mget String "1.0.0" "O(N) where N is the number of keys" "Returns the string values of one or more keys. Not atomic across shards.";
            MSet "mset" -3 (WRITE | DENY_OOM) (1, -1, 2) Split(Ok) node set::mset String "1.0.1" "O(N) where N is the number of keys" "Sets the string values of one or more keys. Not atomic across shards.";
            MSetNx "msetnx" -3 (WRITE | DENY_OOM) (1, -1, 2) Slot node set::msetnx String "1.0.1" "O(N) where N is the number of keys" "Sets the string values of one or more keys only when none of the keys exist.";
            PSetEx "psetex" 4 (WRITE | DENY_OOM) (1, 1, 1) Slot node set::psetex String "2.6.0" "O(1)" "Sets both string value and expiration time in milliseconds of a key.";
            Set "set" -3 (WRITE | DENY_OOM) (1, 1, 1) Slot node set::set String "1.0.0" "O(1)" "Sets the string value of a key, ignoring its type. The key is created if it doesn't exist.";
            SetEx "setex" 4 (WRITE | DENY_OOM) (1, 1, 1) Slot node set::setex String "2.0.0" "O(1)" "Sets the string value and expiration time of a key.";
            SetNx "setnx" 3 (WRITE | DENY_OOM | FAST) (1, 1, 1) Slot node set::setnx String "1.0.0" "O(1)" "Sets the string value of a key only when the key doesn't exist.";
            SetRange "setrange" 4 (WRITE | DENY_OOM) (1, 1, 1) Slot node range::setrange String "2.2.0" "O(1), not counting the time to copy the string" "Overwrites a part of a string value with another by an offset. Creates the key if it doesn't exist.";
            StrLen "strlen" 2 (READONLY | FAST) (1, 1, 1) Slot node range::strlen String "2.2.0" "O(1)" "Returns the length of a string value.";
            SubStr "substr" 4 (READONLY) (1, 1, 1) Slot node range::getrange String "1.0.0" "O(N) where N is the length of the returned string" "Returns a substring from a string value.";

            // Keys
            Copy "copy" -3 (WRITE | DENY_OOM) (1, 2, 1) Slot node rename::copy Generic "6.2.0" "O(N) where N is the number of nested items" "Copies the value of a key to a new key.";
            Del "del" -2 (WRITE) (1, -1, 1) Split(Sum) node delete::del Generic "1.0.0" "O(N) where N is the number of keys" "Deletes one or more keys. Not atomic across shards.";
            Exists "exists" -2 (READONLY | FAST) (1, -1, 1) Split(Sum) node exists::exists Generic "1.0.0" "O(N) where N is the number of keys" "Determines whether one or more keys exist.";
            Expire "expire" -3 (WRITE | FAST) (1, 1, 1) Slot node expire::expire Generic "1.0.0" "O(1)" "Sets the expiration time of a key in seconds.";
            ExpireAt "expireat" -3 (WRITE | FAST) (1, 1, 1) Slot node expire::expireat Generic "1.2.0" "O(1)" "Sets the expiration time of a key to a Unix timestamp.";
            ExpireTime "expiretime" 2 (READONLY | FAST) (1, 1, 1) Slot node ttl::expiretime Generic "7.0.0" "O(1)" "Returns the expiration time of a key as a Unix timestamp.";
            Keys "keys" 2 (READONLY) (0, 0, 0) Every(Array) node scan::keys Generic "1.0.0" "O(N) where N is the number of keys in the cluster" "Returns all key names that match a pattern.";
            Object "object" -2 () (0, 0, 0) Session front container::unknown_subcommand Generic "2.2.3" "Depends on subcommand." "A container for object introspection commands.";
            ObjectEncoding "object|encoding" 3 (READONLY) (2, 2, 1) Slot node object::encoding Generic "2.2.3" "O(1)" "Returns the internal encoding of a value.";
            ObjectFreq "object|freq" 3 (READONLY) (2, 2, 1) Slot node object::freq Generic "4.0.0" "O(1)" "Returns the logarithmic access frequency counter of a value.";
            ObjectHelp "object|help" 2 (LOADING | STALE) (0, 0, 0) Session front container::help Generic "6.2.0" "O(1)" "Returns helpful text about the different subcommands.";
            ObjectIdleTime "object|idletime" 3 (READONLY) (2, 2, 1) Slot node object::idletime Generic "2.2.3" "O(1)" "Returns the time since the last access to a value, in seconds.";
            ObjectRefCount "object|refcount" 3 (READONLY) (2, 2, 1) Slot node object::refcount Generic "2.2.3" "O(1)" "Returns the reference count of a value.";
            Persist "persist" 2 (WRITE | FAST) (1, 1, 1) Slot node expire::persist Generic "2.2.0" "O(1)" "Removes the expiration time of a key.";
            PExpire "pexpire" -3 (WRITE | FAST) (1, 1, 1) Slot node expire::pexpire Generic "2.6.0" "O(1)" "Sets the expiration time of a key in milliseconds.";
            PExpireAt "pexpireat" -3 (WRITE | FAST) (1, 1, 1) Slot node expire::pexpireat Generic "2.6.0" "O(1)" "Sets the expiration time of a key to a Unix milliseconds timestamp.";
            PExpireTime "pexpiretime" 2 (READONLY | FAST) (1, 1, 1) Slot node ttl::pexpiretime Generic "7.0.0" "O(1)" "Returns the expiration time of a key as a Unix milliseconds timestamp.";
            PTtl "pttl" 2 (READONLY | FAST) (1, 1, 1) Slot node ttl::pttl Generic "2.6.0" "O(1)" "Returns the expiration time in milliseconds of a key.";
            RandomKey "randomkey" 1 (READONLY) (0, 0, 0) Random node scan::randomkey Generic "1.0.0" "O(1)" "Returns a random key name.";
            Rename "rename" 3 (WRITE) (1, 2, 1) Slot node rename::rename Generic "1.0.0" "O(1)" "Renames a key and overwrites the destination.";
            RenameNx "renamenx" 3 (WRITE | FAST) (1, 2, 1) Slot node rename::renamenx Generic "1.0.0" "O(1)" "Renames a key only when the target key name doesn't exist.";
            Scan "scan" -2 (READONLY) (0, 0, 0) Scan node scan::scan Generic "2.8.0" "O(1) for every call. O(N) for a complete iteration." "Iterates over the key names of the whole cluster.";
            Touch "touch" -2 (READONLY | FAST) (1, -1, 1) Split(Sum) node exists::touch Generic "3.2.1" "O(N) where N is the number of keys" "Returns the number of existing keys out of those specified after updating the time they were last accessed.";
            Ttl "ttl" 2 (READONLY | FAST) (1, 1, 1) Slot node ttl::ttl Generic "1.0.0" "O(1)" "Returns the expiration time in seconds of a key.";
            Type "type" 2 (READONLY | FAST) (1, 1, 1) Slot node exists::kind Generic "1.0.0" "O(1)" "Determines the type of value stored at a key.";
            Unlink "unlink" -2 (WRITE | FAST) (1, -1, 1) Split(Sum) node delete::del Generic "4.0.0" "O(N) where N is the number of keys" "Deletes one or more keys. Not atomic across shards.";
            Wait "wait" 3 (NO_SCRIPT) (0, 0, 0) Session front wait::wait Generic "3.0.0" "O(1)" "Blocks until replicas hold all writes made so far.";

            // Loading
            LoadFail "load.fail" -4 (WRITE | FAST) (1, 1, 1) Slot node load::fail Load "Larder 0.1.0" "O(1)" "Ends the load of a key without a value, and tells whoever waits for it why.";
            LoadGet "load.get" -4 (WRITE | FAST) (1, 1, 1) Slot node load::get Load "Larder 0.1.0" "O(1)" "Returns the value of a key, or who loads it: the caller, or another, for whom it waits.";
            LoadSet "load.set" -4 (WRITE | DENY_OOM | FAST) (1, 1, 1) Slot node load::set Load "Larder 0.1.0" "O(1)" "Sets the value of a key that was loaded, unless it was written or deleted meanwhile.";

            // Rate limits
            Limit "limit" -5 (WRITE | DENY_OOM | FAST) (1, 1, 1) Slot node limit::limit Limit "Larder 0.1.0" "O(1)" "Takes from what a key allows in a period of time, or tells when there will be as much.";

            LoadTtl "load.ttl" 2 (READONLY | FAST) (1, 1, 1) Slot node load::ttl Load "Larder 0.1.0" "O(1)" "Returns for how many milliseconds the value of a key is fresh.";

            // Connections
            Auth "auth" -2 (NO_SCRIPT | LOADING | STALE | FAST | NO_AUTH) (0, 0, 0) Session front auth::auth Connection "1.0.0" "O(1)" "Authenticates the connection.";
            Client "client" -2 () (0, 0, 0) Session front container::unknown_subcommand Connection "2.4.0" "Depends on subcommand." "A container for client connection commands.";
            ClientGetName "client|getname" 2 (NO_SCRIPT | LOADING | STALE) (0, 0, 0) Session front client::getname Connection "2.6.9" "O(1)" "Returns the name of the connection.";
            ClientHelp "client|help" 2 (LOADING | STALE) (0, 0, 0) Session front container::help Connection "5.0.0" "O(1)" "Returns helpful text about the different subcommands.";
            ClientId "client|id" 2 (NO_SCRIPT | LOADING | STALE) (0, 0, 0) Session front client::id Connection "5.0.0" "O(1)" "Returns the unique client ID of the connection.";
            ClientInfo "client|info" 2 (NO_SCRIPT | LOADING | STALE) (0, 0, 0) Session front client::info Connection "6.2.0" "O(1)" "Returns information about the connection.";
            ClientKill "client|kill" -3 (ADMIN | NO_SCRIPT | LOADING | STALE) (0, 0, 0) Session front client_kill::kill Connection "2.4.0" "O(N) where N is the number of client connections" "Terminates open connections.";
            ClientList "client|list" -2 (ADMIN | NO_SCRIPT | LOADING | STALE) (0, 0, 0) Session front client::list Connection "2.4.0" "O(N) where N is the number of client connections" "Lists open connections.";
            ClientNoEvict "client|no-evict" 3 (ADMIN | NO_SCRIPT | LOADING | STALE) (0, 0, 0) Session front client::no_evict Connection "7.0.0" "O(1)" "Sets the client eviction mode of the connection.";
            ClientReply "client|reply" 3 (NO_SCRIPT | LOADING | STALE) (0, 0, 0) Session front client::reply Connection "3.2.0" "O(1)" "Instructs the server whether to reply to commands.";
            ClientSetInfo "client|setinfo" 4 (NO_SCRIPT | LOADING | STALE) (0, 0, 0) Session front client::setinfo Connection "7.2.0" "O(1)" "Sets information specific to the client or connection.";
            ClientSetName "client|setname" 3 (NO_SCRIPT | LOADING | STALE) (0, 0, 0) Session front client::setname Connection "2.6.9" "O(1)" "Sets the connection name.";
            Echo "echo" 2 (LOADING | STALE | FAST) (0, 0, 0) Session front ping::echo Connection "1.0.0" "O(1)" "Returns the given string.";
            Hello "hello" -1 (NO_SCRIPT | LOADING | STALE | FAST | NO_AUTH) (0, 0, 0) Session front hello::hello Connection "6.0.0" "O(1)" "Handshakes with the server.";
            Ping "ping" -1 (LOADING | STALE | FAST) (0, 0, 0) Session front ping::ping Connection "1.0.0" "O(1)" "Returns the server's liveliness response.";
            Quit "quit" -1 (NO_SCRIPT | LOADING | STALE | FAST | NO_AUTH) (0, 0, 0) Session front hello::quit Connection "1.0.0" "O(1)" "Closes the connection.";
            Reset "reset" 1 (NO_SCRIPT | LOADING | STALE | FAST | NO_AUTH) (0, 0, 0) Session front hello::reset Connection "6.2.0" "O(1)" "Resets the connection.";
            Select "select" 2 (LOADING | STALE | FAST) (0, 0, 0) Session front hello::select Connection "1.0.0" "O(1)" "Changes the selected database. There is only database 0.";

            // Server
            Command "command" -1 (LOADING | STALE) (0, 0, 0) Session front command::all Server "2.8.13" "O(N) where N is the number of commands" "Returns detailed information about all commands.";
            CommandCount "command|count" 2 (LOADING | STALE) (0, 0, 0) Session front command::count Server "2.8.13" "O(1)" "Returns a count of commands.";
            CommandDocs "command|docs" -2 (LOADING | STALE) (0, 0, 0) Session front command::docs Server "7.0.0" "O(N) where N is the number of commands to look up" "Returns documentary information about one, multiple or all commands.";
            CommandGetKeys "command|getkeys" -3 (LOADING | STALE) (0, 0, 0) Session front command::getkeys Server "2.8.13" "O(N) where N is the number of arguments" "Extracts the key names from an arbitrary command.";
            CommandHelp "command|help" 2 (LOADING | STALE) (0, 0, 0) Session front container::help Server "5.0.0" "O(1)" "Returns helpful text about the different subcommands.";
            CommandInfo "command|info" -2 (LOADING | STALE) (0, 0, 0) Session front command::info Server "2.8.13" "O(N) where N is the number of commands to look up" "Returns information about one, multiple or all commands.";
            CommandList "command|list" -2 (LOADING | STALE) (0, 0, 0) Session front command::list Server "7.0.0" "O(N) where N is the number of commands" "Returns a list of command names.";
            Config "config" -2 () (0, 0, 0) Session front container::unknown_subcommand Server "2.0.0" "Depends on subcommand." "A container for server configuration commands.";
            ConfigGet "config|get" -3 (ADMIN | NO_SCRIPT | LOADING | STALE) (0, 0, 0) Session front config::get Server "2.0.0" "O(N) where N is the number of parameters" "Returns the effective values of configuration parameters.";
            ConfigHelp "config|help" 2 (LOADING | STALE) (0, 0, 0) Session front container::help Server "5.0.0" "O(1)" "Returns helpful text about the different subcommands.";
            ConfigResetStat "config|resetstat" 2 (ADMIN | NO_SCRIPT | LOADING | STALE) (0, 0, 0) Session front config::resetstat Server "2.0.0" "O(1)" "Resets the server's statistics.";
            ConfigSet "config|set" -4 (ADMIN | NO_SCRIPT | LOADING | STALE) (0, 0, 0) Session front config::set Server "2.0.0" "O(N) where N is the number of parameters" "Sets configuration parameters in-flight.";
            DbSize "dbsize" 1 (READONLY | FAST) (0, 0, 0) Every(Sum) node scan::dbsize Server "1.0.0" "O(1)" "Returns the number of keys in the cluster.";
            FlushAll "flushall" -1 (WRITE) (0, 0, 0) Every(Ok) node flush::flush Server "1.0.0" "O(N) where N is the number of keys in the cluster" "Removes all keys of the cluster.";
            FlushDb "flushdb" -1 (WRITE) (0, 0, 0) Every(Ok) node flush::flush Server "1.0.0" "O(N) where N is the number of keys in the cluster" "Removes all keys of the cluster.";
            HotKeys "hotkeys" -1 (READONLY | ADMIN) (0, 0, 0) Every(Ranked) node hot::hotkeys Server "Larder 0.1.0" "O(1)" "Returns the keys that are used most at the moment, with requests per second and percent.";
            Info "info" -1 (LOADING | STALE) (0, 0, 0) Session front info::info Server "1.0.0" "O(1)" "Returns information and statistics about the server.";
            Memory "memory" -2 () (0, 0, 0) Session front container::unknown_subcommand Server "4.0.0" "Depends on subcommand." "A container for memory diagnostics commands.";
            MemoryHelp "memory|help" 2 (LOADING | STALE) (0, 0, 0) Session front container::help Server "4.0.0" "O(1)" "Returns helpful text about the different subcommands.";
            MemoryUsage "memory|usage" -3 (READONLY) (2, 2, 1) Slot node object::memory_usage Server "4.0.0" "O(1)" "Estimates the memory usage of a key.";
            SlowLog "slowlog" -2 () (0, 0, 0) Session front container::unknown_subcommand Server "2.2.12" "Depends on subcommand." "A container for slow log commands.";
            SlowLogGet "slowlog|get" -2 (ADMIN | LOADING | STALE) (0, 0, 0) Session front slowlog::get Server "2.2.12" "O(N) where N is the number of entries returned" "Returns the slow log's entries.";
            SlowLogHelp "slowlog|help" 2 (LOADING | STALE) (0, 0, 0) Session front container::help Server "6.2.0" "O(1)" "Returns helpful text about the different subcommands.";
            SlowLogLen "slowlog|len" 2 (ADMIN | LOADING | STALE) (0, 0, 0) Session front slowlog::len Server "2.2.12" "O(1)" "Returns the number of entries in the slow log.";
            SlowLogReset "slowlog|reset" 2 (ADMIN | LOADING | STALE) (0, 0, 0) Session front slowlog::reset Server "2.2.12" "O(N) where N is the number of entries in the slow log" "Clears all entries from the slow log.";
            Time "time" 1 (LOADING | STALE | FAST) (0, 0, 0) Session front ping::time Server "2.6.0" "O(1)" "Returns the server time.";

            // Cluster
            Cluster "cluster" -2 () (0, 0, 0) Session front container::unknown_subcommand Cluster "3.0.0" "Depends on subcommand." "A container for Redis Cluster commands.";
            ClusterCountKeysInSlot "cluster|countkeysinslot" 3 (STALE) (0, 0, 0) SlotNumber node scan::countkeysinslot Cluster "3.0.0" "O(N) where N is the number of keys in the 16 slots that share a stripe with this one" "Returns the number of keys in a hash slot.";
            ClusterGetKeysInSlot "cluster|getkeysinslot" 4 (STALE) (0, 0, 0) SlotNumber node scan::getkeysinslot Cluster "3.0.0" "O(N) where N is the number of requested keys" "Returns the key names in a hash slot.";
            ClusterHelp "cluster|help" 2 (LOADING | STALE) (0, 0, 0) Session front container::help Cluster "5.0.0" "O(1)" "Returns helpful text about the different subcommands.";
            ClusterInfo "cluster|info" 2 (LOADING | STALE) (0, 0, 0) Session front cluster::info Cluster "3.0.0" "O(1)" "Returns information about the state of the cluster.";
            ClusterKeySlot "cluster|keyslot" 3 (LOADING | STALE) (0, 0, 0) Session front cluster::keyslot Cluster "3.0.0" "O(N) where N is the number of bytes in the key" "Returns the hash slot for a key.";
            ClusterMyId "cluster|myid" 2 (LOADING | STALE) (0, 0, 0) Session front cluster::myid Cluster "3.0.0" "O(1)" "Returns the ID of a node.";
            ClusterNodes "cluster|nodes" 2 (LOADING | STALE) (0, 0, 0) Session front cluster::nodes Cluster "3.0.0" "O(N) where N is the number of nodes" "Returns the cluster configuration as a text.";
            ClusterShards "cluster|shards" 2 (LOADING | STALE) (0, 0, 0) Session front cluster::shards Cluster "7.0.0" "O(N) where N is the number of nodes" "Returns the mapping of cluster slots to shards.";
            ClusterSlots "cluster|slots" 2 (LOADING | STALE) (0, 0, 0) Session front cluster::slots Cluster "3.0.0" "O(N) where N is the number of nodes" "Returns the mapping of cluster slots to nodes.";
            ReadOnly "readonly" 1 (LOADING | STALE | FAST) (0, 0, 0) Session front cluster::readonly Cluster "3.0.0" "O(1)" "Enables reads from replicas for the connection.";
            ReadWrite "readwrite" 1 (LOADING | STALE | FAST) (0, 0, 0) Session front cluster::readwrite Cluster "3.0.0" "O(1)" "Disables reads from replicas for the connection.";
        }
    };
}
