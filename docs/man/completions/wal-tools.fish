# Print an optspec for argparse to handle cmd's options that are independent of any subcommand.
function __fish_wal_tools_global_optspecs
    string join \n wal= data= socket= json h/help V/version
end

function __fish_wal_tools_needs_command
    # Figure out if the current invocation already has a command.
    set -l cmd (commandline -opc)
    set -e cmd[1]
    argparse -s (__fish_wal_tools_global_optspecs) -- $cmd 2>/dev/null
    or return
    if set -q argv[1]
        # Also print the command, so this can be used to figure out what it is.
        echo $argv[1]
        return 1
    end
    return 0
end

function __fish_wal_tools_using_subcommand
    set -l cmd (__fish_wal_tools_needs_command)
    test -z "$cmd"
    and return 1
    contains -- $cmd[1] $argv
end

complete -c wal-tools -n "__fish_wal_tools_needs_command" -l wal -d 'The log\'s directory [default: $LOCKSTEP_DATA/wal, else ./lockstep-data/wal, else /var/lib/lockstep/wal]' -r -F
complete -c wal-tools -n "__fish_wal_tools_needs_command" -l data -d 'lockstepd\'s data directory: the log is DIR/wal' -r -F
complete -c wal-tools -n "__fish_wal_tools_needs_command" -l socket -d 'Ask the daemon at this socket; plan, verify and dump read the directory that it names' -r -F
complete -c wal-tools -n "__fish_wal_tools_needs_command" -l json -d 'Print one JSON document; list prints one a line (NDJSON), as dump always does'
complete -c wal-tools -n "__fish_wal_tools_needs_command" -s h -l help -d 'Print help'
complete -c wal-tools -n "__fish_wal_tools_needs_command" -s V -l version -d 'Print version'
complete -c wal-tools -n "__fish_wal_tools_needs_command" -f -a "status" -d 'Show the log at a glance: how much is open, what waits for an operator, whether its records are whole'
complete -c wal-tools -n "__fish_wal_tools_needs_command" -f -a "list" -d 'List operations, newest first: those in the log, and of those that have left what was kept'
complete -c wal-tools -n "__fish_wal_tools_needs_command" -f -a "show" -d 'Show one operation whole: its history, what went wrong, what it carries, and its records in the log'
complete -c wal-tools -n "__fish_wal_tools_needs_command" -f -a "verify" -d 'Check the log: every chunk and record, their order, every history, the high-water mark, gaps, leftovers'
complete -c wal-tools -n "__fish_wal_tools_needs_command" -f -a "dump" -d 'Print the operations in the log with all that they carry, oldest first, one JSON object a line'
complete -c wal-tools -n "__fish_wal_tools_needs_command" -f -a "explain" -d 'Explain one operation: what was asked, what happened, what it waits for, what a restart would do, what you can do'
complete -c wal-tools -n "__fish_wal_tools_needs_command" -f -a "plan" -d 'Show what a start of lockstepd would do with each operation in the log, and why'
complete -c wal-tools -n "__fish_wal_tools_needs_command" -f -a "retry" -d 'Log parked operations again as new ones; open ones that wait for their next attempt are tried now'
complete -c wal-tools -n "__fish_wal_tools_needs_command" -f -a "rollback" -d 'Take back what parked operations have done: their keys show again what was there before'
complete -c wal-tools -n "__fish_wal_tools_needs_command" -f -a "discard" -d 'Give parked operations up: what the stores show of them stays as it is'
complete -c wal-tools -n "__fish_wal_tools_needs_command" -f -a "repair" -d 'Put what cannot be read aside, and make a log of the rest that opens'
complete -c wal-tools -n "__fish_wal_tools_needs_command" -f -a "pages" -d 'Write man pages and shell completions into a directory'
complete -c wal-tools -n "__fish_wal_tools_needs_command" -f -a "help" -d 'Print this message or the help of the given subcommand(s)'
complete -c wal-tools -n "__fish_wal_tools_using_subcommand status" -l wal -d 'The log\'s directory [default: $LOCKSTEP_DATA/wal, else ./lockstep-data/wal, else /var/lib/lockstep/wal]' -r -F
complete -c wal-tools -n "__fish_wal_tools_using_subcommand status" -l data -d 'lockstepd\'s data directory: the log is DIR/wal' -r -F
complete -c wal-tools -n "__fish_wal_tools_using_subcommand status" -l socket -d 'Ask the daemon at this socket; plan, verify and dump read the directory that it names' -r -F
complete -c wal-tools -n "__fish_wal_tools_using_subcommand status" -l json -d 'Print one JSON document; list prints one a line (NDJSON), as dump always does'
complete -c wal-tools -n "__fish_wal_tools_using_subcommand status" -s h -l help -d 'Print help'
complete -c wal-tools -n "__fish_wal_tools_using_subcommand status" -s V -l version -d 'Print version'
complete -c wal-tools -n "__fish_wal_tools_using_subcommand list" -l state -d 'Only operations in this state: pending, surreal_completed, qdrant_completed, committed, compensating, rolled_back, parked or discarded' -r
complete -c wal-tools -n "__fish_wal_tools_using_subcommand list" -l key -d 'Only operations that write this key' -r
complete -c wal-tools -n "__fish_wal_tools_using_subcommand list" -l limit -d 'At most so many' -r
complete -c wal-tools -n "__fish_wal_tools_using_subcommand list" -l wal -d 'The log\'s directory [default: $LOCKSTEP_DATA/wal, else ./lockstep-data/wal, else /var/lib/lockstep/wal]' -r -F
complete -c wal-tools -n "__fish_wal_tools_using_subcommand list" -l data -d 'lockstepd\'s data directory: the log is DIR/wal' -r -F
complete -c wal-tools -n "__fish_wal_tools_using_subcommand list" -l socket -d 'Ask the daemon at this socket; plan, verify and dump read the directory that it names' -r -F
complete -c wal-tools -n "__fish_wal_tools_using_subcommand list" -l full -d 'Do not cut lines to 100 columns'
complete -c wal-tools -n "__fish_wal_tools_using_subcommand list" -l json -d 'Print one JSON document; list prints one a line (NDJSON), as dump always does'
complete -c wal-tools -n "__fish_wal_tools_using_subcommand list" -s h -l help -d 'Print help'
complete -c wal-tools -n "__fish_wal_tools_using_subcommand list" -s V -l version -d 'Print version'
complete -c wal-tools -n "__fish_wal_tools_using_subcommand show" -l wal -d 'The log\'s directory [default: $LOCKSTEP_DATA/wal, else ./lockstep-data/wal, else /var/lib/lockstep/wal]' -r -F
complete -c wal-tools -n "__fish_wal_tools_using_subcommand show" -l data -d 'lockstepd\'s data directory: the log is DIR/wal' -r -F
complete -c wal-tools -n "__fish_wal_tools_using_subcommand show" -l socket -d 'Ask the daemon at this socket; plan, verify and dump read the directory that it names' -r -F
complete -c wal-tools -n "__fish_wal_tools_using_subcommand show" -l full -d 'Do not cut its document (vectors stay short; --json has them)'
complete -c wal-tools -n "__fish_wal_tools_using_subcommand show" -l json -d 'Print one JSON document; list prints one a line (NDJSON), as dump always does'
complete -c wal-tools -n "__fish_wal_tools_using_subcommand show" -s h -l help -d 'Print help'
complete -c wal-tools -n "__fish_wal_tools_using_subcommand show" -s V -l version -d 'Print version'
complete -c wal-tools -n "__fish_wal_tools_using_subcommand verify" -l copy-to -d 'Where sled is tried on a private copy of the log [default: the system\'s temporary directory]' -r -F
complete -c wal-tools -n "__fish_wal_tools_using_subcommand verify" -l wal -d 'The log\'s directory [default: $LOCKSTEP_DATA/wal, else ./lockstep-data/wal, else /var/lib/lockstep/wal]' -r -F
complete -c wal-tools -n "__fish_wal_tools_using_subcommand verify" -l data -d 'lockstepd\'s data directory: the log is DIR/wal' -r -F
complete -c wal-tools -n "__fish_wal_tools_using_subcommand verify" -l socket -d 'Ask the daemon at this socket; plan, verify and dump read the directory that it names' -r -F
complete -c wal-tools -n "__fish_wal_tools_using_subcommand verify" -l no-trial -d 'Do not try whether sled opens the log: only its records are looked at'
complete -c wal-tools -n "__fish_wal_tools_using_subcommand verify" -l json -d 'Print one JSON document; list prints one a line (NDJSON), as dump always does'
complete -c wal-tools -n "__fish_wal_tools_using_subcommand verify" -s h -l help -d 'Print help'
complete -c wal-tools -n "__fish_wal_tools_using_subcommand verify" -s V -l version -d 'Print version'
complete -c wal-tools -n "__fish_wal_tools_using_subcommand dump" -l from -d 'Begin with the operation at this LSN' -r
complete -c wal-tools -n "__fish_wal_tools_using_subcommand dump" -l to -d 'End with the operation at this LSN' -r
complete -c wal-tools -n "__fish_wal_tools_using_subcommand dump" -l wal -d 'The log\'s directory [default: $LOCKSTEP_DATA/wal, else ./lockstep-data/wal, else /var/lib/lockstep/wal]' -r -F
complete -c wal-tools -n "__fish_wal_tools_using_subcommand dump" -l data -d 'lockstepd\'s data directory: the log is DIR/wal' -r -F
complete -c wal-tools -n "__fish_wal_tools_using_subcommand dump" -l socket -d 'Ask the daemon at this socket; plan, verify and dump read the directory that it names' -r -F
complete -c wal-tools -n "__fish_wal_tools_using_subcommand dump" -l operations -d 'Only the operations, whatever became of them, as lockstep bulk takes them'
complete -c wal-tools -n "__fish_wal_tools_using_subcommand dump" -l json -d 'Print one JSON document; list prints one a line (NDJSON), as dump always does'
complete -c wal-tools -n "__fish_wal_tools_using_subcommand dump" -s h -l help -d 'Print help'
complete -c wal-tools -n "__fish_wal_tools_using_subcommand dump" -s V -l version -d 'Print version'
complete -c wal-tools -n "__fish_wal_tools_using_subcommand explain" -l wal -d 'The log\'s directory [default: $LOCKSTEP_DATA/wal, else ./lockstep-data/wal, else /var/lib/lockstep/wal]' -r -F
complete -c wal-tools -n "__fish_wal_tools_using_subcommand explain" -l data -d 'lockstepd\'s data directory: the log is DIR/wal' -r -F
complete -c wal-tools -n "__fish_wal_tools_using_subcommand explain" -l socket -d 'Ask the daemon at this socket; plan, verify and dump read the directory that it names' -r -F
complete -c wal-tools -n "__fish_wal_tools_using_subcommand explain" -l json -d 'Print one JSON document; list prints one a line (NDJSON), as dump always does'
complete -c wal-tools -n "__fish_wal_tools_using_subcommand explain" -s h -l help -d 'Print help'
complete -c wal-tools -n "__fish_wal_tools_using_subcommand explain" -s V -l version -d 'Print version'
complete -c wal-tools -n "__fish_wal_tools_using_subcommand plan" -l limit -d 'Show at most so many operations, the oldest; all are counted' -r
complete -c wal-tools -n "__fish_wal_tools_using_subcommand plan" -l copy-to -d 'Where sled is tried on a private copy of the log [default: the system\'s temporary directory]' -r -F
complete -c wal-tools -n "__fish_wal_tools_using_subcommand plan" -l wal -d 'The log\'s directory [default: $LOCKSTEP_DATA/wal, else ./lockstep-data/wal, else /var/lib/lockstep/wal]' -r -F
complete -c wal-tools -n "__fish_wal_tools_using_subcommand plan" -l data -d 'lockstepd\'s data directory: the log is DIR/wal' -r -F
complete -c wal-tools -n "__fish_wal_tools_using_subcommand plan" -l socket -d 'Ask the daemon at this socket; plan, verify and dump read the directory that it names' -r -F
complete -c wal-tools -n "__fish_wal_tools_using_subcommand plan" -l all -d 'Also operations that have ended and of which nothing is left to do'
complete -c wal-tools -n "__fish_wal_tools_using_subcommand plan" -l no-trial -d 'Do not try whether sled opens the log: only its records are looked at'
complete -c wal-tools -n "__fish_wal_tools_using_subcommand plan" -l json -d 'Print one JSON document; list prints one a line (NDJSON), as dump always does'
complete -c wal-tools -n "__fish_wal_tools_using_subcommand plan" -s h -l help -d 'Print help'
complete -c wal-tools -n "__fish_wal_tools_using_subcommand plan" -s V -l version -d 'Print version'
complete -c wal-tools -n "__fish_wal_tools_using_subcommand retry" -l state -d 'Only operations in this state [default without LSN|OP_ID: parked]' -r
complete -c wal-tools -n "__fish_wal_tools_using_subcommand retry" -l key -d 'Only operations that write this key' -r
complete -c wal-tools -n "__fish_wal_tools_using_subcommand retry" -l older-than -d 'Only operations that were logged longer ago than this, as 90s, 15m or 2h' -r
complete -c wal-tools -n "__fish_wal_tools_using_subcommand retry" -l error -d 'Only operations whose error contains this text' -r
complete -c wal-tools -n "__fish_wal_tools_using_subcommand retry" -l note -d 'Why, for those who look at the operations later' -r
complete -c wal-tools -n "__fish_wal_tools_using_subcommand retry" -l wal -d 'The log\'s directory [default: $LOCKSTEP_DATA/wal, else ./lockstep-data/wal, else /var/lib/lockstep/wal]' -r -F
complete -c wal-tools -n "__fish_wal_tools_using_subcommand retry" -l data -d 'lockstepd\'s data directory: the log is DIR/wal' -r -F
complete -c wal-tools -n "__fish_wal_tools_using_subcommand retry" -l socket -d 'Ask the daemon at this socket; plan, verify and dump read the directory that it names' -r -F
complete -c wal-tools -n "__fish_wal_tools_using_subcommand retry" -l all-parked -d 'All that are parked'
complete -c wal-tools -n "__fish_wal_tools_using_subcommand retry" -l write -d 'Do it'
complete -c wal-tools -n "__fish_wal_tools_using_subcommand retry" -l force -d 'Also where the key has been written since: the older content goes over it'
complete -c wal-tools -n "__fish_wal_tools_using_subcommand retry" -l json -d 'Print one JSON document; list prints one a line (NDJSON), as dump always does'
complete -c wal-tools -n "__fish_wal_tools_using_subcommand retry" -s h -l help -d 'Print help'
complete -c wal-tools -n "__fish_wal_tools_using_subcommand retry" -s V -l version -d 'Print version'
complete -c wal-tools -n "__fish_wal_tools_using_subcommand rollback" -l state -d 'Only operations in this state [default without LSN|OP_ID: parked]' -r
complete -c wal-tools -n "__fish_wal_tools_using_subcommand rollback" -l key -d 'Only operations that write this key' -r
complete -c wal-tools -n "__fish_wal_tools_using_subcommand rollback" -l older-than -d 'Only operations that were logged longer ago than this, as 90s, 15m or 2h' -r
complete -c wal-tools -n "__fish_wal_tools_using_subcommand rollback" -l error -d 'Only operations whose error contains this text' -r
complete -c wal-tools -n "__fish_wal_tools_using_subcommand rollback" -l note -d 'Why, for those who look at the operations later' -r
complete -c wal-tools -n "__fish_wal_tools_using_subcommand rollback" -l wal -d 'The log\'s directory [default: $LOCKSTEP_DATA/wal, else ./lockstep-data/wal, else /var/lib/lockstep/wal]' -r -F
complete -c wal-tools -n "__fish_wal_tools_using_subcommand rollback" -l data -d 'lockstepd\'s data directory: the log is DIR/wal' -r -F
complete -c wal-tools -n "__fish_wal_tools_using_subcommand rollback" -l socket -d 'Ask the daemon at this socket; plan, verify and dump read the directory that it names' -r -F
complete -c wal-tools -n "__fish_wal_tools_using_subcommand rollback" -l all-parked -d 'All that are parked'
complete -c wal-tools -n "__fish_wal_tools_using_subcommand rollback" -l write -d 'Do it'
complete -c wal-tools -n "__fish_wal_tools_using_subcommand rollback" -l json -d 'Print one JSON document; list prints one a line (NDJSON), as dump always does'
complete -c wal-tools -n "__fish_wal_tools_using_subcommand rollback" -s h -l help -d 'Print help'
complete -c wal-tools -n "__fish_wal_tools_using_subcommand rollback" -s V -l version -d 'Print version'
complete -c wal-tools -n "__fish_wal_tools_using_subcommand discard" -l state -d 'Only operations in this state [default without LSN|OP_ID: parked]' -r
complete -c wal-tools -n "__fish_wal_tools_using_subcommand discard" -l key -d 'Only operations that write this key' -r
complete -c wal-tools -n "__fish_wal_tools_using_subcommand discard" -l older-than -d 'Only operations that were logged longer ago than this, as 90s, 15m or 2h' -r
complete -c wal-tools -n "__fish_wal_tools_using_subcommand discard" -l error -d 'Only operations whose error contains this text' -r
complete -c wal-tools -n "__fish_wal_tools_using_subcommand discard" -l note -d 'Why, for those who look at the operations later' -r
complete -c wal-tools -n "__fish_wal_tools_using_subcommand discard" -l wal -d 'The log\'s directory [default: $LOCKSTEP_DATA/wal, else ./lockstep-data/wal, else /var/lib/lockstep/wal]' -r -F
complete -c wal-tools -n "__fish_wal_tools_using_subcommand discard" -l data -d 'lockstepd\'s data directory: the log is DIR/wal' -r -F
complete -c wal-tools -n "__fish_wal_tools_using_subcommand discard" -l socket -d 'Ask the daemon at this socket; plan, verify and dump read the directory that it names' -r -F
complete -c wal-tools -n "__fish_wal_tools_using_subcommand discard" -l all-parked -d 'All that are parked'
complete -c wal-tools -n "__fish_wal_tools_using_subcommand discard" -l write -d 'Do it'
complete -c wal-tools -n "__fish_wal_tools_using_subcommand discard" -l json -d 'Print one JSON document; list prints one a line (NDJSON), as dump always does'
complete -c wal-tools -n "__fish_wal_tools_using_subcommand discard" -s h -l help -d 'Print help'
complete -c wal-tools -n "__fish_wal_tools_using_subcommand discard" -s V -l version -d 'Print version'
complete -c wal-tools -n "__fish_wal_tools_using_subcommand repair" -l id -d 'The log\'s id, where neither of its files tells it' -r
complete -c wal-tools -n "__fish_wal_tools_using_subcommand repair" -l copy-to -d 'Where sled is tried on a private copy of the log [default: the system\'s temporary directory]' -r -F
complete -c wal-tools -n "__fish_wal_tools_using_subcommand repair" -l wal -d 'The log\'s directory [default: $LOCKSTEP_DATA/wal, else ./lockstep-data/wal, else /var/lib/lockstep/wal]' -r -F
complete -c wal-tools -n "__fish_wal_tools_using_subcommand repair" -l data -d 'lockstepd\'s data directory: the log is DIR/wal' -r -F
complete -c wal-tools -n "__fish_wal_tools_using_subcommand repair" -l socket -d 'Ask the daemon at this socket; plan, verify and dump read the directory that it names' -r -F
complete -c wal-tools -n "__fish_wal_tools_using_subcommand repair" -l write -d 'Do it'
complete -c wal-tools -n "__fish_wal_tools_using_subcommand repair" -l rebuild -d 'Make the log anew even if nothing is found that needs it'
complete -c wal-tools -n "__fish_wal_tools_using_subcommand repair" -l no-backup -d 'Do not keep the old log'
complete -c wal-tools -n "__fish_wal_tools_using_subcommand repair" -l not-newer -d 'No newer Lockstep wrote this log: what looks like a newer format is damage'
complete -c wal-tools -n "__fish_wal_tools_using_subcommand repair" -l json -d 'Print one JSON document; list prints one a line (NDJSON), as dump always does'
complete -c wal-tools -n "__fish_wal_tools_using_subcommand repair" -s h -l help -d 'Print help'
complete -c wal-tools -n "__fish_wal_tools_using_subcommand repair" -s V -l version -d 'Print version'
complete -c wal-tools -n "__fish_wal_tools_using_subcommand pages" -l wal -d 'The log\'s directory [default: $LOCKSTEP_DATA/wal, else ./lockstep-data/wal, else /var/lib/lockstep/wal]' -r -F
complete -c wal-tools -n "__fish_wal_tools_using_subcommand pages" -l data -d 'lockstepd\'s data directory: the log is DIR/wal' -r -F
complete -c wal-tools -n "__fish_wal_tools_using_subcommand pages" -l socket -d 'Ask the daemon at this socket; plan, verify and dump read the directory that it names' -r -F
complete -c wal-tools -n "__fish_wal_tools_using_subcommand pages" -l json -d 'Print one JSON document; list prints one a line (NDJSON), as dump always does'
complete -c wal-tools -n "__fish_wal_tools_using_subcommand pages" -s h -l help -d 'Print help'
complete -c wal-tools -n "__fish_wal_tools_using_subcommand pages" -s V -l version -d 'Print version'
complete -c wal-tools -n "__fish_wal_tools_using_subcommand help; and not __fish_seen_subcommand_from status list show verify dump explain plan retry rollback discard repair pages help" -f -a "status" -d 'Show the log at a glance: how much is open, what waits for an operator, whether its records are whole'
complete -c wal-tools -n "__fish_wal_tools_using_subcommand help; and not __fish_seen_subcommand_from status list show verify dump explain plan retry rollback discard repair pages help" -f -a "list" -d 'List operations, newest first: those in the log, and of those that have left what was kept'
complete -c wal-tools -n "__fish_wal_tools_using_subcommand help; and not __fish_seen_subcommand_from status list show verify dump explain plan retry rollback discard repair pages help" -f -a "show" -d 'Show one operation whole: its history, what went wrong, what it carries, and its records in the log'
complete -c wal-tools -n "__fish_wal_tools_using_subcommand help; and not __fish_seen_subcommand_from status list show verify dump explain plan retry rollback discard repair pages help" -f -a "verify" -d 'Check the log: every chunk and record, their order, every history, the high-water mark, gaps, leftovers'
complete -c wal-tools -n "__fish_wal_tools_using_subcommand help; and not __fish_seen_subcommand_from status list show verify dump explain plan retry rollback discard repair pages help" -f -a "dump" -d 'Print the operations in the log with all that they carry, oldest first, one JSON object a line'
complete -c wal-tools -n "__fish_wal_tools_using_subcommand help; and not __fish_seen_subcommand_from status list show verify dump explain plan retry rollback discard repair pages help" -f -a "explain" -d 'Explain one operation: what was asked, what happened, what it waits for, what a restart would do, what you can do'
complete -c wal-tools -n "__fish_wal_tools_using_subcommand help; and not __fish_seen_subcommand_from status list show verify dump explain plan retry rollback discard repair pages help" -f -a "plan" -d 'Show what a start of lockstepd would do with each operation in the log, and why'
complete -c wal-tools -n "__fish_wal_tools_using_subcommand help; and not __fish_seen_subcommand_from status list show verify dump explain plan retry rollback discard repair pages help" -f -a "retry" -d 'Log parked operations again as new ones; open ones that wait for their next attempt are tried now'
complete -c wal-tools -n "__fish_wal_tools_using_subcommand help; and not __fish_seen_subcommand_from status list show verify dump explain plan retry rollback discard repair pages help" -f -a "rollback" -d 'Take back what parked operations have done: their keys show again what was there before'
complete -c wal-tools -n "__fish_wal_tools_using_subcommand help; and not __fish_seen_subcommand_from status list show verify dump explain plan retry rollback discard repair pages help" -f -a "discard" -d 'Give parked operations up: what the stores show of them stays as it is'
complete -c wal-tools -n "__fish_wal_tools_using_subcommand help; and not __fish_seen_subcommand_from status list show verify dump explain plan retry rollback discard repair pages help" -f -a "repair" -d 'Put what cannot be read aside, and make a log of the rest that opens'
complete -c wal-tools -n "__fish_wal_tools_using_subcommand help; and not __fish_seen_subcommand_from status list show verify dump explain plan retry rollback discard repair pages help" -f -a "pages" -d 'Write man pages and shell completions into a directory'
complete -c wal-tools -n "__fish_wal_tools_using_subcommand help; and not __fish_seen_subcommand_from status list show verify dump explain plan retry rollback discard repair pages help" -f -a "help" -d 'Print this message or the help of the given subcommand(s)'
