//! More connections than there are places, and no descriptors at all.

use std::process::Command;

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use rustix::time::{ClockId, clock_gettime};

use super::*;

#[tokio::test]
async fn who_finds_no_place_is_told_to_come_back() {
    let limits = Limits {
        connections: 1,
        ..Limits::default()
    };
    let harness = Harness::start(limits, echo);
    let mut holder = UnixStream::connect(harness.socket())
        .await
        .expect("connected");
    holder
        .write_all(b"GET /v1/events HTTP/1.1\r\nhost: x\r\n\r\n")
        .await
        .expect("sent");
    let mut some = [0; 16];
    holder
        .read_exact(&mut some)
        .await
        .expect("it has the place");
    let answer = harness.ask("GET /v1/status").await;
    assert_eq!(
        (status(&answer), &json(&answer)["error"]["kind"]),
        (503, &"busy".into())
    );
    assert!(answer.contains("retry-after: 1\r\n"));
    // The client of the command line comes back by itself.
    let client = harness.client();
    let retried = tokio::spawn(async move { client.get_raw("/metrics", None).await });
    drop(holder);
    timeout(BOUND, retried)
        .await
        .expect("bounded")
        .expect("ran")
        .expect("answered");
}

#[tokio::test]
async fn who_asks_nothing_makes_room_for_who_does() {
    let limits = Limits {
        connections: 1,
        ..Limits::default()
    };
    let harness = Harness::start(limits, echo);
    let mut silent = UnixStream::connect(harness.socket())
        .await
        .expect("connected");
    let answer = harness.ask("GET /v1/status").await;
    assert_eq!(status(&answer), 200);
    let rest = timeout(BOUND, read_all(&mut silent)).await.expect("ended");
    assert_eq!(rest, "", "it was closed");
}

#[tokio::test]
async fn ten_thousand_connections_leave_the_server_answering() {
    let all = getrlimit(Resource::Nofile).maximum;
    let wanted = Rlimit {
        current: all,
        maximum: all,
    };
    setrlimit(Resource::Nofile, wanted).expect("up to the maximum");
    // Fewer where the machine allows no more.
    let many = all.map_or(10_000, |all| 10_000.min(all.saturating_sub(2000)));
    let limits = Limits {
        head_timeout: Duration::from_secs(2),
        ..Limits::default()
    };
    let harness = Harness::start(limits.clone(), echo);
    let mut held = Vec::new();
    for _ in 0..many {
        held.push(connect(&harness.socket()).await);
    }
    // Every one ends: those with a place by the timeout of their head, the
    // others at once.
    let mut told = 0;
    for mut stream in held {
        let answer = timeout(BOUND, read_all(&mut stream)).await.expect("ended");
        told += usize::from(status(&answer) == 503);
    }
    assert_eq!(told, 0, "none of them asked anything");
    let reply = harness
        .client()
        .get_raw("/v1/status", Some(BOUND))
        .await
        .expect("answered");
    assert_eq!(reply.body, "\"Status\"\n");
}

/// Connects, and waits where the queue is full.
async fn connect(socket: &Path) -> UnixStream {
    loop {
        match UnixStream::connect(socket).await {
            Ok(stream) => return stream,
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                tokio::task::yield_now().await;
            }
            Err(error) => panic!("{error}"),
        }
    }
}

/// Set in the process in which descriptors run out: other tests need theirs.
const ALONE: &str = "HANDOVER_TEST_WITHOUT_DESCRIPTORS";

#[test]
fn without_descriptors_the_server_pauses_and_recovers() {
    if std::env::var_os(ALONE).is_some() {
        return tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .expect("a runtime")
            .block_on(run_out_of_descriptors());
    }
    let name = "control::server::tests::flood::without_descriptors_the_server_pauses_and_recovers";
    let output = Command::new(std::env::current_exe().expect("this test"))
        .args(["--exact", name, "--nocapture"])
        .env(ALONE, "1")
        .output()
        .expect("it runs");
    let said = String::from_utf8_lossy(&output.stdout);
    assert!(
        output.status.success() && said.contains("1 passed"),
        "{output:?}"
    );
}

#[test]
fn where_descriptors_are_few_one_caller_is_answered_and_a_second_is_told_of_the_limit() {
    if std::env::var_os(ALONE).is_some() {
        return tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .expect("a runtime")
            .block_on(few_descriptors());
    }
    let name = "control::server::tests::flood::\
                where_descriptors_are_few_one_caller_is_answered_and_a_second_is_told_of_the_limit";
    let output = Command::new(std::env::current_exe().expect("this test"))
        .args(["--exact", name, "--nocapture"])
        .env(ALONE, "1")
        .output()
        .expect("it runs");
    let said = String::from_utf8_lossy(&output.stdout);
    assert!(
        output.status.success() && said.contains("1 passed"),
        "{output:?}"
    );
}

fn number(file: &std::fs::File) -> usize {
    let number = std::os::fd::AsRawFd::as_raw_fd(file);
    usize::try_from(number).expect("not negative")
}

async fn few_descriptors() {
    let harness = Harness::start(Limits::default(), echo);
    let (limit, taken) = (512, 480);
    let few = Rlimit {
        current: Some(limit),
        maximum: getrlimit(Resource::Nofile).maximum,
    };
    setrlimit(Resource::Nofile, few).expect("lowered");
    // Enough are left for what follows, and fewer than are kept for the rest of a master.
    let mut held = Vec::new();
    while held.len() < taken && held.last().is_none_or(|file| number(file) < taken) {
        held.push(std::fs::File::open("/dev/null").expect("open"));
    }
    let answer = harness.ask("GET /v1/status").await;
    assert_eq!(status(&answer), 200, "{answer}");
    let mut holder = UnixStream::connect(harness.socket())
        .await
        .expect("connected");
    holder
        .write_all(b"GET /v1/events HTTP/1.1\r\nhost: x\r\n\r\n")
        .await
        .expect("sent");
    let mut some = [0; 16];
    holder.read_exact(&mut some).await.expect("it is answered");
    let answer = harness.ask("GET /v1/status").await;
    let error = &json(&answer)["error"];
    assert_eq!((status(&answer), &error["kind"]), (503, &"busy".into()));
    let told = format!("{} {}", error["message"], error["hint"]);
    for part in [
        &format!("of the {limit} that"),
        "RLIMIT_NOFILE",
        "LimitNOFILE=",
    ] {
        assert!(told.contains(part), "{part:?} is not in {told}");
    }
}

async fn run_out_of_descriptors() {
    let limits = Limits {
        pause: Duration::from_millis(20),
        ..Limits::default()
    };
    let harness = Harness::start(limits, echo);
    // The runtime's own are open now; the client's socket is the last.
    let client = tokio::net::UnixSocket::new_stream().expect("a socket");
    let next = u64::from(std::os::fd::AsRawFd::as_raw_fd(&client).unsigned_abs()) + 1;
    let maximum = getrlimit(Resource::Nofile).maximum;
    let none_left = Rlimit {
        current: Some(next),
        maximum,
    };
    setrlimit(Resource::Nofile, none_left).expect("lowered");
    let mut follower = harness.events.subscribe(0);
    let mut stream = client
        .connect(harness.socket())
        .await
        .expect("the kernel takes it");
    let warned = timeout(BOUND, follower.next())
        .await
        .expect("bounded")
        .expect("told");
    let told = String::from_utf8_lossy(&warned.events[0].json).into_owned();
    assert!(told.contains("cannot accept a connection"), "{told}");
    let before = clock_gettime(ClockId::ProcessCPUTime);
    tokio::time::sleep(Duration::from_millis(400)).await;
    let after = clock_gettime(ClockId::ProcessCPUTime);
    let spent = Duration::try_from(after).expect("positive")
        - Duration::try_from(before).expect("positive");
    assert!(
        spent < Duration::from_millis(100),
        "it spins: {spent:?} of 400 ms"
    );
    assert_eq!(harness.events.last(), 1, "it says so once");
    let back = Rlimit {
        current: maximum,
        maximum,
    };
    setrlimit(Resource::Nofile, back).expect("raised");
    let request = "GET /v1/status HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n";
    stream.write_all(request.as_bytes()).await.expect("sent");
    let answer = timeout(BOUND, read_all(&mut stream))
        .await
        .expect("accepted at last");
    assert_eq!(status(&answer), 200, "{answer}");
}
