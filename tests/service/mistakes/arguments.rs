//! Mistakes on the command line.

use super::{Mistake, mistake, type_each};

#[rustfmt::skip]
pub(super) const MISTAKES: &[Mistake] = &[
    // No verb, or another manager's.
    mistake("handover server.py", 2, &["'server.py'", "handover run --listen :8080 -- ./server.py"]),
    mistake("handover ./server.py", 2, &["handover run --listen :8080 -- ./server.py"]),
    mistake("handover web.toml", 2, &["handover run --config web.toml"]),
    mistake("handover statsu", 2, &["'statsu'", "'status'"]),
    mistake("handover start web", 2, &["'start'", "handover run --listen :8080 -- ./server"]),
    mistake("handover restart web", 2, &["'restart'", "handover upgrade"]),
    mistake("handover ps", 2, &["handover status"]),
    mistake("handover top", 2, &["later version", "handover status --watch"]),
    // The program and its `--`.
    mistake("handover run python3 server.py", 2, &["behind `--`", "handover run … -- python3"]),
    mistake("handover run --listen :8080 server.py", 2, &["handover run … -- ./server.py"]),
    mistake("handover run web.toml", 2, &["handover run --config web.toml"]),
    mistake("handover run --listen :8080", 2, &["nothing to run", "handover run -l :8080 -- ./server"]),
    mistake("handover run -- ./server.py", 2, &["no socket to serve", "--listen :8080"]),
    // Flags.
    mistake("handover run --json --listen :8080 -- ./server.py", 2, &["'--json'", "--log-format json"]),
    mistake("handover run --port 8080 -- ./server.py", 2, &["'--port'", "--listen :8080"]),
    mistake("handover run --listne :8080 -- ./server.py", 2, &["'--listne'", "'--listen'"]),
    mistake("handover run --user web --listen :8080 -- ./server.py", 2, &["[app] user = \"web\""]),
    mistake("handover run --env A=1 --listen :8080 -- ./server.py", 2, &["[app] env = { K = \"V\" }"]),
    mistake("handover run --daemon --listen :8080 -- ./server.py", 2, &["stays in the foreground", "systemctl start handover@NAME"]),
    mistake("handover stop --force", 2, &["'--force'", "handover stop --now"]),
    mistake("handover status web api", 2, &["one NAME at a time", "handover status api"]),
    mistake("handover run --listen :0 --bake 5 -- ./server.py", 2, &["upgrade.bake needs a unit", "write --bake 5s"]),
    mistake("handover run --listen :0 --bake 10ss -- ./server.py", 2, &["not \"10ss\"", "write --bake 10s"]),
    mistake("handover run --listen :0 --workers 0 -- ./server.py", 2, &["app.workers must be at least 1", "write --workers 1"]),
    mistake("handover run --listen :0 --ready 'output:(' -- ./server.py", 2, &["regular expression", "write --ready 'output:\\('"]),
    mistake("handover run --listen :0 --ready uptime:40s -- ./server.py", 2, &["gives up after 30s", "write --ready-timeout 50s"]),
    mistake("handover run --listen :0 --ready acepting -- ./server.py", 2, &["ready.on", "write --ready accepting"]),
    mistake("handover run --listen :0 --route balence -- ./server.py", 2, &["did you mean \"balance\"? It is not available", "write route = \"direct\""]),
    mistake("HANDOVER_APP__WORKER=2 handover run --listen :0 -- ./server.py", 2, &["HANDOVER_APP__WORKER", "did you mean HANDOVER_APP__WORKERS?"]),
    mistake("HANDOVER_WORKERS=2 handover run --listen 127.0.0.1:0 -- true", 1, &["HANDOVER_WORKERS has no effect", "write HANDOVER_APP__WORKERS"]),
    mistake("HANDOVER_APP__COMMAND='./server.py \"a' handover run --listen :0", 2, &["HANDOVER_APP__COMMAND", "closing"]),
    mistake("handover upgrade --timeout 30", 2, &["needs a unit", "write 30s"]),
    mistake("handover upgrade --label=", 2, &["--label", "leave --label out"]),
    mistake("handover upgrade --env NOTIFY_SOCKET=/x", 2, &["handover sets NOTIFY_SOCKET itself", "leave it out"]),
    mistake("handover upgrade --env COLOUR", 2, &["no =", "COLOUR="]),
    mistake("handover upgrade web COLOUR=blue", 2, &["to set a variable", "handover upgrade … --env COLOUR=blue"]),
    mistake("handover scale 3 web", 2, &["the name stands before the number", "handover scale web 3"]),
    // Numbers.
    mistake("handover scale +1", 2, &["'+1'", "not how many more or fewer", "kill -TTIN PID", "write the whole number, such as 3"]),
    mistake("handover scale web -1", 2, &["'-1'", "not how many fewer", "handover scale web 3"]),
    mistake("handover scale g=3", 2, &["'g=3'", "two words", "handover scale g 3"]),
    mistake("handover scale web", 2, &["stands behind the name", "handover scale web 3"]),
    mistake("handover scale", 2, &["<N>", "handover scale 3"]),
    mistake("handover scale web --workers 3", 2, &["the number stands alone", "handover scale web 3"]),
    mistake("handover upgrade --canary 10%", 2, &["not a share", "write --canary 1"]),
    mistake("handover upgrade --canary -1", 2, &["it must be 0", "write --canary 1"]),
    mistake("handover rollback --to v1", 2, &["the number of a generation, such as 3", "`handover history` lists them"]),
    mistake("handover events --since 10m", 2, &["the number of an event, such as 12"]),
    mistake("handover logs -n abc", 2, &["a number of lines, such as 20"]),
    // Flags that another verb or another program has.
    mistake("handover upgrade --force", 2, &["'--force'", "leave it out: handover upgrade"]),
    mistake("handover status web -w", 2, &["'-w'", "handover status web --watch"]),
    mistake("handover upgrade -w 3", 2, &["'-w'", "now: handover scale 3", "set app.workers in the config, then: handover upgrade"]),
    mistake("handover upgrade --dry-run", 2, &["'--dry-run'", "handover check FILE", "handover upgrade --canary 1"]),
    mistake("handover upgrade --version v2", 2, &["'--version'", "handover upgrade --label v2"]),
    mistake("handover upgrade web -e A=1", 2, &["'-e'", "handover upgrade web --env A=1"]),
    mistake("handover events -n 3", 2, &["'-n'", "handover events | tail -n 3"]),
    mistake("handover status --format json", 2, &["'--format'", "handover status --json"]),
    mistake("handover logs --since 10m", 2, &["'--since'", "handover logs --lines 20"]),
    mistake("handover reload --label v2", 2, &["'--label'", "handover upgrade --label v2"]),
    mistake("handover upgrade --env ''", 2, &["it is empty", "write --env NAME=VALUE"]),
    mistake("handover upgrade --env =x", 2, &["the name is missing", "write --env NAME=x"]),
    // The order of words.
    mistake("handover web upgrade --label v2", 2, &["behind the verb", "handover upgrade web --label v2"]),
    mistake("handover config set upgrade.bake 3s", 2, &["bake = \"3s\" under [upgrade]", "then: handover reload"]),
    mistake("handover config get upgrade.bake", 2, &["handover config | grep -F upgrade.bake"]),
    mistake("handover check -c web.toml", 2, &["the file stands alone", "handover check web.toml"]),
    mistake("handover check", 2, &["<FILE>", "handover check web.toml"]),
    mistake("handover man", 2, &["<DIR>", "handover man ./man"]),
    mistake("handover completions tcsh", 2, &["there is none for tcsh", "handover completions bash"]),
    mistake("handover upgrade --from-config -- ./server.py", 2, &["'--from-config'", "cannot be used with"]),
    // What the program is not.
    mistake("handover run --listen :0 -- 'python3 server.py'", 1, &["no program \"python3 server.py\"", "write the words separately: python3 server.py"]),
    mistake("handover run --listen :0 -- './server.py --port 80'", 1, &["write the words separately: ./server.py --port 80"]),
    mistake("handover run --listen :0 -- PORT=1 python3 server.py", 1, &["no program \"PORT=1\"", "env PORT=1 PROGRAM"]),
    mistake("handover run --listen :0 -- no-such-program", 1, &["no program \"no-such-program\"", "give its path, or correct PATH"]),
    mistake("handover run --listen :0 -- server.py", 1, &["no program \"server.py\"", "write ./server.py"]),
    mistake("handover run --listen :0 -- ./bin/server", 1, &["there is no such file", "relative to the working directory", "correct the path"]),
    mistake("handover run --listen :0 -- ./folder", 1, &["this is a directory", "name the program in it"]),
    mistake("handover run --listen :0 -- ./not-executable", 1, &["is not executable", "chmod +x "]),
    mistake("handover run --listen :0 -- ./no-interpreter", 1, &["\"/no/such/interpreter\", which is missing", "install the interpreter, or correct the first line"]),
    mistake("handover run --runtime-dir /proc/1/x --listen :0 -- ./server.py", 1, &["cannot make the directory /proc/1/x", "choose another with --runtime-dir"]),
    mistake("handover run --runtime-dir web.toml --listen :0 -- ./server.py", 1, &["it is no directory", "choose another with --runtime-dir"]),
];

#[rustfmt::skip]
pub(super) const LISTENERS: &[Mistake] = &[
    mistake("handover run --listen 8080 -- ./server.py", 2, &["a port without a ':'", "write --listen :8080"]),
    mistake("handover run --listen localhost -- ./server.py", 2, &["has no port", "write --listen localhost:8080"]),
    mistake("handover run --listen no-such-host.invalid:8080 -- ./server.py", 1, &["cannot be resolved", "write an address instead of a name"]),
    mistake("handover run --listen ::1:8080 -- ./server.py", 2, &["IPv6 address without brackets", "write --listen '[::1]:8080'"]),
    mistake("handover run --listen '*:8080' -- ./server.py", 2, &["'*' for a host", "write --listen :8080"]),
    mistake("handover run --listen :80800 -- ./server.py", 2, &["80800", "the highest is 65535"]),
    mistake("handover run --listen upd:127.0.0.1:53 -- ./server.py", 2, &["no scheme \"upd\"", "write --listen udp:127.0.0.1:53"]),
    mistake("handover run --listen http://127.0.0.1:8080/ -- ./server.py", 2, &["is a URL", "write --listen 127.0.0.1:8080"]),
    mistake("handover run --listen /run/web.sock -- ./server.py", 2, &["looks like a path", "write --listen unix:/run/web.sock"]),
    mistake("handover run --listen unix:/run/$(printf %0120d 0).sock -- ./server.py", 2, &["at most 107", "shorten it by "]),
    mistake("handover run --listen unix:/no/such/place/s -- ./server.py", 1, &["no directory /no/such/place", "create it; below /run the unit can: RuntimeDirectory="]),
    mistake("handover run --listen unix:server.py -- ./server.py", 1, &["is not a socket", "use another path"]),
    mistake("handover run --listen 192.0.2.1:8080 -- ./server.py", 1, &["no such address", "freebind = true"]),
    mistake("handover run --listen fd:http -- ./server.py", 1, &["systemd passes no descriptor", "FileDescriptorName=http"]),
    mistake("handover run --listen a=:0 --listen a=127.0.0.1:0 -- ./server.py", 2, &["as listen[0] already is", "choose another name, such as \"a-1\""]),
    mistake("handover run --listen 127.0.0.1:@TAKEN@ -- ./server.py", 1, &["the address is in use by", "stop it, or listen on another address"]),
];

#[test]
fn on_the_command_line() {
    type_each(MISTAKES);
}

#[test]
fn in_an_address() {
    type_each(LISTENERS);
}
