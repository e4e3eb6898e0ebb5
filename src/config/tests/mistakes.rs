//! One mistake a line: where it is, what is said, what helps.

use super::{MINIMAL, fault, faults};
use crate::config::{keys, load_text};
use std::path::Path;

/// Line of MINIMAL's end; mistakes follow below it.
const BELOW: usize = 5;

/// (lines after MINIMAL, line and column, message, hint)
type Mistake = (&'static str, (usize, usize), &'static str, &'static str);

#[rustfmt::skip]
const MISTAKES: &[Mistake] = &[
    // [[listen]] goes on below MINIMAL.
    ("adress = 1", (1, 1), "adress is no key of [listen]", "did you mean address?"),
    ("port = 80", (1, 1), "port is no key of [listen]", "did you mean address under [[listen]]?"),
    ("backlog = 0", (1, 11), "listen[0].backlog must be at least 1", "write backlog = 1"),
    ("backlog = 4294967296", (1, 11), "must be at most 2147483647", "write backlog = 2147483647"),
    ("backlog = 99999999999999999999999999999999999999999", (1, 11), "must be at most", "2147483647"),
    ("backlog = \"4096\"", (1, 11), "must be a number, not the string \"4096\"", "write backlog = 4096"),
    ("backlog = 4096.0", (1, 11), "must be a whole number, without a point", "write backlog = 4096"),
    ("backlog = -1", (1, 11), "must be at least 1", "write backlog = 1"),
    ("ready = 1", (1, 9), "listen[0].ready must be true or false, not the number 1", "write ready = true"),
    ("name = \"a:b\"", (1, 8), "a name has letters, digits", "write name = \"a-b\""),
    ("name = \"probe\"", (1, 8), "a name that handover keeps for itself", "choose another name"),
    ("name = \"private\"", (1, 8), "a name that handover keeps for itself", "choose another name"),
    ("mode = \"0660\"", (1, 8), "listen[0].mode needs a unix path, not :8080", "remove it"),
    ("user = \"web\"", (1, 8), "needs a unix path", "remove it"),
    ("keepalive = \"500ms\"", (1, 13), "must be at least 1s", "write keepalive = \"1s\""),
    ("receive_buffer = \"1K\"", (1, 18), "must be at least 2K", "write receive_buffer = \"2K\""),
    ("send_buffer = \"2G\"", (1, 15), "must be at most 1G", "write send_buffer = \"1G\""),
    ("fastopen = 0", (1, 12), "must be at least 1", "write fastopen = 1"),
    ("[[listen]]", (1, 1), "listen[1] has no address", "write address = \":8080\""),
    ("[[listen]]\naddress = \"8080\"", (2, 11), "is a port without a ':'", "write address = \":8080\"; write :8080 for every address, or 127.0.0.1:8080"),
    ("[[listen]]\naddress = 9090", (2, 11), "is a port without a ':'", "write address = \":9090\""),
    ("[[listen]]\naddress = \"http://localhost:3000/\"", (2, 11), "is a URL", "write address = \"localhost:3000\""),
    ("[[listen]]\naddress = \"localhost\"", (2, 11), "has no port", "write address = \"localhost:8080\""),
    ("[[listen]]\naddress = \":65536\"", (2, 11), "the highest is 65535", "from 1 to 65535"),
    ("[[listen]]\naddress = \"::1:9090\"", (2, 11), "IPv6 address without brackets", "write address = \"[::1]:9090\""),
    ("[[listen]]\naddress = \"upd:127.0.0.1:53\"", (2, 11), "has no scheme \"upd\"", "write address = \"udp:127.0.0.1:53\""),
    ("[[listen]]\naddress = \"unx:/run/s\"", (2, 11), "has no scheme \"unx\"", "write address = \"unix:/run/s\""),
    ("[[listen]]\naddress = \"*:80\"", (2, 11), "has '*' for a host", "write address = \":80\""),
    ("[[listen]]\naddress = \":8080\"", (2, 11), "listen[1].address is :8080, as listen[0] already is", "remove one"),
    ("[[listen]]\naddress = \"127.0.0.1:8080\"", (2, 11), "clashes with :8080 of listen[0]", "choose another port"),
    ("[[listen]]\nname = \"listen-0\"\naddress = \":81\"", (2, 8), "is \"listen-0\", as listen[0] already is", "choose another name"),
    ("[[listen]]\naddress = \"fd:http\"\nbacklog = 1", (3, 11), "cannot be set for fd:http", ".socket unit"),
    ("[[listen]]\naddress = \"udp::53\"\nnodelay = true", (3, 11), "needs a TCP listener, not udp::53", "remove it"),
    ("[[listen]]\naddress = \"127.0.0.1:81\"\nonly_v6 = true", (3, 11), "needs an IPv6 address", "remove it"),
    ("[listen.tls]\nx = 1", (1, 9), "tls is no key of [listen]", "remove it"),
    // Sections and keys.
    ("[readdy]\non = \"auto\"", (1, 2), "readdy is no key or section", "did you mean ready?"),
    ("[service]\nx = 1", (1, 2), "service is no key or section", "sections: app, listen"),
    ("[health]\nintervall = \"3s\"", (2, 1), "intervall is no key of [health]", "did you mean interval?"),
    ("[helth]\ncheck = \"exec:true\"", (1, 2), "helth is no key or section", "did you mean health?"),
    ("[hooks]\nwhatever = 1", (2, 1), "whatever is no key of [hooks]", "[hooks] has pre_upgrade, post_ready"),
    ("[upgrade]\ncanry = 1", (2, 1), "canry is no key of [upgrade]", "did you mean canary?"),
    ("[canary]\nworkers = 1", (1, 2), "canary is no key or section", "did you mean canary under [upgrade]?"),
    ("[ready]\ntimout = \"3s\"", (2, 1), "timout is no key of [ready]", "did you mean timeout?"),
    ("[ready]\nbake = \"3s\"", (2, 1), "bake is no key of [ready]", "did you mean bake under [upgrade]?"),
    ("[drain]\nstop-signal = \"INT\"", (2, 1), "is no key of [drain]", "did you mean signal under [drain]?"),
    ("[drain]\n\"a.b\" = 1", (2, 1), "a.b is no key of [drain]", "[drain] has signal, timeout"),
    // Durations.
    ("[ready]\ntimeout = 30", (2, 11), "ready.timeout needs a unit", "write timeout = \"30s\""),
    ("[ready]\ntimeout = \"30\"", (2, 11), "ready.timeout needs a unit", "write timeout = \"30s\""),
    ("[ready]\ntimeout = 1.5", (2, 11), "needs a unit", "write timeout = \"1500ms\""),
    ("[ready]\ntimeout = \"1m30s\"", (2, 11), "must be a duration, not \"1m30s\"", "write timeout = \"90s\""),
    ("[ready]\ntimeout = \"0s\"", (2, 11), "must be at least 1ms", "write timeout = \"1ms\""),
    ("[ready]\ntimeout = true", (2, 11), "must be a duration, not true", "write timeout = \"30s\""),
    ("[drain]\ntimeout = \"99999999999999999999h\"", (2, 11), "is too long", "write timeout = \"8760h\""),
    ("[drain]\ntimeout = -1", (2, 11), "must be a duration", "write timeout = \"30s\""),
    ("[upgrade]\nbake = \"soon\"", (2, 8), "must be a duration, not \"soon\"", "write bake = \"30s\""),
    // Readiness.
    ("[ready]\non = \"Auto\"", (2, 6), "must be one of auto, notify", "write on = \"auto\""),
    ("[ready]\non = \"tcp\"", (2, 6), "must be one of", "write on = \"accepting\""),
    ("[ready]\non = \"output:(\"", (2, 6), "has a regular expression that cannot be read", "write on = \"output:\\\\(\""),
    ("[ready]\non = \"stdout:\"", (2, 6), "has no regular expression after stdout:", "write on = \"stdout:listening on\""),
    ("[ready]\non = \"uptime:5\"", (2, 6), "has an uptime that needs a unit", "write on = \"uptime:5s\""),
    ("[ready]\non = \"uptime:1m\"", (2, 6), "ready.timeout gives up after 30s", "write timeout = \"70s\" under [ready]"),
    ("[ready]\nsettle = \"30s\"", (2, 10), "ready.timeout gives up after 30s", "write settle = \"1s\""),
    ("[ready]\ntimeout = \"500ms\"", (2, 11), "is 500ms, not more than ready.settle (1s)", "longer timeout"),
    ("[ready]\non = \"http:healthz\"", (2, 6), "ready.on has a path that does not begin with '/'", "write on = \"http:/healthz\""),
    ("[ready]\non = \"/healthz\"", (2, 6), "must be one of auto, notify, accepting, http:PATH", "write on = \"http:/healthz\""),
    ("[ready]\non = \"http\"", (2, 6), "must be one of", "write on = \"http:/healthz\""),
    ("[ready]\non = \"http:\"", (2, 6), "has no path after http:", "write on = \"http:/healthz\""),
    ("[ready]\non = \"exec:\"", (2, 6), "has no command after exec:", "write on = \"exec:./check\""),
    ("[ready]\non = \"htp:/healthz\"", (2, 6), "must be one of", "write on = \"http:/healthz\""),
    // Health.
    ("[health]\ncheck = \"/healthz\"", (2, 9), "health.check must be http:PATH or exec:COMMAND, not \"/healthz\"", "write check = \"http:/healthz\""),
    ("[health]\ncheck = \"http://localhost:80/up?deep=1\"", (2, 9), "is a URL", "write check = \"http:/up?deep=1\""),
    ("[health]\ncheck = \"https://localhost/up\"", (2, 9), "must be http:PATH", "speaks plain HTTP"),
    ("[health]\ncheck = \"http:/a b\"", (2, 9), "has a path that has ' ' in it", "a blank is %20"),
    ("[health]\ncheck = \"http:/a#b\"", (2, 9), "has a path that has '#' in it", "# is %23"),
    ("[health]\ncheck = \"exec:'' a\"", (2, 9), "an empty string for a program", "write the program first"),
    ("[health]\ncheck = \"exec:sh -c 'x\"", (2, 9), "has a ' that is never closed", "add the closing '"),
    ("[health]\ncheck = 5", (2, 9), "must be http:PATH or exec:COMMAND, not the number 5", "write check = \"http:/healthz\""),
    ("[health]\ncheck = \"http:/\"\nfailures = 0", (3, 12), "must be at least 1", "write failures = 1"),
    ("[health]\ncheck = \"http:/\"\ninterval = \"0s\"", (3, 12), "must be at least 1ms", "write interval = \"1ms\""),
    // Numbers, signals, words, sizes.
    ("[drain]\nsignal = \"TREM\"", (2, 10), "must be a signal's name, not \"TREM\"", "write signal = \"TERM\""),
    ("[drain]\nsignal = \"KILL\"", (2, 10), "cannot be KILL", "write signal = \"TERM\"; a worker that does not go is killed"),
    ("[drain]\nsignal = \"15\"", (2, 10), "must be a signal's name", "write signal = \"TERM\""),
    ("[drain]\nmax_generations = 0", (2, 19), "must be at least 1", "write max_generations = 1"),
    ("[drain]\ntimeout = \"2s\"\nkill_after = \"3s\"", (3, 14), "is longer than drain.timeout (2s)", "write kill_after = \"2s\""),
    ("[restart]\ndelay = \"1m\"", (2, 9), "is longer than restart.max_delay (30s)", "write max_delay = \"1m\""),
    ("[restart]\nmax_delay = \"10ms\"", (2, 13), "is shorter than restart.delay (100ms)", "write max_delay = \"100ms\""),
    ("[upgrade]\nretries = 1000", (2, 11), "must be at most 100", "write retries = 100"),
    ("[limits]\nnofile = -1", (2, 10), "must not be negative", "write nofile = \"unlimited\""),
    ("[limits]\nnofile = \"64K\"", (2, 10), "must be a whole number or \"unlimited\"", "write nofile = 65536"),
    ("[limits]\nstack = \"8MB\"", (2, 9), "must be a size with K, M, G or T", "write stack = \"8M\""),
    ("[limits]\nstack = \"99999999999T\"", (2, 9), "limits.stack is too large", ""),
    ("[limits]\nmemory = \"64K\"", (2, 10), "must be at least 1M", "write memory = \"1M\""),
    ("[limits]\nmemory = \"unlimited\"", (2, 10), "must be a size", ""),
    ("[limits]\nmemory = \"512MB\"", (2, 10), "must be a size with K, M, G or T", "write memory = \"512M\""),
    ("[limits]\ncpu = 0", (2, 7), "must be from 0.01 to 65536 CPUs", "write cpu = 1.0"),
    ("[limits]\ncpu = \"50%\"", (2, 7), "must be a number of CPUs", "write cpu = 0.5"),
    ("[limits]\ncpu = \"2\"", (2, 7), "must be a number of CPUs", "write cpu = 2.0"),
    ("[limits]\ncpu = \"half\"", (2, 7), "must be a number of CPUs", "write cpu = 1.5"),
    ("[limits]\npids = 0", (2, 8), "must be at least 1", "write pids = 1"),
    ("[limits]\npids = 5000000", (2, 8), "must be at most 4194304", "write pids = 4194304"),
    ("[log]\nlevel = \"warning\"", (2, 9), "must be one of error, warn, info", "write level = "),
    ("[log]\nformat = \"JSON\"", (2, 10), "must be one of auto, text, json, journald", "write format = \"json\""),
    ("[ready]\non = \"output:up\"\n[log]\nworker_output = \"inherit\"", (2, 6), "which nobody reads", "write worker_output = \"journal\" under [log]"),
    // Later versions.
    ("[log]\nworker_output = \"file\"", (2, 17), "\"file\" is not available in handover", "write worker_output = \"journal\""),
    ("[upgrade]\nstrategy = \"rolling\"\ncanary = 1", (3, 10), "a canary stands beside the whole old generation", "remove one of the two"),
    ("[upgrade]\nbatch = 0", (2, 9), "upgrade.batch must be at least 1", ""),
    ("[upgrade]\nstrategy = \"canary\"", (2, 12), "must be one of all, rolling, not \"canary\"", "remove it, and write canary = 1 under [upgrade]"),
    ("[upgrade]\nstrategy = \"roling\"", (2, 12), "must be one of all, rolling", "write strategy = \"rolling\""),
    ("[sessions]\nkey = [\"ip\"]", (2, 7), "sessions.key is not available", "route = \"direct\""),
    ("[router]\nqueue = 1", (2, 9), "router.queue is not available", "route = \"direct\""),
    ("[router.tls]\nkey = \"/k\"", (2, 7), "router.tls.key is not available", "TLS"),
    ("[control]\nmode = \"0666\"", (2, 8), "control.mode is 0666, which lets everybody on this machine in", "write mode = \"0660\""),
    ("[control]\nmode = \"0060\"", (2, 8), "is 0060, which keeps the master's own user out", "write mode = \"0660\""),
    ("[control]\nmode = \"1777\"", (2, 8), "mode", "0660"),
    ("[admin]\nlisten = \"unix:/run/web.sock\"", (2, 10), "admin.listen needs a TCP address, not unix:/run/web.sock", "write listen = \"127.0.0.1:9464\""),
    ("[admin]\nlisten = \"udp::9464\"", (2, 10), "needs a TCP address", "write listen = \"127.0.0.1:9464\""),
    ("[admin]\nlisten = \"127.0.0.1:8080\"", (2, 10), "is 127.0.0.1:8080, which listen[0] serves", "such as 9464"),
    ("[admin]\nlisten = 9464", (2, 10), "is a port without a ':'", "9464"),
    ("[hooks]\nsession_end = [\"x\"]", (2, 15), "hooks.session_end is not available", "handover upgrade"),
];

#[test]
fn each_mistake_is_told_where_it_is_with_what_helps() {
    for (lines, (line, column), message, hint) in MISTAKES {
        let text = format!("{MINIMAL}{lines}\n");
        let fault = fault(&text);
        assert_eq!(
            fault.position(),
            Some((BELOW - 1 + line, *column)),
            "{lines}\n{fault}"
        );
        assert!(fault.message.contains(message), "{lines}\n{fault}");
        assert!(
            fault.hint.as_deref().unwrap_or_default().contains(hint),
            "{lines}\n{fault}"
        );
        // The caret stands under the place.
        let snippet = fault.snippet.as_ref().expect("a line");
        assert_eq!(snippet.start, column - 1, "{lines}\n{fault}");
    }
}

/// Mistakes in [app], which MINIMAL already has: whole files.
#[rustfmt::skip]
const WHOLE: &[Mistake] = &[
    ("[app]\ncommand = \"./server -p 80\"", (2, 11), "must be a list of strings, not one string", "write command = [\"./server\", \"-p\", \"80\"]"),
    ("[app]\ncommand = [\"a\", 5]", (2, 17), "5 needs quotes: \"5\"", ""),
    ("[app]\ncommand = []", (2, 11), "app.command is missing", "write command = [\"./server\""),
    ("[app]\ncommand = [\"\"]", (2, 11), "begins with an empty string", "command = [\"./server\"]"),
    ("[app]\ncommand = [\"a\\u0000b\"]", (2, 12), "holds a NUL byte", "remove it"),
    ("[app]\ncommand = [\"a\"]\nworkers = 0", (3, 11), "must be at least 1", "write workers = 1"),
    ("[app]\ncommand = [\"a\"]\nworkers = -3", (3, 11), "must be at least 0", "write workers"),
    ("[app]\ncommand = [\"a\"]\nworkers = \"two\"", (3, 11), "must be a whole number of at least 1, or \"auto\", not \"two\"", "write workers = 2"),
    ("[app]\ncommand = [\"a\"]\nworkers = \"4\"", (3, 11), "must be a number, not the string", "write workers = 4"),
    ("[app]\ncommand = [\"a\"]\nworkers = \"AUTO\"", (3, 11), "or \"auto\"", "write workers = \"auto\""),
    ("[app]\ncommand = [\"a\"]\nenv =", (3, 6), "this key has no value", "write env = { NAME = \"VALUE\" }"),
    ("[app]\ncommand = [\"a\"]\nuser = 1000", (3, 8), "not the number 1000", "write user = \"1000\""),
    ("[app]\ncommand = [\"a\"]\nworkers = 1000000", (3, 11), "must be at most 10000", "write workers = 10000"),
    ("[app]\ncommand = [\"a\"]\numask = 22", (3, 9), "must be an octal mode in quotes, not the number 22", "write umask = \"0022\""),
    ("[app]\ncommand = [\"a\"]\numask = \"0888\"", (3, 9), "must be an octal mode", "write umask"),
    ("[app]\ncommand = [\"a\"]\nuser = 33", (3, 8), "must be a user's or group's name or number, not the number 33", "write user"),
    ("[app]\ncommand = [\"a\"]\nuser = \"a:b\"", (3, 8), "is no user's or group's name", "a group has a key of its own"),
    ("[app]\ncommand = [\"a\"]\ndirectory = \"~/web\"", (3, 13), "which only a shell knows", "whole path"),
    ("[app]\ncommand = [\"a\"]\nenv = [1]", (3, 8), "must be a list of strings", ""),
    ("[app]\ncommand = [\"a\"]\nenv = \"A=1\"", (3, 7), "must be a table of strings", "write env = { RUST_LOG = \"info\" }"),
    ("[app]\ncommand = [\"a\"]\nenv = { A = 1 }", (3, 13), "must be a table of strings; A is none", "put the value of A in quotes"),
    ("[app]\ncommand = [\"a\"]\n[app.env]\n2A = \"x\"", (4, 1), "has \"2A\", which is no variable's name", "does not begin with a digit"),
    ("[app]\ncommand = [\"a\"]\n[app.env]\nLISTEN_FDS = \"1\"", (4, 1), "which handover sets itself", "remove LISTEN_FDS"),
    ("[app]\ncommand = [\"a\"]\ninherit_env = \"false\"", (3, 15), "must be false without quotes", "write inherit_env = false"),
    ("[app]\ncommand = [\"a\"]\ninherit_env = \"PATH\"", (3, 15), "must be true, false or a list of names", "write inherit_env = [\"PATH\"]"),
    ("[app]\ncommand = [\"a\"]\ninherit_env = [\"A=1\"]", (3, 15), "has \"A=1\", which is no variable's name", "[\"PATH\", \"LC_*\"]"),
    ("[app]\ncommand = [\"a\"]\nwatchdog = \"0s\"", (3, 12), "must be at least 1ms", "1ms"),
    ("[app]\ncommand = [\"a\"]\nno_new_privs = \"yes\"", (3, 16), "must be true or false, not \"yes\"", "write no_new_privs = true"),
    ("[app]\ncommand = [\"a\"]\nprivate = \"port\"", (3, 11), "app.private is not available", "route = \"direct\""),
    ("[app]\ncommand = [\"a\"]\ndialects = [\"einhorn\"]", (3, 12), "app.dialects is not available", "LISTEN_FDS"),
    ("[app]\ncommand = [\"a\", \"{port}\"]", (2, 11), "has {port}, which only a router can fill; route = \"balance\" is not available", "LISTEN_FDS"),
    ("route = \"direct\"\n[app]\ncommand = [\"a\", \"{socket}\"]", (3, 11), "but route is \"direct\"", "remove {socket}"),
    ("[app]\ncommand = [\"a\", \"{fd:probe}\"]", (2, 11), "no listener has that name", "health.check = \"http:PATH\""),
    ("[app]\ncommand = [\"a\", \"{fd:htp}\"]\n[[listen]]\nname = \"http\"\naddress = \":80\"", (2, 11), "no listener has that name", "did you mean {fd:http}?"),
    ("route = \"session\"\n[app]\ncommand = [\"a\"]", (1, 9), "route = \"session\" is not available in handover", "write route = \"direct\""),
    ("route = \"ballance\"\n[app]\ncommand = [\"a\"]", (1, 9), "must be one of auto, direct, balance, session", "did you mean \"balance\"? It is not available"),
    ("[app]\ncommand = [\"a]", (2, 12), "this \" is never closed", "add the closing \": \"a\""),
    ("name = \"web\n[app]\ncommand = [\"a\"]", (1, 12), "this \" is never closed", "add the closing \": \"web\""),
    ("[app]\ncommand = [\"a\", 'b]\nworkers = 0", (2, 17), "this ' is never closed", "add the closing ': 'b'"),
    ("name = \"-x\"\n[app]\ncommand = [\"a\"]", (1, 8), "begins with a letter or digit", "write name = \"x\""),
    ("name = 5\n[app]\ncommand = [\"a\"]", (1, 8), "must be a name, not the number 5", "write name = \"web\""),
    ("workers = 2\n[app]\ncommand = [\"a\"]", (1, 1), "workers is no key or section", "did you mean workers under [app]?"),
    ("app = \"./server\"", (1, 7), "app is a section, not \"./server\"", "write [app] on a line of its own"),
    ("listen = \":80\"\n[app]\ncommand = [\"a\"]", (1, 10), "listen is a list of sections, not a string", "below it address = \":80\""),
    ("listen = [\":80\"]\n[app]\ncommand = [\"a\"]", (1, 11), "listen[0] is a section, not \":80\"", "[[listen]]"),
    ("listen = { address = \":80\" }\n[app]\ncommand = [\"a\"]", (1, 10), "one pair of brackets is missing", "write [[listen]]"),
    ("[app]\ncommand = [\"a\"]\n[listen]\naddress = \":80\"", (3, 1), "one pair of brackets is missing", "write [[listen]]"),
    ("[app]\ncmd = [\"a\"]", (2, 1), "cmd is no key of [app]", "did you mean command under [app]?"),
];

#[test]
fn each_mistake_in_the_app_is_told_where_it_is() {
    for (text, position, message, hint) in WHOLE {
        let with_listener = if text.contains("listen") {
            format!("{text}\n")
        } else {
            format!("{text}\n[[listen]]\naddress = \":80\"\n")
        };
        let faults = faults(&with_listener);
        let found = faults
            .0
            .iter()
            .find(|fault| fault.message.contains(message));
        let fault = found.unwrap_or_else(|| panic!("{text}\n{faults}"));
        assert_eq!(fault.position(), Some(*position), "{text}\n{fault}");
        assert!(
            fault.hint.as_deref().unwrap_or_default().contains(hint),
            "{text}\n{fault}"
        );
    }
    assert!(MISTAKES.len() + WHOLE.len() > 100);
}

#[test]
fn what_is_missing_is_told_once_each() {
    let text = faults("name = \"web\"\n").to_string();
    assert!(
        text.contains("web.toml: app.command is missing: there is nothing to run"),
        "{text}"
    );
    assert!(
        text.contains("hint: write under [app]: command = [\"./server\", \"--verbose\"]"),
        "{text}"
    );
    assert!(
        text.contains("web.toml: listen is missing: there is no socket to serve"),
        "{text}"
    );
    assert!(text.ends_with("2 faults in web.toml"), "{text}");
    // A key with a fault of its own is not missing as well.
    fault("[app]\ncommand = 5\n[[listen]]\naddress = \":80\"\n");
    fault("[app]\ncommand = [\"a\"]\n[[listen]]\naddress = \"80\"\n");
}

#[test]
fn more_listeners_than_descriptors_fit_a_message() {
    let mut text = String::from("[app]\ncommand = [\"a\"]\n");
    for port in 1..=65 {
        text.push_str(&format!("[[listen]]\naddress = \":{port}\"\n"));
    }
    let fault = fault(&text);
    assert!(
        fault
            .message
            .contains("has 65 listeners; at most 64 are possible"),
        "{fault}"
    );
    assert_eq!(fault.position(), Some((2 + 64 * 2 + 1, 1)));
}

#[test]
fn waiting_for_workers_on_no_listener() {
    let fault = fault(&format!(
        "{MINIMAL}ready = false\n[ready]\non = \"accepting\"\n"
    ));
    assert!(
        fault
            .message
            .contains("every [[listen]] says ready = false"),
        "{fault}"
    );
}

/// No key takes a date: each says what it takes instead, at the right place.
#[test]
fn every_key_wrong_in_type() {
    for key in keys() {
        let (text, position) = match key.section() {
            "" => (
                format!("{} = 1979-05-27\n{MINIMAL}", key.name()),
                (1, key.name().len() + 4),
            ),
            "listen" => {
                let text = format!(
                    "[app]\ncommand = [\"a\"]\n[[listen]]\n{} = 1979-05-27\n",
                    key.name()
                );
                (text, (4, key.name().len() + 4))
            }
            section => (
                format!("[{section}]\n{} = 1979-05-27\n", key.name()),
                (2, key.name().len() + 4),
            ),
        };
        let faults = faults(&text);
        let told: Vec<_> = faults
            .0
            .iter()
            .filter(|fault| fault.position() == Some(position))
            .collect();
        let [fault] = told.as_slice() else {
            panic!("{}: {faults}", key.path)
        };
        assert!(
            fault.message.contains(" must be ") || fault.message.contains("is not"),
            "{fault}"
        );
        assert!(fault.message.contains(key.name()), "{fault}");
        assert!(fault.hint.is_some(), "{fault}");
    }
}

/// The same through variables, with a list that never ends: nothing is taken silently.
#[test]
fn every_variable_wrong_in_type() {
    for key in keys() {
        let Some(variable) = key.variable() else {
            continue;
        };
        let env = [(variable.clone().into(), "\u{1}[\0".into())];
        let faults = load_text(Path::new("web.toml"), MINIMAL, &env, &[]).expect_err(key.path);
        let fault = &faults.0[0];
        assert!(fault.place.to_string().starts_with(&variable), "{fault}");
        assert!(fault.key.as_deref() == Some(key.path), "{fault}");
    }
}
