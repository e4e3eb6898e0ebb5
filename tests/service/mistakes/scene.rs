//! The directory in which a mistake is made.

use std::net::TcpListener;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::Command;

use tempfile::TempDir;

use crate::support::{Ended, clean, finish, free_port, python};

/// Files as a new user has them, and a port that another program has.
pub struct Scene {
    dir: TempDir,
    taken: TcpListener,
    free: u16,
}

/// Listens on a port of its own, whatever it is given.
const ELSEWHERE: &str = "import socket, sys, time\n\
    listener = socket.create_server(('127.0.0.1', int(sys.argv[1])))\n\
    while True: listener.accept()\n";

impl Scene {
    pub fn new() -> Self {
        let dir = tempfile::Builder::new()
            .prefix("handover-")
            .tempdir()
            .expect("a directory");
        let scene = Self {
            dir,
            taken: TcpListener::bind("127.0.0.1:0").expect("a port"),
            free: free_port(),
        };
        let server = concat!(env!("CARGO_MANIFEST_DIR"), "/examples/server.py");
        let server = std::fs::read_to_string(server).expect("the example");
        scene.program("server.py", &server);
        scene.program("elsewhere.py", &format!("#!{}\n{ELSEWHERE}", python()));
        scene.program("wrapped", "#!/bin/sh\n./elsewhere.py 0\n");
        scene.program("nothing.py", "print('a line without #!')\n");
        scene.program("no-interpreter", "#!/no/such/interpreter\n");
        scene.file("not-executable", b"#!/bin/sh\n");
        scene.file("empty.toml", b"");
        scene.file("bytes.toml", b"[app]\ncommand = [\"\xe9\"]\n");
        scene.file(
            "web.toml",
            b"[app]\ncommand = [\"./server.py\"]\n[[listen]]\naddress = \"127.0.0.1:0\"\n",
        );
        std::fs::create_dir(scene.path("folder")).expect("a directory");
        scene
    }

    pub fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    pub fn file(&self, name: &str, bytes: &[u8]) {
        std::fs::write(self.path(name), bytes).expect("a file");
    }

    fn program(&self, name: &str, text: &str) {
        self.file(name, text.as_bytes());
        let runs = std::fs::Permissions::from_mode(0o755);
        std::fs::set_permissions(self.path(name), runs).expect("chmod");
    }

    /// What a shell makes of the line, where `handover` is this one and runs in `run`, below this directory.
    pub fn types(&self, typed: &str) -> Ended {
        let port = self.taken.local_addr().expect("an address").port();
        let typed = typed
            .replace("@TAKEN@", &port.to_string())
            .replace("@FREE@", &self.free.to_string());
        type_in(self.dir.path(), &typed)
    }
}

pub fn type_in(directory: &Path, typed: &str) -> Ended {
    let built = Path::new(env!("CARGO_BIN_EXE_handover"));
    let own = built.parent().expect("a directory").display();
    let mut command = Command::new("/bin/sh");
    command.args(["-c", typed]).current_dir(directory);
    clean(&mut command);
    command.env("PATH", format!("{own}:/usr/bin:/bin"));
    command.env("RUNTIME_DIRECTORY", directory.join("run"));
    command.env("STATE_DIRECTORY", directory.join("state"));
    finish(command)
}
