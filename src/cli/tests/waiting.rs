//! Verbs that begin an operation and wait for its end.

use nix::sys::signal::{Signal, raise};

use super::*;

fn ready(worker: &str) -> Event {
    Event::WorkerReady {
        worker: worker.to_owned(),
        generation: 8,
        pid: 812,
        ready_ms: 112,
        ready_by: "READY=1".to_owned(),
    }
}

fn succeed(operation: &mut OperationView) {
    operation.to = Some(8);
    operation.workers = Some(1);
    operation.ready_ms = Some(112);
    operation.drain_timeout_ms = Some(20_000);
    operation.end(OperationResult::Done, None);
}

#[tokio::test]
async fn an_upgrade_shows_its_steps_and_its_result() {
    let place = place();
    let mut master = Pretender::start(place.path(), no_answer);
    let work = async {
        master.is_awaited().await;
        let (label, operation) = (None, Some("up_8".to_owned()));
        master.events.push(&Event::GenerationStarted {
            generation: 8,
            label,
            workers: 1,
            operation,
        });
        master.events.push(&ready("8.0"));
        master.change(succeed);
        master.events.push(&Event::OperationEnded {
            operation: "up_8".to_owned(),
            operation_kind: OperationKind::Upgrade,
            result: OperationResult::Done,
            reason: None,
            duration_ms: 120,
        });
    };
    let (done, ()) = tokio::join!(handover("upgrade", place.path()), work);
    assert_eq!(done.code, 0, "{done:?}");
    assert_eq!(
        done.out,
        "web: generation 8 is active (1 worker, ready in 112 ms); generation 7 drains, 20 s at \
         most\n"
    );
    assert_eq!(
        done.err,
        "web: generation 8 starts, 1 worker\nweb: worker 8.0 is ready after 112 ms by READY=1\n"
    );
}

#[tokio::test]
async fn a_failed_upgrade_is_1_with_the_last_lines() {
    let place = place();
    let mut master = Pretender::start(place.path(), no_answer);
    let work = async {
        master.is_awaited().await;
        master.change(|operation| {
            operation.failed_worker = Some("8.0".to_owned());
            operation.log_tail = vec!["Traceback".to_owned(), "ImportError".to_owned()];
            let reason = "worker 8.0 ended with exit code 1".to_owned();
            operation.end(OperationResult::Failed, Some(reason));
        });
    };
    let (done, ()) = tokio::join!(handover("upgrade", place.path()), work);
    assert_eq!((done.code, done.out.as_str()), (1, ""));
    assert_eq!(
        done.err,
        "web: upgrade failed: worker 8.0 ended with exit code 1\nworker 8.0 said last:\n    \
         Traceback\n    ImportError\ngeneration 7 serves as before\n"
    );
}

#[tokio::test]
async fn each_result_has_its_exit_code() {
    for (result, code) in [
        (OperationResult::Done, 0),
        (OperationResult::Aborted, 1),
        (OperationResult::Refused, 1),
        (OperationResult::Superseded, 3),
        (OperationResult::Incomplete, 6),
    ] {
        let place = place();
        let master = Pretender::start(place.path(), no_answer);
        master.change(|operation| operation.end(result, None));
        let done = handover("upgrade --json", place.path()).await;
        assert_eq!(done.code, code, "{done:?}");
        let operation: OperationView = serde_json::from_str(&done.out).expect("one JSON value");
        assert_eq!(operation.result, Some(result));
    }
}

#[tokio::test]
async fn a_refusal_and_a_config_fault_are_told() {
    for (error, code, text) in [
        (
            ApiError::refused("promote or abort first"),
            1,
            "error: promote or abort first\n",
        ),
        (
            ApiError::config("web.toml:3:1: no").hint("write x"),
            2,
            "error: web.toml:3:1: no\n hint: write x\n",
        ),
    ] {
        let place = place();
        let master = Pretender::start(place.path(), move |_| error.clone().into());
        master.progress.lock().expect("whole").take();
        let done = handover("upgrade", place.path()).await;
        assert_eq!((done.code, done.err.as_str()), (code, text));
    }
}

#[tokio::test]
async fn drained_waits_for_the_old_generation() {
    let place = place();
    let mut master = Pretender::start(place.path(), no_answer);
    master.change(succeed);
    let work = async {
        master.is_awaited().await;
        master.change(|operation| operation.drained = true);
    };
    let (done, ()) = tokio::join!(handover("upgrade --drained", place.path()), work);
    assert_eq!(done.code, 0);
    assert!(
        done.out.ends_with("; generation 7 is drained\n"),
        "{}",
        done.out
    );
}

#[tokio::test]
async fn waiting_ends_at_the_timeout_and_the_operation_goes_on() {
    let place = place();
    let master = Pretender::start(place.path(), no_answer);
    let done = handover("upgrade --timeout 50ms", place.path()).await;
    assert_eq!(done.code, 5);
    assert_eq!(
        done.err,
        format!(
            "error: web: upgrade up_8 did not end within 50 ms and goes on\n hint: to undo it: \
             handover abort web --runtime-dir {0}; to see how it goes: handover status web --runtime-dir {0}\n",
            place.path().display()
        )
    );
    master.change(|operation| assert!(!operation.is_ended()));
}

#[tokio::test]
async fn ctrl_c_ends_the_waiting_and_not_the_operation() {
    let place = place();
    let mut master = Pretender::start(place.path(), no_answer);
    let work = async {
        master.is_awaited().await;
        // To this very thread, which is the one that blocks and reads it.
        raise(Signal::SIGINT).expect("raised");
    };
    let (done, ()) = tokio::join!(handover("upgrade", place.path()), work);
    assert_eq!(done.code, 130);
    let where_it_is = format!("--runtime-dir {}", place.path().display());
    assert_eq!(
        done.err,
        format!(
            "error: web: interrupted; upgrade up_8 goes on\n hint: to undo it: handover abort web {where_it_is}; \
             to see how it goes: handover status web {where_it_is}\n"
        )
    );
}

#[tokio::test]
async fn f34_for_systemd_a_master_that_went_away_is_a_failure_at_once() {
    let place = place();
    let mut master = Pretender::start(place.path(), no_answer);
    let work = async {
        master.is_awaited().await;
        master.die().await
    };
    let (done, _directory) = tokio::join!(handover("upgrade --systemd", place.path()), work);
    assert_eq!(done.code, 1);
    assert_eq!(
        done.err,
        "error: web: the master went away during upgrade up_8\n hint: systemd starts the next one, \
         which goes on from there\n"
    );
}

#[tokio::test]
async fn f34_the_next_master_answers_for_the_one_that_went_away() {
    let place = place();
    let mut master = Pretender::start(&place.path().join("web"), no_answer);
    let work = async {
        master.is_awaited().await;
        drop(master.die().await);
        // Another service's master is no help.
        let other = Pretender::start(&place.path().join("other"), no_answer);
        let next = Pretender::start(&place.path().join("web"), no_answer);
        next.change(succeed);
        (other, next)
    };
    let (done, _next) = tokio::join!(handover("upgrade", place.path()), work);
    assert_eq!(done.code, 0, "{done:?}");
    assert!(
        done.err.contains("; looking for the next one\n"),
        "{}",
        done.err
    );
}

#[tokio::test]
async fn f34_a_master_that_does_not_know_the_operation_says_so() {
    let place = place();
    let mut master = Pretender::start(place.path(), no_answer);
    let work = async {
        master.is_awaited().await;
        drop(master.die().await);
        let next = Pretender::start(place.path(), no_answer);
        next.progress.lock().expect("whole").take();
        next
    };
    let (done, _next) = tokio::join!(handover("upgrade", place.path()), work);
    assert_eq!(done.code, 6, "{done:?}");
    let text = "error: web: the master that runs now does not know upgrade up_8";
    assert!(done.err.contains(text), "{}", done.err);
}

#[tokio::test]
async fn a_master_that_never_comes_back_is_4() {
    let place = place();
    let mut master = Pretender::start(place.path(), no_answer);
    let work = async {
        master.is_awaited().await;
        master.die().await
    };
    let line = "upgrade --timeout 500ms";
    let (done, _directory) = tokio::join!(handover(line, place.path()), work);
    assert_eq!(done.code, 4, "{done:?}");
}

/// The master's process, which lives on for a moment after it said that it stops.
fn process_of(place: &Path) -> std::process::Child {
    let mut sleep = std::process::Command::new("sleep");
    let child = sleep.arg("1").spawn().expect("sleep runs");
    let lock = place.join(crate::control::paths::LOCK);
    std::fs::write(lock, format!("{} web\n", child.id())).expect("the lock");
    child
}

#[tokio::test]
async fn a_stop_is_done_when_the_process_of_the_master_is_gone() {
    for polite in [true, false] {
        let place = place();
        let mut master = Pretender::start(place.path(), no_answer);
        master.change(|operation| operation.kind = OperationKind::Stop);
        let mut process = process_of(place.path());
        let work = async {
            master.is_awaited().await;
            if polite {
                master.change(|operation| operation.end(OperationResult::Done, None));
                master.events.close();
                let _ = (&mut master.server).await;
                master.directory
            } else {
                master.die().await
            }
        };
        let (done, _directory) = tokio::join!(handover("stop", place.path()), work);
        assert_eq!(
            (done.code, done.out.as_str()),
            (0, "web: stopped\n"),
            "{done:?}"
        );
        let ended = process.try_wait().expect("our own child");
        assert!(ended.is_some(), "it still runs; polite: {polite}");
    }
}
