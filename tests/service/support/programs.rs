//! Programs to run behind handover.

use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

/// Debian's own Python where there is one: what a version manager puts into PATH may be a script.
pub fn python() -> &'static str {
    if Path::new("/usr/bin/python3").exists() {
        "/usr/bin/python3"
    } else {
        "python3"
    }
}

fn example(name: &str) -> String {
    format!("{}/examples/{name}", env!("CARGO_MANIFEST_DIR"))
}

/// `python3 examples/server.py`
pub fn server() -> Vec<String> {
    vec![python().to_owned(), example("server.py")]
}

/// An own copy of the Python server that begins each answer with `words`.
pub fn server_saying(words: &str, file: &Path) {
    let text = std::fs::read_to_string(example("server.py")).expect("examples/server.py");
    let text = text.replace("hello from", &format!("{words} hello from"));
    let text = text.replacen("#!/usr/bin/env python3", &format!("#!{}", python()), 1);
    // Written aside and renamed: a file that is being executed must not be written to.
    let aside = file.with_extension("new");
    std::fs::write(&aside, text).expect("a file is written");
    std::fs::set_permissions(&aside, PermissionsExt::from_mode(0o755)).expect("chmod");
    std::fs::rename(&aside, file).expect("a rename");
}

/// The Rust server: an ELF program.
pub fn example_server() -> PathBuf {
    built_example("server")
}

/// The Rust server with a session table, on `handover::app`.
pub fn example_counter() -> PathBuf {
    built_example("counter")
}

fn built_example(name: &str) -> PathBuf {
    let built = Path::new(env!("CARGO_BIN_EXE_handover"));
    let path = built.with_file_name("examples").join(name);
    assert!(
        path.exists(),
        "{} is missing: cargo build --example {name}",
        path.display()
    );
    path
}

/// A shell as the program.
pub fn sh(script: &str) -> Vec<String> {
    ["/bin/sh", "-c", script].map(str::to_owned).to_vec()
}

/// Python code as the program. `serve()` runs the example server; `notify(text, *fds)` speaks to NOTIFY_SOCKET.
pub fn python_code(code: &str) -> Vec<String> {
    let prelude = format!(
        "import array, os, runpy, signal, socket, sys, threading, time\n\
         def serve(): runpy.run_path({:?}, run_name='__main__')\n\
         def notify(text, *fds):\n\
         \x20   with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as s:\n\
         \x20       s.connect(os.environ['NOTIFY_SOCKET'])\n\
         \x20       socket.send_fds(s, [text.encode()], fds)\n",
        example("server.py")
    );
    vec![python().to_owned(), "-c".to_owned(), prelude + code]
}

/// The example server with a `/healthz` that does what the file says at that moment: answers that status (`200 OK`), or
/// `hang`, `drip`, `endless`, `garbage`. Each question is noted in a file beside it, `.asked`: `WORKER TIME GENERATION`.
/// `code` runs before it serves; `m` is its module.
pub fn switched(file: &Path, code: &str) -> Vec<String> {
    let text = format!(
        "import importlib.util\n\
         spec = importlib.util.spec_from_file_location('server', {server:?})\n\
         m = importlib.util.module_from_spec(spec); spec.loader.exec_module(m)\n\
         file, plain = {file:?}, m.serve\n\
         def probed(c):\n\
         \x20   slot, generation = os.environ['HANDOVER_WORKER'], os.environ['HANDOVER_GENERATION']\n\
         \x20   with open(file + '.asked', 'a') as f: f.write(f'{{slot}} {{time.time()}} {{generation}}\\n')\n\
         \x20   how = open(file).read().strip()\n\
         \x20   if how == 'hang': time.sleep(600)\n\
         \x20   elif how == 'garbage': c.sendall(b'\\0\\1no http at all\\r\\n\\r\\n')\n\
         \x20   elif how in ('drip', 'endless'):\n\
         \x20       c.sendall(b'HTTP/1.1 200 OK\\r\\n\\r\\n')\n\
         \x20       while True: time.sleep(0.01 * (how == 'drip')); c.sendall(b'x' * (1 if how == 'drip' else 65536))\n\
         \x20   else: c.sendall(f'HTTP/1.1 {{how}}\\r\\nContent-Length: 5\\r\\n\\r\\nquite'.encode())\n\
         def serve_one(c):\n\
         \x20   if not c.recv(64, socket.MSG_PEEK).startswith(b'GET /healthz'): return plain(c)\n\
         \x20   try:\n\
         \x20       with c: c.recv(65536); probed(c)\n\
         \x20   except OSError: pass\n\
         m.serve = serve_one\n{code}\nm.main()",
        server = example("server.py"),
        file = file.display().to_string(),
    );
    python_code(&text)
}

/// An executable file with this text.
pub fn script(file: &Path, text: &str) {
    std::fs::write(file, text).expect("a file is written");
    std::fs::set_permissions(file, PermissionsExt::from_mode(0o755)).expect("chmod");
}

/// Releases that cannot work.
pub struct Broken;

impl Broken {
    /// Says why, and exits with 3.
    pub fn at_once() -> Vec<String> {
        sh("echo 'cannot find the database' >&2; exit 3")
    }

    /// Never waits on its listener.
    pub fn never_ready() -> Vec<String> {
        sh("echo still loading; exec sleep 600")
    }

    /// Serves, and dies half a second later.
    pub fn in_the_bake() -> Vec<String> {
        python_code("threading.Timer(0.5, lambda: os._exit(9)).start()\nserve()")
    }
}

/// A program that comes from a Debian package; `None` (and a word) where it is not installed.
pub fn debian(program: &str) -> Option<PathBuf> {
    let folders = ["/usr/bin", "/usr/sbin", "/bin", "/sbin"];
    let found = folders
        .iter()
        .map(|folder| Path::new(folder).join(program))
        .find(|p| p.exists());
    if found.is_none() {
        assert!(
            std::env::var_os("CI").is_none(),
            "{program} must be installed for this test"
        );
        eprintln!("skipped: {program} is not installed");
    }
    found
}
