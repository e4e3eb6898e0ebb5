//! More workers and fewer, under load.

use nix::sys::signal::Signal;

use crate::support::{Load, Service, Start, eventually, python_code, server};

fn has(service: &Service, generation: u64, workers: usize) {
    eventually(&format!("there are {workers} workers"), || {
        (service.workers(generation).len() == workers).then_some(())
    });
}

#[test]
fn one_becomes_five_and_one_again_and_nothing_is_lost() {
    let service = Start::serving(&server()).start();
    let load = Load::on(&service.address());
    let ended = service.handover("scale", &["5"]);
    ended.says(0, &[]);
    assert!(
        ended.stdout.contains("generation 1 has 5 workers now"),
        "{ended:#?}"
    );
    assert_eq!(service.workers(1).len(), 5);
    service.handover("scale", &["1"]).says(0, &[]);
    has(&service, 1, 1);
    service.handover("scale", &["2"]).says(0, &[]);
    load.lost_nothing([1]);
    let page = service.handover("history", &[]).stdout;
    assert_eq!(page.matches("scale").count(), 3, "{page}");
    for (kind, numbers) in [
        ("scale", "1 to 5"),
        ("scale", "5 to 1"),
        ("scale", "1 to 2"),
    ] {
        let told = |line: &str| line.contains(kind) && line.contains(numbers);
        assert!(page.lines().any(told), "{numbers}: {page}");
    }
    service.signal(Signal::SIGTTIN);
    has(&service, 1, 3);
    service.signal(Signal::SIGTTOU);
    has(&service, 1, 2);
    let page = service.handover("history", &[]).stdout;
    for numbers in ["2 to 3", "3 to 2"] {
        let told = |line: &str| line.contains("scale") && line.contains(numbers);
        assert!(page.lines().any(told), "{numbers}: {page}");
    }
    service.stop(); // and asserts that nothing is left
}

/// The processes to which the master holds a descriptor (pidfd_open(2)).
fn pidfds(service: &Service) -> usize {
    let links = std::fs::read_dir(format!("/proc/{}/fd", service.pid())).expect("it lives");
    let links = links
        .flatten()
        .filter_map(|it| std::fs::read_link(it.path()).ok());
    // `anon_inode:[pidfd]`, and `pidfd:[INODE]` since Linux 6.9.
    links
        .filter(|link| link.to_string_lossy().contains("pidfd"))
        .count()
}

#[test]
fn of_an_empty_place_no_process_is_told_or_held() {
    let service = Start::serving(&server()).start();
    let one = pidfds(&service);
    assert!(one >= 1, "the worker's");
    service.handover("scale", &["4"]).says(0, &[]);
    assert_eq!(pidfds(&service), one + 3);
    service.handover("scale", &["1"]).says(0, &[]);
    eventually("the descriptors of those that are gone are closed", || {
        (pidfds(&service) == one).then_some(())
    });
    let status = service.status();
    let workers = status["generations"][0]["workers"].as_array().cloned();
    assert_eq!(workers.map(|all| all.len()), Some(1), "{status:#}");
    let page = service.handover("status", &[]).stdout;
    for gone in ["1.1", "1.2", "1.3"] {
        assert!(!page.contains(gone), "{page}");
    }
    service.stop();
}

#[test]
fn the_number_stays_over_upgrades_until_the_config_changes() {
    let start = Start::config("[app]\ncommand = [\"false\"]\n");
    let file = start.path("web.toml");
    let config = |workers: u32| {
        let command: Vec<String> = server().iter().map(|word| format!("{word:?}")).collect();
        let text = format!(
            "[app]\ncommand = [{}]\nworkers = {workers}\n[[listen]]\naddress = \"127.0.0.1:0\"\n",
            command.join(", ")
        );
        std::fs::write(&file, text).expect("a config file");
    };
    config(2);
    let service = start.start();
    service.handover("scale", &["4"]).says(0, &[]);
    let scaled = service.status()["scaled"].to_string();
    assert!(
        scaled.contains("scaled to 4, asked by ") && scaled.contains("app.workers = 2"),
        "{scaled}"
    );
    service.handover("upgrade", &[]).says(0, &[]);
    assert_eq!(service.workers(2).len(), 4);
    config(3);
    service.handover("upgrade", &[]).says(0, &[]);
    assert_eq!(service.workers(3).len(), 3);
    assert!(service.status()["scaled"].is_null());
    service.stop();
}

#[test]
fn ttin_and_ttou_are_one_more_and_one_fewer() {
    let service = Start::serving(&server()).start();
    service.signal(Signal::SIGTTIN);
    has(&service, 1, 2);
    service.wait_event("generation_scaled");
    service.signal(Signal::SIGTTIN);
    has(&service, 1, 3);
    service.signal(Signal::SIGTTOU);
    has(&service, 1, 2);
    for _ in 0..4 {
        service.signal(Signal::SIGTTOU);
        // Signals of one kind that arrive together count once.
        service.status();
    }
    has(&service, 1, 1);
    service.stop();
}

#[test]
fn an_added_worker_that_fails_leaves_as_many_as_before() {
    let code = "if os.environ['HANDOVER_WORKER'] == '2': sys.exit('no room for a third')\nserve()";
    let service = Start::serving(&python_code(code))
        .flag("--workers", "2")
        .start();
    let load = Load::on(&service.address());
    service
        .handover("scale", &["4"])
        .says(1, &["no room for a third", "taken back"]);
    has(&service, 1, 2);
    assert!(service.status()["scaled"].is_null());
    load.lost_nothing([1]);
    service.stop();
}

#[test]
fn nothing_and_far_too_many_are_refused_with_words() {
    let service = Start::serving(&server()).start();
    service
        .handover("scale", &["0"])
        .says(2, &["serves nobody", "handover stop"]);
    service.handover("scale", &["1000000"]).says(2, &["10000"]);
    service.handover("scale", &[]).says(2, &["N"]);
    let answer = service.ask("POST", "/v1/scale", "{\"workers\": 0}");
    assert_eq!(answer.expect("an answer").status, 400);
    assert_eq!(service.workers(1).len(), 1);
    service.stop();
}
