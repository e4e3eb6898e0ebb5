//! Starts that come to nothing: the last line says why, and what to do.

use super::scene::Scene;
use super::{Mistake, mistake, type_each};

#[rustfmt::skip]
pub(super) const MISTAKES: &[Mistake] = &[
    mistake("handover run --listen 127.0.0.1:0 -- ./nothing.py", 1, &["exit code 1", "Exec format error", "a script needs a first line such as #!/bin/sh"]),
    mistake("handover run --listen 127.0.0.1:0 -- true", 1, &["ended before it was ready", "ends with exit code 1", "it printed nothing; try the command alone: true"]),
    mistake("handover run --listen 127.0.0.1:0 -- sh -c 'echo no database; exit 3'", 1, &["exit status 3", "it said last: no database", "mend that, and start again"]),
    mistake("handover run --listen 127.0.0.1:0 --ready-timeout 2s -- sleep 60", 1, &["not ready within 2 s (ready.timeout)", "no thread of it ever waited on listen-0 (127.0.0.1:", "the socket is descriptor 3", "\"uptime:5s\""]),
    mistake("handover run --listen 127.0.0.1:0 --ready-timeout 3s -- ./elsewhere.py @FREE@", 1, &["listens on 127.0.0.1:", "not on the socket it was given, listen-0", "socket.socket(fileno=3)"]),
    mistake("handover run --listen 127.0.0.1:@FREE@ --ready-timeout 3s -- ./elsewhere.py @FREE@", 1, &["ended because its address is in use: handover holds listen-0", "socket.socket(fileno=3)"]),
    mistake("handover run --listen 127.0.0.1:0 --ready-timeout 3s -- ./wrapped", 1, &["LISTEN_PID names the shell (sh, pid", "write `exec` before the command"]),
    mistake("handover run --listen 127.0.0.1:0 --ready notify --ready-timeout 2s -- ./server.py", 1, &["it sent no READY=1", "ready.on = \"auto\""]),
    mistake("handover run --listen 127.0.0.1:0 --ready output:READY --ready-timeout 2s -- ./server.py", 1, &["no line that it printed matches \"READY\"", "python3 -u"]),
];

#[test]
fn of_a_program_that_takes_no_socket_or_ends() {
    for row in type_each(MISTAKES) {
        let last = row.said.trim_end().lines().last().unwrap_or_default();
        for part in [
            "ends with exit code 1, since the first generation did not get ready: ",
            "; what to do: ",
        ] {
            assert!(
                last.contains(part),
                "$ {}: {part:?} is not in {last:?}",
                row.typed
            );
        }
    }
}

#[test]
fn too_few_descriptors_for_two_generations_are_told_at_the_start() {
    let scene = Scene::new();
    let ended =
        scene.types("ulimit -n 128; handover run --listen 127.0.0.1:0 --workers 50 -- true");
    ended.says(
        1,
        &[
            "app.workers = 50 need about 565",
            "its limit is 128",
            "LimitNOFILE=565",
            "ulimit -Hn 565",
        ],
    );
}
