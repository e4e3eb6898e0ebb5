//! Mistakes in a config, each of which `run` and `check` tell alike.

use super::scene::Scene;
use super::{Mistake, Row, judge, mistake};

const GOOD: &str = "[app]\ncommand = [\"./server.py\"]\n[[listen]]\naddress = \"127.0.0.1:0\"\n";

/// The file, and what is said of it as `web.toml`.
#[rustfmt::skip]
pub(super) const MISTAKES: &[Mistake] = &[
    mistake("wokers = 2", 2, &["wokers is no key", "did you mean workers"]),
    mistake("[app]\nwokers = 2", 2, &["wokers is no key of [app]", "did you mean workers?"]),
    mistake("[app]\nworkers = \"two\"", 2, &["app.workers", "write workers = "]),
    mistake("[app]\nworkers = 0", 2, &["must be at least 1", "write workers = 1"]),
    mistake("[app]\ncommand = \"./server.py -x\"", 2, &["not one string", "write command = [\"./server.py\", \"-x\"]"]),
    mistake("[app]\ncommand = [\"./server.py]", 2, &["this \" is never closed", "add the closing \": \"./server.py\""]),
    mistake("[app]\ncommand = [\"./server.py\"\n[drain]", 2, &["this [ is never closed", "add ] after the last element"]),
    mistake("[app]\nport = 8080", 2, &["port is no key of [app]", "address under [[listen]]"]),
    mistake("[app]\nenv = { LISTEN_FDS = \"1\" }", 2, &["which handover sets itself", "remove LISTEN_FDS"]),
    mistake("[app]\nuser = \"no-such-user\"", 1, &["no user \"no-such-user\"", "useradd --system no-such-user"]),
    mistake("[app]\nenv_file = \"web.evn\"", 2, &["web.evn does not exist", "check the name"]),
    mistake("[app]\ndirectory = \"sub\"", 1, &["the working directory", "create it, or correct `directory`"]),
    mistake("[listen]\naddress = \":8080\"", 2, &["one pair of brackets is missing", "write [[listen]]"]),
    mistake("[[listen]]\nport = 8080", 2, &["port is no key of [listen]", "did you mean address"]),
    mistake("[[listen]]\naddress = 8080", 2, &["a port without a ':'", "write address = \":8080\""]),
    mistake("[upgrade]\nbake = 5", 2, &["upgrade.bake needs a unit", "write bake = \"5s\""]),
    mistake("[upgrade]\nbake = \"10ss\"", 2, &["must be a duration", "write bake = \"10s\""]),
    mistake("[upgrade]\ncanary_percent = 5", 2, &["is no key of [upgrade]", "upgrade"]),
    mistake("[ready]\non = \"uptime:1m\"", 2, &["gives up after 30s", "write timeout = \"70s\" under [ready]"]),
    mistake("[ready]\non = \"output:[\"", 2, &["regular expression", "write on = \"output:\\\\[\""]),
    mistake("[drain]\nsignal = \"SIGTREM\"", 2, &["drain.signal", "write signal = \"TERM\""]),
    mistake("[drian]\ntimeout = \"5s\"", 2, &["drian is no key or section", "did you mean drain?"]),
    mistake("[app]\nuser = 1000", 2, &["app.user must be", "not the number 1000", "write user = \"1000\""]),
    mistake("[upgrade]\nstrategy = \"canary\"", 2, &["must be one of all, rolling", "write canary = 1 under [upgrade]"]),
    mistake("[limits]\ncpu = \"50%\"", 2, &["must be a number of CPUs", "write cpu = 0.5"]),
    mistake("[limits]\nnofile = \"many\"", 2, &["limits.nofile", "write nofile = "]),
    mistake("[log]\nlevel = \"verbose\"", 2, &["log.level must be one of", "write level = "]),
];

/// `extra`, with what every config needs where it does not speak of that itself.
fn whole(extra: &str) -> String {
    let [app, listen] = [
        "command = [\"./server.py\"]\n",
        "[[listen]]\naddress = \"127.0.0.1:0\"\n",
    ];
    let section = |name: &str| extra.contains(name);
    let mut text = extra.to_owned() + "\n";
    if !section("command") {
        text = match text.find("[app]\n") {
            Some(at) => format!("{}{app}{}", &text[..at + 6], &text[at + 6..]),
            None => format!("{text}[app]\n{app}"),
        };
    }
    if !section("[listen") {
        text.push_str(listen);
    }
    text
}

#[test]
fn in_a_config() {
    let mut rows = Vec::new();
    for one in MISTAKES {
        let scene = Scene::new();
        scene.file("web.toml", whole(one.typed).as_bytes());
        rows.push(Row::of(one, &scene.types("handover run --config web.toml")));
        // What is only missing may come until the start, but a check finds a fault.
        let checked = Row::of(
            &mistake(one.typed, 2, one.says),
            &scene.types("handover check web.toml"),
        );
        rows.push(checked);
    }
    judge(&rows);
    let scene = Scene::new();
    scene.file("web.toml", GOOD.as_bytes());
    scene.types("handover check web.toml").says(0, &[]);
}

#[rustfmt::skip]
const FILES: &[Mistake] = &[
    mistake("handover run --config wbe.toml", 2, &["wbe.toml does not exist", "did you mean web.toml?"]),
    mistake("handover run --config /etc/no/such/web.toml", 2, &["does not exist", "check the path"]),
    mistake("handover run --config folder", 2, &["is a directory", "name a file in it: folder/web.toml"]),
    mistake("handover run --config bytes.toml", 2, &["bytes.toml:2:13", "save it as UTF-8"]),
    mistake("handover run --config empty.toml", 2, &["sets no key", "write [app] with command"]),
    mistake("handover check wbe.toml", 2, &["error: wbe.toml does not exist", "did you mean web.toml?"]),
    mistake("handover check folder", 2, &["error: folder is a directory", "name a file in it: folder/web.toml"]),
    mistake("printf 'user www-data;\\nevents {\\n}\\n' > nginx.conf; handover run -c nginx.conf", 2, &["the config of another program", "[app] with command = [\"./server\"]"]),
    mistake("handover check server.py", 2, &["server.py:", "hint:"]),
];

#[test]
fn in_what_is_no_config() {
    super::type_each(FILES);
}
