use std::path::Path;
use super::*;
#[test]
fn look() {
    let text = r##"
name = "web shop"
rout = "direct"
workers = 3
[app]
command = "./server --port 1"
workers = 0
env = { TOKEN = "hunter2", X = 5 }
umask = 27
watchdog = 10
[listen]
[[listen]]
address = "8080"
backlog = "big"
[[listen]]
name = "probe"
addres = ":80"
[ready]
on = "output:("
timeout = 30
[upgrade]
canary = 2
[drain]
signal = "KILL"
timeout = 30s
[app.env]
TOKEN = hunter2
[limits]
memory = "512M"
nofile = -1
bind = 3
"##;
    let faults = load_text(Path::new("web.toml"), text, &[("HANDOVER_APP__WORKERS".into(), "lots".into()), ("HANDOVER_APP__ENV".into(), "hunter2".into()), ("HANDOVER_APP__WORKER".into(), "lots".into())], &[Setting{key:"listen".into(), value: Value::List(vec!["http=*:80".into(), "x".into()]), flag:"--listen".into()}]).unwrap_err();
    println!("{}", faults.render(false));
    println!("{}", load_text(Path::new("web.toml"), "", &[], &[]).unwrap_err());
    println!("{}", load_text(Path::new("web.toml"), "name = 'x'", &[], &[]).unwrap_err());
    println!("{}", finish_none());
    println!("{}", reference_markdown());
}
fn finish_none() -> Faults { load(&Sources::default()).unwrap_err() }
