//! Programs that know nothing of handover: node, gunicorn, uvicorn, nginx.
//!
//! How each of them treats idle connections at its own end is measured by the
//! benchmark; here new connections must not notice an upgrade.

use std::path::Path;

use crate::support::{Load, Start, debian, sh};

#[test]
fn node_serves_the_inherited_socket() {
    let Some(node) = debian("node") else { return };
    let code = "const server = require('http').createServer((request, response) => \
                response.end(`hello from generation ${process.env.HANDOVER_GENERATION} (pid \
                ${process.pid})\\n`)); server.listen({ fd: 3 }); \
                process.on('SIGTERM', () => server.close(() => process.exit(0)));";
    upgrades_unnoticed(Start::serving(&[
        node.display().to_string(),
        "-e".to_owned(),
        code.to_owned(),
    ]));
}

#[test]
fn gunicorn_serves_the_inherited_socket() {
    let Some(gunicorn) = debian("gunicorn") else {
        return;
    };
    let start = Start::bare(&[]);
    let app = "import os\n\
               def app(environ, start):\n\
               \x20   body = f\"hello from generation {os.environ['HANDOVER_GENERATION']} \
               (pid {os.getpid()})\\n\".encode()\n\
               \x20   start('200 OK', [('Content-Length', str(len(body)))])\n\
               \x20   return [body]\n";
    std::fs::write(start.path("app.py"), app).expect("a file");
    let folder = start.path("").display().to_string();
    let words = [gunicorn.display().to_string(), "--chdir".to_owned(), folder];
    let more = ["--workers", "2", "--log-level", "warning", "app:app"].map(str::to_owned);
    upgrades_unnoticed(Start::serving(&[&words[..], &more[..]].concat()));
}

#[test]
fn uvicorn_serves_the_inherited_socket() {
    let Some(uvicorn) = debian("uvicorn") else {
        return;
    };
    let start = Start::bare(&[]);
    let app = "import os\n\
               async def app(scope, receive, send):\n\
               \x20   assert scope['type'] == 'http'\n\
               \x20   body = f\"hello from generation {os.environ['HANDOVER_GENERATION']} \
               (pid {os.getpid()})\\n\".encode()\n\
               \x20   head = [(b'content-length', str(len(body)).encode())]\n\
               \x20   await send({'type': 'http.response.start', 'status': 200, 'headers': head})\n\
               \x20   await send({'type': 'http.response.body', 'body': body})\n";
    std::fs::write(start.path("app.py"), app).expect("a file");
    let folder = start.path("").display().to_string();
    let words = [
        "--fd",
        "3",
        "--lifespan",
        "off",
        "--log-level",
        "warning",
        "--app-dir",
        &folder,
        "app:app",
    ];
    let command = [
        &[uvicorn.display().to_string()][..],
        &words.map(str::to_owned),
    ]
    .concat();
    upgrades_unnoticed(Start::serving(&command));
}

#[test]
fn nginx_serves_the_inherited_socket() {
    if let Some(start) = nginx_start() {
        upgrades_unnoticed(start);
    }
}

/// nginx with two processes of its own; none where it is not installed.
pub fn nginx_start() -> Option<Start> {
    let nginx = debian("nginx")?;
    let start = Start::bare(&[]);
    let folder = start.path("");
    let config = nginx_config(&folder);
    std::fs::write(start.path("nginx.conf.in"), config).expect("a file");
    // nginx leaves the flags of an inherited socket as they are, and must never block in accept.
    // It finds its own sockets in NGINX, and must be told the address that they have.
    let script = format!(
        "cd {0} && port=$({1} -c 'import socket; print(socket.socket(fileno=3).getsockname()[1])') \
         && sed -e \"s/PORT/$port/\" -e \"s/GENERATION/$HANDOVER_GENERATION/g\" nginx.conf.in \
         > nginx.$HANDOVER_GENERATION.conf && NGINX='3;' exec {2} -e stderr -p {0} \
         -c {0}/nginx.$HANDOVER_GENERATION.conf",
        folder.display(),
        crate::support::python(),
        nginx.display()
    );
    let program = sh(&script);
    let quoted: Vec<String> = program.iter().map(|word| format!("{word:?}")).collect();
    let text = format!(
        "[app]\ncommand = [{}]\n[[listen]]\naddress = \"127.0.0.1:0\"\nnonblocking = true\n[drain]\nsignal = \"QUIT\"\n",
        quoted.join(", ")
    );
    let file = start.path("web.toml");
    std::fs::write(&file, text).expect("a config file");
    Some(start.flag("--config", file))
}

fn nginx_config(folder: &Path) -> String {
    let folder = folder.display();
    format!(
        "daemon off; worker_processes 2; pid {folder}/nginx.GENERATION.pid; error_log stderr warn;\n\
         events {{ worker_connections 512; }}\n\
         http {{ access_log off; client_body_temp_path {folder}/body; proxy_temp_path {folder}/proxy;\n\
         fastcgi_temp_path {folder}/fastcgi; uwsgi_temp_path {folder}/uwsgi; scgi_temp_path {folder}/scgi;\n\
         server {{ listen 127.0.0.1:PORT; location / {{ return 200 \"hello from generation GENERATION (pid \
         $pid)\\n\"; }} }} }}\n"
    )
}

#[track_caller]
fn upgrades_unnoticed(start: Start) {
    let service = start.start();
    let load = Load::fresh_on(&service.address());
    for _ in 0..2 {
        service.handover("upgrade", &["--drained"]).says(0, &[]);
    }
    load.lost_nothing(1..=3);
    service.stop();
}
