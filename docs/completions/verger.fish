# Print an optspec for argparse to handle cmd's options that are independent of any subcommand.
function __fish_verger_global_optspecs
    string join \n instance= color= h/help V/version
end

function __fish_verger_needs_command
    # Figure out if the current invocation already has a command.
    set -l cmd (commandline -opc)
    set -e cmd[1]
    argparse -s (__fish_verger_global_optspecs) -- $cmd 2>/dev/null
    or return
    if set -q argv[1]
        # Also print the command, so this can be used to figure out what it is.
        echo $argv[1]
        return 1
    end
    return 0
end

function __fish_verger_using_subcommand
    set -l cmd (__fish_verger_needs_command)
    test -z "$cmd"
    and return 1
    contains -- $cmd[1] $argv
end

complete -c verger -n "__fish_verger_needs_command" -l instance -d 'Which daemon is meant, by the name of its instance' -r
complete -c verger -n "__fish_verger_needs_command" -l color -d 'When to use colour: auto, always or never' -r -f -a "auto\t'On a terminal, unless `NO_COLOR` is set'
always\t''
never\t''"
complete -c verger -n "__fish_verger_needs_command" -s h -l help -d 'Print help'
complete -c verger -n "__fish_verger_needs_command" -s V -l version -d 'Print version'
complete -c verger -n "__fish_verger_needs_command" -f -a "up" -d 'Run a plan here and now, and show what happens'
complete -c verger -n "__fish_verger_needs_command" -f -a "run" -d 'Become the daemon with this plan: for a container\'s first process, or under another supervisor'
complete -c verger -n "__fish_verger_needs_command" -f -a "compile" -d 'Compile a plan into the form that `vergerd` takes'
complete -c verger -n "__fish_verger_needs_command" -f -a "check" -d 'Check plans without running anything'
complete -c verger -n "__fish_verger_needs_command" -f -a "graph" -d 'Draw the services of a plan and the edges between them'
complete -c verger -n "__fish_verger_needs_command" -f -a "import" -d 'Print a configuration of another system as a plan of verger\'s own, or what becomes of its keys'
complete -c verger -n "__fish_verger_needs_command" -f -a "sim" -d 'Rehearse a plan: play a scenario on a virtual clock, without starting anything'
complete -c verger -n "__fish_verger_needs_command" -f -a "schema" -d 'Print the JSON Schema (2020-12) that a plan satisfies, in TOML as in JSON'
complete -c verger -n "__fish_verger_needs_command" -f -a "status" -d 'Show how services are, without asking the daemon'
complete -c verger -n "__fish_verger_needs_command" -f -a "start" -d 'Start services and what they require, and wait until they are ready'
complete -c verger -n "__fish_verger_needs_command" -f -a "stop" -d 'Stop services and what requires them, and wait until nothing of them is left'
complete -c verger -n "__fish_verger_needs_command" -f -a "restart" -d 'Give services another run, and wait until that is ready'
complete -c verger -n "__fish_verger_needs_command" -f -a "adopt" -d 'Start a service by taking over a process that runs already'
complete -c verger -n "__fish_verger_needs_command" -f -a "ignore" -d 'Leave services alone: their end leads to nothing from now on'
complete -c verger -n "__fish_verger_needs_command" -f -a "heed" -d 'Supervise services again that were ignored'
complete -c verger -n "__fish_verger_needs_command" -f -a "condition" -d 'Say that a condition that services wait for is so, or is so no longer'
complete -c verger -n "__fish_verger_needs_command" -f -a "signal" -d 'Send a signal to the main process of services'
complete -c verger -n "__fish_verger_needs_command" -f -a "plan" -d 'Show what another plan would do, and why'
complete -c verger -n "__fish_verger_needs_command" -f -a "apply" -d 'Put another plan in force, on trial'
complete -c verger -n "__fish_verger_needs_command" -f -a "confirm" -d 'Keep the change that is on trial'
complete -c verger -n "__fish_verger_needs_command" -f -a "rollback" -d 'Take the change that is on trial back'
complete -c verger -n "__fish_verger_needs_command" -f -a "switch" -d 'Switch a group of services to another target, and wait until it is there'
complete -c verger -n "__fish_verger_needs_command" -f -a "targets" -d 'Show the targets of all groups, and which is active'
complete -c verger -n "__fish_verger_needs_command" -f -a "shutdown" -d 'End everything in order, and then the daemon'
complete -c verger -n "__fish_verger_needs_command" -f -a "reexec" -d 'Replace the daemon\'s program in place, after an update'
complete -c verger -n "__fish_verger_needs_command" -f -a "why" -d 'Tell why a service is as it is, back to the outside event it all goes back to'
complete -c verger -n "__fish_verger_needs_command" -f -a "events" -d 'Show what happened to services and targets, and with `--follow` what happens'
complete -c verger -n "__fish_verger_needs_command" -f -a "chart" -d 'Draw how long the last start of the services took, and on whom it waited'
complete -c verger -n "__fish_verger_needs_command" -f -a "replay" -d 'Tell a recorded life of a daemon again, and say whether this engine does the same'
complete -c verger -n "__fish_verger_needs_command" -f -a "record" -d 'Keep a copy of the recording of the instance\'s daemon, and of the plan it is read with'
complete -c verger -n "__fish_verger_needs_command" -f -a "doctor" -d 'Tell what the kernel and this machine give, and what to do where something is missing'
complete -c verger -n "__fish_verger_needs_command" -f -a "completions" -d 'Print the completions for a shell'
complete -c verger -n "__fish_verger_needs_command" -f -a "version" -d 'Print which version this is'
complete -c verger -n "__fish_verger_needs_command" -f -a "help" -d 'Print this message or the help of the given subcommand(s)'
complete -c verger -n "__fish_verger_using_subcommand up" -l budget -d 'End everything within this time, when it is to end: 10s, 1m30s, forever. It goes before what the environment (VERGER_SHUTDOWN_BUDGET) and the plan (`shutdown_budget`) say' -r
complete -c verger -n "__fish_verger_using_subcommand up" -l instance -d 'Which daemon is meant, by the name of its instance' -r
complete -c verger -n "__fish_verger_using_subcommand up" -l color -d 'When to use colour: auto, always or never' -r -f -a "auto\t'On a terminal, unless `NO_COLOR` is set'
always\t''
never\t''"
complete -c verger -n "__fish_verger_using_subcommand up" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c verger -n "__fish_verger_using_subcommand run" -l budget -d 'End everything within this time, when it is to end: 10s, 1m30s, forever' -r
complete -c verger -n "__fish_verger_using_subcommand run" -l instance -d 'Which daemon is meant, by the name of its instance' -r
complete -c verger -n "__fish_verger_using_subcommand run" -l color -d 'When to use colour: auto, always or never' -r -f -a "auto\t'On a terminal, unless `NO_COLOR` is set'
always\t''
never\t''"
complete -c verger -n "__fish_verger_using_subcommand run" -s q -l quiet -d 'Say only what goes wrong'
complete -c verger -n "__fish_verger_using_subcommand run" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c verger -n "__fish_verger_using_subcommand compile" -s o -l output -d 'Where the compiled plan goes; `-` is standard output' -r -F
complete -c verger -n "__fish_verger_using_subcommand compile" -l instance -d 'Which daemon is meant, by the name of its instance' -r
complete -c verger -n "__fish_verger_using_subcommand compile" -l color -d 'When to use colour: auto, always or never' -r -f -a "auto\t'On a terminal, unless `NO_COLOR` is set'
always\t''
never\t''"
complete -c verger -n "__fish_verger_using_subcommand compile" -l elsewhere -d 'It is for another machine: do not look whether users and programs are there'
complete -c verger -n "__fish_verger_using_subcommand compile" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c verger -n "__fish_verger_using_subcommand check" -l budget -d 'See whether they can end within this time, whatever budget they have themselves: 10s, 1m30s' -r
complete -c verger -n "__fish_verger_using_subcommand check" -l instance -d 'Which daemon is meant, by the name of its instance' -r
complete -c verger -n "__fish_verger_using_subcommand check" -l color -d 'When to use colour: auto, always or never' -r -f -a "auto\t'On a terminal, unless `NO_COLOR` is set'
always\t''
never\t''"
complete -c verger -n "__fish_verger_using_subcommand check" -l elsewhere -d 'They are for another machine: do not look whether users, groups, programs, folders and CPUs are there'
complete -c verger -n "__fish_verger_using_subcommand check" -l json -d 'Print what was found as JSON'
complete -c verger -n "__fish_verger_using_subcommand check" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c verger -n "__fish_verger_using_subcommand graph" -l instance -d 'Which daemon is meant, by the name of its instance' -r
complete -c verger -n "__fish_verger_using_subcommand graph" -l color -d 'When to use colour: auto, always or never' -r -f -a "auto\t'On a terminal, unless `NO_COLOR` is set'
always\t''
never\t''"
complete -c verger -n "__fish_verger_using_subcommand graph" -l live -d 'The plan of the instance\'s daemon, with how its services are and which targets are active'
complete -c verger -n "__fish_verger_using_subcommand graph" -l dot -d 'Print it in DOT, for graphviz'
complete -c verger -n "__fish_verger_using_subcommand graph" -l svg -d 'Print it as SVG'
complete -c verger -n "__fish_verger_using_subcommand graph" -l json -d 'Print it as JSON: {"plan","targets":[{"name","services","phase","lacks",…}],"services":[{"name","layer","targets","phase"}], "edges":[{"from","to","kind",…}]}'
complete -c verger -n "__fish_verger_using_subcommand graph" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c verger -n "__fish_verger_using_subcommand import" -l instance -d 'Which daemon is meant, by the name of its instance' -r
complete -c verger -n "__fish_verger_using_subcommand import" -l color -d 'When to use colour: auto, always or never' -r -f -a "auto\t'On a terminal, unless `NO_COLOR` is set'
always\t''
never\t''"
complete -c verger -n "__fish_verger_using_subcommand import" -l report -d 'List every key with what becomes of it'
complete -c verger -n "__fish_verger_using_subcommand import" -l json -d 'Print the list as JSON'
complete -c verger -n "__fish_verger_using_subcommand import" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c verger -n "__fish_verger_using_subcommand sim" -l instance -d 'Which daemon is meant, by the name of its instance' -r
complete -c verger -n "__fish_verger_using_subcommand sim" -l color -d 'When to use colour: auto, always or never' -r -f -a "auto\t'On a terminal, unless `NO_COLOR` is set'
always\t''
never\t''"
complete -c verger -n "__fish_verger_using_subcommand sim" -l json -d 'Print each change and the outcome as a line of JSON'
complete -c verger -n "__fish_verger_using_subcommand sim" -s q -l quiet -d 'Show only expectations that were not met, and the outcome'
complete -c verger -n "__fish_verger_using_subcommand sim" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c verger -n "__fish_verger_using_subcommand schema" -l instance -d 'Which daemon is meant, by the name of its instance' -r
complete -c verger -n "__fish_verger_using_subcommand schema" -l color -d 'When to use colour: auto, always or never' -r -f -a "auto\t'On a terminal, unless `NO_COLOR` is set'
always\t''
never\t''"
complete -c verger -n "__fish_verger_using_subcommand schema" -s h -l help -d 'Print help'
complete -c verger -n "__fish_verger_using_subcommand status" -l instance -d 'Which daemon is meant, by the name of its instance' -r
complete -c verger -n "__fish_verger_using_subcommand status" -l color -d 'When to use colour: auto, always or never' -r -f -a "auto\t'On a terminal, unless `NO_COLOR` is set'
always\t''
never\t''"
complete -c verger -n "__fish_verger_using_subcommand status" -l json -d 'Print it as JSON: {"services":[{"name","phase","ready","pid","run",…}],"daemon":{…,"keeper"}}; when the daemon died, each service has its "fate" and the daemon its "survivors"'
complete -c verger -n "__fish_verger_using_subcommand status" -l score -d 'Say the state of each process as S-CORE\'s Launch Manager calls it too (as JSON: "score_state")'
complete -c verger -n "__fish_verger_using_subcommand status" -s w -l watch -d 'Show it again whenever it changes (as JSON: a line each time)'
complete -c verger -n "__fish_verger_using_subcommand status" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c verger -n "__fish_verger_using_subcommand start" -l timeout -d 'Wait no longer than this, for example 10s or 1m30s' -r
complete -c verger -n "__fish_verger_using_subcommand start" -l instance -d 'Which daemon is meant, by the name of its instance' -r
complete -c verger -n "__fish_verger_using_subcommand start" -l color -d 'When to use colour: auto, always or never' -r -f -a "auto\t'On a terminal, unless `NO_COLOR` is set'
always\t''
never\t''"
complete -c verger -n "__fish_verger_using_subcommand start" -l all -d 'All: to start, those that the plan starts by itself; to restart, those that are wanted up; to stop, every one'
complete -c verger -n "__fish_verger_using_subcommand start" -l json -d 'Print what came of it as JSON'
complete -c verger -n "__fish_verger_using_subcommand start" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c verger -n "__fish_verger_using_subcommand stop" -l timeout -d 'Wait no longer than this, for example 10s or 1m30s' -r
complete -c verger -n "__fish_verger_using_subcommand stop" -l instance -d 'Which daemon is meant, by the name of its instance' -r
complete -c verger -n "__fish_verger_using_subcommand stop" -l color -d 'When to use colour: auto, always or never' -r -f -a "auto\t'On a terminal, unless `NO_COLOR` is set'
always\t''
never\t''"
complete -c verger -n "__fish_verger_using_subcommand stop" -l all -d 'All: to start, those that the plan starts by itself; to restart, those that are wanted up; to stop, every one'
complete -c verger -n "__fish_verger_using_subcommand stop" -l json -d 'Print what came of it as JSON'
complete -c verger -n "__fish_verger_using_subcommand stop" -l receipt -d 'Show how each stop went, also of those that were stopped with it: what was done when, who was seen, how each ended'
complete -c verger -n "__fish_verger_using_subcommand stop" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c verger -n "__fish_verger_using_subcommand restart" -l timeout -d 'Wait no longer than this, for example 10s or 1m30s' -r
complete -c verger -n "__fish_verger_using_subcommand restart" -l instance -d 'Which daemon is meant, by the name of its instance' -r
complete -c verger -n "__fish_verger_using_subcommand restart" -l color -d 'When to use colour: auto, always or never' -r -f -a "auto\t'On a terminal, unless `NO_COLOR` is set'
always\t''
never\t''"
complete -c verger -n "__fish_verger_using_subcommand restart" -l all -d 'All: to start, those that the plan starts by itself; to restart, those that are wanted up; to stop, every one'
complete -c verger -n "__fish_verger_using_subcommand restart" -l json -d 'Print what came of it as JSON'
complete -c verger -n "__fish_verger_using_subcommand restart" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c verger -n "__fish_verger_using_subcommand adopt" -l timeout -d 'Wait no longer than this, for example 10s or 1m30s; a process that has not been taken over by then is left alone, and the service stopped' -r
complete -c verger -n "__fish_verger_using_subcommand adopt" -l instance -d 'Which daemon is meant, by the name of its instance' -r
complete -c verger -n "__fish_verger_using_subcommand adopt" -l color -d 'When to use colour: auto, always or never' -r -f -a "auto\t'On a terminal, unless `NO_COLOR` is set'
always\t''
never\t''"
complete -c verger -n "__fish_verger_using_subcommand adopt" -l json -d 'Print what came of it as JSON'
complete -c verger -n "__fish_verger_using_subcommand adopt" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c verger -n "__fish_verger_using_subcommand ignore" -l instance -d 'Which daemon is meant, by the name of its instance' -r
complete -c verger -n "__fish_verger_using_subcommand ignore" -l color -d 'When to use colour: auto, always or never' -r -f -a "auto\t'On a terminal, unless `NO_COLOR` is set'
always\t''
never\t''"
complete -c verger -n "__fish_verger_using_subcommand ignore" -l all -d 'All of them; to supervise again, those that are ignored'
complete -c verger -n "__fish_verger_using_subcommand ignore" -l json -d 'Print what came of it as JSON'
complete -c verger -n "__fish_verger_using_subcommand ignore" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c verger -n "__fish_verger_using_subcommand heed" -l instance -d 'Which daemon is meant, by the name of its instance' -r
complete -c verger -n "__fish_verger_using_subcommand heed" -l color -d 'When to use colour: auto, always or never' -r -f -a "auto\t'On a terminal, unless `NO_COLOR` is set'
always\t''
never\t''"
complete -c verger -n "__fish_verger_using_subcommand heed" -l all -d 'All of them; to supervise again, those that are ignored'
complete -c verger -n "__fish_verger_using_subcommand heed" -l json -d 'Print what came of it as JSON'
complete -c verger -n "__fish_verger_using_subcommand heed" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c verger -n "__fish_verger_using_subcommand condition" -l instance -d 'Which daemon is meant, by the name of its instance' -r
complete -c verger -n "__fish_verger_using_subcommand condition" -l color -d 'When to use colour: auto, always or never' -r -f -a "auto\t'On a terminal, unless `NO_COLOR` is set'
always\t''
never\t''"
complete -c verger -n "__fish_verger_using_subcommand condition" -l json -d 'Print what came of it as JSON'
complete -c verger -n "__fish_verger_using_subcommand condition" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c verger -n "__fish_verger_using_subcommand signal" -s s -l signal -d 'Which signal, by name or number: HUP, SIGUSR1, 15, RTMIN+3' -r
complete -c verger -n "__fish_verger_using_subcommand signal" -l instance -d 'Which daemon is meant, by the name of its instance' -r
complete -c verger -n "__fish_verger_using_subcommand signal" -l color -d 'When to use colour: auto, always or never' -r -f -a "auto\t'On a terminal, unless `NO_COLOR` is set'
always\t''
never\t''"
complete -c verger -n "__fish_verger_using_subcommand signal" -l all -d 'All that have a process'
complete -c verger -n "__fish_verger_using_subcommand signal" -l json -d 'Print what came of it as JSON'
complete -c verger -n "__fish_verger_using_subcommand signal" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c verger -n "__fish_verger_using_subcommand plan" -l instance -d 'Which daemon is meant, by the name of its instance' -r
complete -c verger -n "__fish_verger_using_subcommand plan" -l color -d 'When to use colour: auto, always or never' -r -f -a "auto\t'On a terminal, unless `NO_COLOR` is set'
always\t''
never\t''"
complete -c verger -n "__fish_verger_using_subcommand plan" -l add -d 'FILE is a fragment: its services, handles and groups are added to the plan in force, whose services it may refer to'
complete -c verger -n "__fish_verger_using_subcommand plan" -l json -d 'Print it as JSON'
complete -c verger -n "__fish_verger_using_subcommand plan" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c verger -n "__fish_verger_using_subcommand apply" -l confirm -d 'Roll it back unless `verger confirm` follows within this time, once everything is up: 60s, 5m' -r
complete -c verger -n "__fish_verger_using_subcommand apply" -l within -d 'Roll it back when not everything is up by then' -r
complete -c verger -n "__fish_verger_using_subcommand apply" -l from -d 'Refuse when another plan is in force than the one with this digest: `verger plan` shows it' -r
complete -c verger -n "__fish_verger_using_subcommand apply" -l instance -d 'Which daemon is meant, by the name of its instance' -r
complete -c verger -n "__fish_verger_using_subcommand apply" -l color -d 'When to use colour: auto, always or never' -r -f -a "auto\t'On a terminal, unless `NO_COLOR` is set'
always\t''
never\t''"
complete -c verger -n "__fish_verger_using_subcommand apply" -l add -d 'FILE is a fragment: its services, handles and groups are added to the plan in force, whose services it may refer to'
complete -c verger -n "__fish_verger_using_subcommand apply" -l json -d 'Print what came of it as JSON'
complete -c verger -n "__fish_verger_using_subcommand apply" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c verger -n "__fish_verger_using_subcommand confirm" -l instance -d 'Which daemon is meant, by the name of its instance' -r
complete -c verger -n "__fish_verger_using_subcommand confirm" -l color -d 'When to use colour: auto, always or never' -r -f -a "auto\t'On a terminal, unless `NO_COLOR` is set'
always\t''
never\t''"
complete -c verger -n "__fish_verger_using_subcommand confirm" -l json -d 'Print what came of it as JSON'
complete -c verger -n "__fish_verger_using_subcommand confirm" -s h -l help -d 'Print help'
complete -c verger -n "__fish_verger_using_subcommand rollback" -l instance -d 'Which daemon is meant, by the name of its instance' -r
complete -c verger -n "__fish_verger_using_subcommand rollback" -l color -d 'When to use colour: auto, always or never' -r -f -a "auto\t'On a terminal, unless `NO_COLOR` is set'
always\t''
never\t''"
complete -c verger -n "__fish_verger_using_subcommand rollback" -l json -d 'Print what came of it as JSON'
complete -c verger -n "__fish_verger_using_subcommand rollback" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c verger -n "__fish_verger_using_subcommand switch" -l timeout -d 'Wait no longer than this, for example 10s or 1m30s' -r
complete -c verger -n "__fish_verger_using_subcommand switch" -l instance -d 'Which daemon is meant, by the name of its instance' -r
complete -c verger -n "__fish_verger_using_subcommand switch" -l color -d 'When to use colour: auto, always or never' -r -f -a "auto\t'On a terminal, unless `NO_COLOR` is set'
always\t''
never\t''"
complete -c verger -n "__fish_verger_using_subcommand switch" -l json -d 'Print what came of it as JSON'
complete -c verger -n "__fish_verger_using_subcommand switch" -l score -d 'Print its error code as S-CORE\'s Launch Manager has it too, also when it fails (as JSON: "score", "error")'
complete -c verger -n "__fish_verger_using_subcommand switch" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c verger -n "__fish_verger_using_subcommand targets" -l instance -d 'Which daemon is meant, by the name of its instance' -r
complete -c verger -n "__fish_verger_using_subcommand targets" -l color -d 'When to use colour: auto, always or never' -r -f -a "auto\t'On a terminal, unless `NO_COLOR` is set'
always\t''
never\t''"
complete -c verger -n "__fish_verger_using_subcommand targets" -l json -d 'Print them as JSON'
complete -c verger -n "__fish_verger_using_subcommand targets" -l score -d 'Print the state of each group as S-CORE\'s Launch Manager calls it too (as JSON: "score_state")'
complete -c verger -n "__fish_verger_using_subcommand targets" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c verger -n "__fish_verger_using_subcommand shutdown" -l budget -d 'Within this time: 10s, 1m30s. What is left at the end is killed at once' -r
complete -c verger -n "__fish_verger_using_subcommand shutdown" -l instance -d 'Which daemon is meant, by the name of its instance' -r
complete -c verger -n "__fish_verger_using_subcommand shutdown" -l color -d 'When to use colour: auto, always or never' -r -f -a "auto\t'On a terminal, unless `NO_COLOR` is set'
always\t''
never\t''"
complete -c verger -n "__fish_verger_using_subcommand shutdown" -l fast -d 'Without patience: kill what does not end at once'
complete -c verger -n "__fish_verger_using_subcommand shutdown" -l no-wait -d 'Do not wait until the daemon has ended'
complete -c verger -n "__fish_verger_using_subcommand shutdown" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c verger -n "__fish_verger_using_subcommand reexec" -l program -d 'Execute this program instead' -r -F
complete -c verger -n "__fish_verger_using_subcommand reexec" -l instance -d 'Which daemon is meant, by the name of its instance' -r
complete -c verger -n "__fish_verger_using_subcommand reexec" -l color -d 'When to use colour: auto, always or never' -r -f -a "auto\t'On a terminal, unless `NO_COLOR` is set'
always\t''
never\t''"
complete -c verger -n "__fish_verger_using_subcommand reexec" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c verger -n "__fish_verger_using_subcommand why" -l instance -d 'Which daemon is meant, by the name of its instance' -r
complete -c verger -n "__fish_verger_using_subcommand why" -l color -d 'When to use colour: auto, always or never' -r -f -a "auto\t'On a terminal, unless `NO_COLOR` is set'
always\t''
never\t''"
complete -c verger -n "__fish_verger_using_subcommand why" -l json -d 'Print it as JSON'
complete -c verger -n "__fish_verger_using_subcommand why" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c verger -n "__fish_verger_using_subcommand events" -l instance -d 'Which daemon is meant, by the name of its instance' -r
complete -c verger -n "__fish_verger_using_subcommand events" -l color -d 'When to use colour: auto, always or never' -r -f -a "auto\t'On a terminal, unless `NO_COLOR` is set'
always\t''
never\t''"
complete -c verger -n "__fish_verger_using_subcommand events" -s f -l follow -d 'Go on as things happen, until the daemon ends'
complete -c verger -n "__fish_verger_using_subcommand events" -l json -d 'Print each change as a line of JSON; of a target as `group` (as it is then), or as `target_failed` and `failure`'
complete -c verger -n "__fish_verger_using_subcommand events" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c verger -n "__fish_verger_using_subcommand chart" -l save -d 'Keep what was measured in this file, as JSON' -r -F
complete -c verger -n "__fish_verger_using_subcommand chart" -l against -d 'Compare with what was kept in this file, not with the start before' -r -F
complete -c verger -n "__fish_verger_using_subcommand chart" -l instance -d 'Which daemon is meant, by the name of its instance' -r
complete -c verger -n "__fish_verger_using_subcommand chart" -l color -d 'When to use colour: auto, always or never' -r -f -a "auto\t'On a terminal, unless `NO_COLOR` is set'
always\t''
never\t''"
complete -c verger -n "__fish_verger_using_subcommand chart" -l stop -d 'The last stop in place of the last start'
complete -c verger -n "__fish_verger_using_subcommand chart" -l svg -d 'Print it as SVG; what it is compared with is outlined'
complete -c verger -n "__fish_verger_using_subcommand chart" -l json -d 'Print it as JSON, as `--save` keeps it, with what is different in `compared`; times are microseconds from its beginning'
complete -c verger -n "__fish_verger_using_subcommand chart" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c verger -n "__fish_verger_using_subcommand replay" -l plan -d 'The compiled plan it is read with, if that is neither `FILE.plan` nor `plan` beside it' -r -F
complete -c verger -n "__fish_verger_using_subcommand replay" -l instance -d 'Which daemon is meant, by the name of its instance' -r
complete -c verger -n "__fish_verger_using_subcommand replay" -l color -d 'When to use colour: auto, always or never' -r -f -a "auto\t'On a terminal, unless `NO_COLOR` is set'
always\t''
never\t''"
complete -c verger -n "__fish_verger_using_subcommand replay" -l json -d 'Print each change and the outcome as a line of JSON'
complete -c verger -n "__fish_verger_using_subcommand replay" -s q -l quiet -d 'Do not show what happens, only the outcome'
complete -c verger -n "__fish_verger_using_subcommand replay" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c verger -n "__fish_verger_using_subcommand record" -l instance -d 'Which daemon is meant, by the name of its instance' -r
complete -c verger -n "__fish_verger_using_subcommand record" -l color -d 'When to use colour: auto, always or never' -r -f -a "auto\t'On a terminal, unless `NO_COLOR` is set'
always\t''
never\t''"
complete -c verger -n "__fish_verger_using_subcommand record" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c verger -n "__fish_verger_using_subcommand doctor" -l instance -d 'Which daemon is meant, by the name of its instance' -r
complete -c verger -n "__fish_verger_using_subcommand doctor" -l color -d 'When to use colour: auto, always or never' -r -f -a "auto\t'On a terminal, unless `NO_COLOR` is set'
always\t''
never\t''"
complete -c verger -n "__fish_verger_using_subcommand doctor" -l json -d 'Print it as JSON'
complete -c verger -n "__fish_verger_using_subcommand doctor" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c verger -n "__fish_verger_using_subcommand completions" -l instance -d 'Which daemon is meant, by the name of its instance' -r
complete -c verger -n "__fish_verger_using_subcommand completions" -l color -d 'When to use colour: auto, always or never' -r -f -a "auto\t'On a terminal, unless `NO_COLOR` is set'
always\t''
never\t''"
complete -c verger -n "__fish_verger_using_subcommand completions" -s h -l help -d 'Print help'
complete -c verger -n "__fish_verger_using_subcommand version" -l instance -d 'Which daemon is meant, by the name of its instance' -r
complete -c verger -n "__fish_verger_using_subcommand version" -l color -d 'When to use colour: auto, always or never' -r -f -a "auto\t'On a terminal, unless `NO_COLOR` is set'
always\t''
never\t''"
complete -c verger -n "__fish_verger_using_subcommand version" -l json -d 'Print it as JSON'
complete -c verger -n "__fish_verger_using_subcommand version" -s h -l help -d 'Print help'
complete -c verger -n "__fish_verger_using_subcommand help; and not __fish_seen_subcommand_from up run compile check graph import sim schema status start stop restart adopt ignore heed condition signal plan apply confirm rollback switch targets shutdown reexec why events chart replay record doctor completions version help" -f -a "up" -d 'Run a plan here and now, and show what happens'
complete -c verger -n "__fish_verger_using_subcommand help; and not __fish_seen_subcommand_from up run compile check graph import sim schema status start stop restart adopt ignore heed condition signal plan apply confirm rollback switch targets shutdown reexec why events chart replay record doctor completions version help" -f -a "run" -d 'Become the daemon with this plan: for a container\'s first process, or under another supervisor'
complete -c verger -n "__fish_verger_using_subcommand help; and not __fish_seen_subcommand_from up run compile check graph import sim schema status start stop restart adopt ignore heed condition signal plan apply confirm rollback switch targets shutdown reexec why events chart replay record doctor completions version help" -f -a "compile" -d 'Compile a plan into the form that `vergerd` takes'
complete -c verger -n "__fish_verger_using_subcommand help; and not __fish_seen_subcommand_from up run compile check graph import sim schema status start stop restart adopt ignore heed condition signal plan apply confirm rollback switch targets shutdown reexec why events chart replay record doctor completions version help" -f -a "check" -d 'Check plans without running anything'
complete -c verger -n "__fish_verger_using_subcommand help; and not __fish_seen_subcommand_from up run compile check graph import sim schema status start stop restart adopt ignore heed condition signal plan apply confirm rollback switch targets shutdown reexec why events chart replay record doctor completions version help" -f -a "graph" -d 'Draw the services of a plan and the edges between them'
complete -c verger -n "__fish_verger_using_subcommand help; and not __fish_seen_subcommand_from up run compile check graph import sim schema status start stop restart adopt ignore heed condition signal plan apply confirm rollback switch targets shutdown reexec why events chart replay record doctor completions version help" -f -a "import" -d 'Print a configuration of another system as a plan of verger\'s own, or what becomes of its keys'
complete -c verger -n "__fish_verger_using_subcommand help; and not __fish_seen_subcommand_from up run compile check graph import sim schema status start stop restart adopt ignore heed condition signal plan apply confirm rollback switch targets shutdown reexec why events chart replay record doctor completions version help" -f -a "sim" -d 'Rehearse a plan: play a scenario on a virtual clock, without starting anything'
complete -c verger -n "__fish_verger_using_subcommand help; and not __fish_seen_subcommand_from up run compile check graph import sim schema status start stop restart adopt ignore heed condition signal plan apply confirm rollback switch targets shutdown reexec why events chart replay record doctor completions version help" -f -a "schema" -d 'Print the JSON Schema (2020-12) that a plan satisfies, in TOML as in JSON'
complete -c verger -n "__fish_verger_using_subcommand help; and not __fish_seen_subcommand_from up run compile check graph import sim schema status start stop restart adopt ignore heed condition signal plan apply confirm rollback switch targets shutdown reexec why events chart replay record doctor completions version help" -f -a "status" -d 'Show how services are, without asking the daemon'
complete -c verger -n "__fish_verger_using_subcommand help; and not __fish_seen_subcommand_from up run compile check graph import sim schema status start stop restart adopt ignore heed condition signal plan apply confirm rollback switch targets shutdown reexec why events chart replay record doctor completions version help" -f -a "start" -d 'Start services and what they require, and wait until they are ready'
complete -c verger -n "__fish_verger_using_subcommand help; and not __fish_seen_subcommand_from up run compile check graph import sim schema status start stop restart adopt ignore heed condition signal plan apply confirm rollback switch targets shutdown reexec why events chart replay record doctor completions version help" -f -a "stop" -d 'Stop services and what requires them, and wait until nothing of them is left'
complete -c verger -n "__fish_verger_using_subcommand help; and not __fish_seen_subcommand_from up run compile check graph import sim schema status start stop restart adopt ignore heed condition signal plan apply confirm rollback switch targets shutdown reexec why events chart replay record doctor completions version help" -f -a "restart" -d 'Give services another run, and wait until that is ready'
complete -c verger -n "__fish_verger_using_subcommand help; and not __fish_seen_subcommand_from up run compile check graph import sim schema status start stop restart adopt ignore heed condition signal plan apply confirm rollback switch targets shutdown reexec why events chart replay record doctor completions version help" -f -a "adopt" -d 'Start a service by taking over a process that runs already'
complete -c verger -n "__fish_verger_using_subcommand help; and not __fish_seen_subcommand_from up run compile check graph import sim schema status start stop restart adopt ignore heed condition signal plan apply confirm rollback switch targets shutdown reexec why events chart replay record doctor completions version help" -f -a "ignore" -d 'Leave services alone: their end leads to nothing from now on'
complete -c verger -n "__fish_verger_using_subcommand help; and not __fish_seen_subcommand_from up run compile check graph import sim schema status start stop restart adopt ignore heed condition signal plan apply confirm rollback switch targets shutdown reexec why events chart replay record doctor completions version help" -f -a "heed" -d 'Supervise services again that were ignored'
complete -c verger -n "__fish_verger_using_subcommand help; and not __fish_seen_subcommand_from up run compile check graph import sim schema status start stop restart adopt ignore heed condition signal plan apply confirm rollback switch targets shutdown reexec why events chart replay record doctor completions version help" -f -a "condition" -d 'Say that a condition that services wait for is so, or is so no longer'
complete -c verger -n "__fish_verger_using_subcommand help; and not __fish_seen_subcommand_from up run compile check graph import sim schema status start stop restart adopt ignore heed condition signal plan apply confirm rollback switch targets shutdown reexec why events chart replay record doctor completions version help" -f -a "signal" -d 'Send a signal to the main process of services'
complete -c verger -n "__fish_verger_using_subcommand help; and not __fish_seen_subcommand_from up run compile check graph import sim schema status start stop restart adopt ignore heed condition signal plan apply confirm rollback switch targets shutdown reexec why events chart replay record doctor completions version help" -f -a "plan" -d 'Show what another plan would do, and why'
complete -c verger -n "__fish_verger_using_subcommand help; and not __fish_seen_subcommand_from up run compile check graph import sim schema status start stop restart adopt ignore heed condition signal plan apply confirm rollback switch targets shutdown reexec why events chart replay record doctor completions version help" -f -a "apply" -d 'Put another plan in force, on trial'
complete -c verger -n "__fish_verger_using_subcommand help; and not __fish_seen_subcommand_from up run compile check graph import sim schema status start stop restart adopt ignore heed condition signal plan apply confirm rollback switch targets shutdown reexec why events chart replay record doctor completions version help" -f -a "confirm" -d 'Keep the change that is on trial'
complete -c verger -n "__fish_verger_using_subcommand help; and not __fish_seen_subcommand_from up run compile check graph import sim schema status start stop restart adopt ignore heed condition signal plan apply confirm rollback switch targets shutdown reexec why events chart replay record doctor completions version help" -f -a "rollback" -d 'Take the change that is on trial back'
complete -c verger -n "__fish_verger_using_subcommand help; and not __fish_seen_subcommand_from up run compile check graph import sim schema status start stop restart adopt ignore heed condition signal plan apply confirm rollback switch targets shutdown reexec why events chart replay record doctor completions version help" -f -a "switch" -d 'Switch a group of services to another target, and wait until it is there'
complete -c verger -n "__fish_verger_using_subcommand help; and not __fish_seen_subcommand_from up run compile check graph import sim schema status start stop restart adopt ignore heed condition signal plan apply confirm rollback switch targets shutdown reexec why events chart replay record doctor completions version help" -f -a "targets" -d 'Show the targets of all groups, and which is active'
complete -c verger -n "__fish_verger_using_subcommand help; and not __fish_seen_subcommand_from up run compile check graph import sim schema status start stop restart adopt ignore heed condition signal plan apply confirm rollback switch targets shutdown reexec why events chart replay record doctor completions version help" -f -a "shutdown" -d 'End everything in order, and then the daemon'
complete -c verger -n "__fish_verger_using_subcommand help; and not __fish_seen_subcommand_from up run compile check graph import sim schema status start stop restart adopt ignore heed condition signal plan apply confirm rollback switch targets shutdown reexec why events chart replay record doctor completions version help" -f -a "reexec" -d 'Replace the daemon\'s program in place, after an update'
complete -c verger -n "__fish_verger_using_subcommand help; and not __fish_seen_subcommand_from up run compile check graph import sim schema status start stop restart adopt ignore heed condition signal plan apply confirm rollback switch targets shutdown reexec why events chart replay record doctor completions version help" -f -a "why" -d 'Tell why a service is as it is, back to the outside event it all goes back to'
complete -c verger -n "__fish_verger_using_subcommand help; and not __fish_seen_subcommand_from up run compile check graph import sim schema status start stop restart adopt ignore heed condition signal plan apply confirm rollback switch targets shutdown reexec why events chart replay record doctor completions version help" -f -a "events" -d 'Show what happened to services and targets, and with `--follow` what happens'
complete -c verger -n "__fish_verger_using_subcommand help; and not __fish_seen_subcommand_from up run compile check graph import sim schema status start stop restart adopt ignore heed condition signal plan apply confirm rollback switch targets shutdown reexec why events chart replay record doctor completions version help" -f -a "chart" -d 'Draw how long the last start of the services took, and on whom it waited'
complete -c verger -n "__fish_verger_using_subcommand help; and not __fish_seen_subcommand_from up run compile check graph import sim schema status start stop restart adopt ignore heed condition signal plan apply confirm rollback switch targets shutdown reexec why events chart replay record doctor completions version help" -f -a "replay" -d 'Tell a recorded life of a daemon again, and say whether this engine does the same'
complete -c verger -n "__fish_verger_using_subcommand help; and not __fish_seen_subcommand_from up run compile check graph import sim schema status start stop restart adopt ignore heed condition signal plan apply confirm rollback switch targets shutdown reexec why events chart replay record doctor completions version help" -f -a "record" -d 'Keep a copy of the recording of the instance\'s daemon, and of the plan it is read with'
complete -c verger -n "__fish_verger_using_subcommand help; and not __fish_seen_subcommand_from up run compile check graph import sim schema status start stop restart adopt ignore heed condition signal plan apply confirm rollback switch targets shutdown reexec why events chart replay record doctor completions version help" -f -a "doctor" -d 'Tell what the kernel and this machine give, and what to do where something is missing'
complete -c verger -n "__fish_verger_using_subcommand help; and not __fish_seen_subcommand_from up run compile check graph import sim schema status start stop restart adopt ignore heed condition signal plan apply confirm rollback switch targets shutdown reexec why events chart replay record doctor completions version help" -f -a "completions" -d 'Print the completions for a shell'
complete -c verger -n "__fish_verger_using_subcommand help; and not __fish_seen_subcommand_from up run compile check graph import sim schema status start stop restart adopt ignore heed condition signal plan apply confirm rollback switch targets shutdown reexec why events chart replay record doctor completions version help" -f -a "version" -d 'Print which version this is'
complete -c verger -n "__fish_verger_using_subcommand help; and not __fish_seen_subcommand_from up run compile check graph import sim schema status start stop restart adopt ignore heed condition signal plan apply confirm rollback switch targets shutdown reexec why events chart replay record doctor completions version help" -f -a "help" -d 'Print this message or the help of the given subcommand(s)'
