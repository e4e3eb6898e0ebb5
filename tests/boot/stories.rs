//! What the shipped unit promises, told by systemd itself.

use super::machine::{Stage, Told};
use super::tree::debian;

const CONFIG: &str = r#"
name = "web"
[app]
command = ["/usr/bin/python3", "/share/server.py"]
[[listen]]
name = "http"
address = "127.0.0.1:8080"
[upgrade]
bake = "300ms"
[drain]
timeout = "5s"
"#;

/// The story on the oldest systemd that the unit is written for (252); none where no tree can be booted.
#[track_caller]
fn told(config: &str, files: &[(&str, &str)], story: &str) -> Option<Told> {
    let tree = debian("bookworm")?;
    Some(Stage { config, files }.tell(&tree, story))
}

#[test]
fn a_start_is_over_when_the_first_generation_serves_and_a_stop_stays_stopped() {
    let story = r#"
        systemctl start handover@web
        echo "answer: $(get)"
        echo "active: $(property ActiveState) $(property SubState)"
        echo "text: $(property StatusText)"
        systemctl stop handover@web
        echo "stopped: $(property ActiveState) $(property Result) restarts $(property NRestarts)"
        ! serves
        ! pgrep -f server.py
        test ! -e /run/handover/web
        true
    "#;
    let Some(told) = told(CONFIG, &[], story) else {
        return;
    };
    assert!(told.line("answer").contains("generation 1"), "{told:?}");
    assert_eq!(told.line("active"), "active running");
    assert!(
        told.line("text")
            .starts_with("generation 1 active, 1 worker"),
        "{told:?}"
    );
    assert_eq!(told.line("stopped"), "inactive success restarts 0");
}

#[test]
fn a_reload_loses_nothing_and_fails_when_the_upgrade_failed() {
    let story = r#"
        systemctl start handover@web
        load_begins
        for _ in $(seq 5); do systemctl reload handover@web; done
        echo "answer: $(get)"
        cp server.py good.py
        echo 'raise SystemExit("no such database")' >server.py
        if systemctl reload handover@web; then echo "reload: worked"; else echo "reload: failed"; fi
        echo "still: $(get)"
        echo "active: $(property ActiveState) $(property SubState)"
        cp good.py server.py
        systemctl reload handover@web
        load_ends
        journalctl -u handover@web --no-pager | grep -c 'no such database' | sed 's/^/told: /'
    "#;
    let Some(told) = told(CONFIG, &[], story) else {
        return;
    };
    assert!(told.line("answer").contains("generation 6"), "{told:?}");
    assert_eq!(told.line("reload"), "failed");
    assert!(told.line("still").contains("generation 6"), "{told:?}");
    assert_eq!(told.line("active"), "active running");
    assert!(told.line("load").ends_with(", 0 failed"), "{told:?}");
    assert_ne!(told.line("told"), "0");
}

#[test]
fn a_config_that_is_broken_does_not_loop() {
    let story = r#"
        if systemctl start handover@web; then exit 1; fi
        # Ten times as long as the unit waits before it tries again.
        sleep 1
        echo "state: $(property ActiveState) $(property Result) $(property ExecMainStatus) restarts $(property NRestarts)"
        journalctl -u handover@web --no-pager | grep -o 'web.toml:4:.*' | head -1 | sed 's/^/why: /'
    "#;
    let broken = CONFIG.replace("[app]", "[app]\nworkers = \"many\"");
    let Some(told) = told(&broken, &[], story) else {
        return;
    };
    assert_eq!(told.line("state"), "failed exit-code 2 restarts 0");
    assert!(told.line("why").contains("workers"), "{told:?}");
}

#[test]
fn a_master_that_hangs_is_noticed_by_the_watchdog() {
    let drop_in = "[Service]\nWatchdogSec=1s\n";
    let at = "/etc/systemd/system/handover@web.service.d/watchdog.conf";
    let story = r#"
        systemctl start handover@web
        # Three times as long as it may be silent.
        sleep 3
        echo "before: $(property NRestarts)"
        kill -STOP "$(property MainPID)"
        until_true is NRestarts 1
        until_true serves
        journalctl -u handover@web --no-pager | grep -c 'Watchdog timeout' | sed 's/^/told: /'
    "#;
    let Some(told) = told(CONFIG, &[(at, drop_in)], story) else {
        return;
    };
    assert_eq!(told.line("before"), "0", "it is fed as long as it lives");
    assert_eq!(told.line("told"), "1");
}

#[test]
fn a_bake_that_is_longer_than_the_units_patience_is_waited_for() {
    let drop_in = "[Service]\nTimeoutStartSec=3s\n";
    let at = "/etc/systemd/system/handover@web.service.d/patience.conf";
    let story = r#"
        systemctl start handover@web
        systemctl reload handover@web
        echo "answer: $(get)"
        echo "state: $(property ActiveState) $(property SubState)"
    "#;
    let patient = CONFIG.replace("300ms", "10s");
    let Some(told) = told(&patient, &[(at, drop_in)], story) else {
        return;
    };
    assert!(told.line("answer").contains("generation 2"), "{told:?}");
    assert_eq!(told.line("state"), "active running");
}

#[test]
fn a_socket_unit_keeps_clients_waiting_over_a_restart() {
    let address = "[Socket]\nListenStream=\nListenStream=127.0.0.1:8080\n";
    let at = "/etc/systemd/system/handover@web.socket.d/address.conf";
    let story = r#"
        systemctl start handover@web.socket
        echo "answer: $(get)"
        load_begins
        systemctl restart handover@web
        systemctl restart handover@web
        load_ends
        handover status web | grep 127.0.0.1:8080 | sed 's/^/listener: /'
    "#;
    let by_name = CONFIG.replace("127.0.0.1:8080", "fd:http");
    let Some(told) = told(&by_name, &[(at, address)], story) else {
        return;
    };
    assert!(told.line("answer").contains("generation 1"), "{told:?}");
    assert!(told.line("load").ends_with(", 0 failed"), "{told:?}");
    assert!(told.line("listener").contains("systemd"), "{told:?}");
}
