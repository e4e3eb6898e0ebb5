//! What workers leave behind: children, orphans, and who ends them when.

use std::io::Read;
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;
use std::time::{Duration, Instant};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use serde_json::Value;

use crate::support::{Service, Start, eventually, python_code};

/// Writes its PID to a file and sleeps, deaf to TERM. `before` runs in the child first.
pub fn with_child(before: &str, environment: &str, file: &Path) -> Vec<String> {
    python_code(&format!(
        "if not os.path.exists({file:?}) and os.fork() == 0:\n\
         \x20   {before}\n\
         \x20   signal.signal(signal.SIGTERM, signal.SIG_IGN)\n\
         \x20   with open({file:?} + '.new', 'w') as f: f.write(str(os.getpid()))\n\
         \x20   os.rename({file:?} + '.new', {file:?})\n\
         \x20   os.execve('/bin/sleep', ['sleep', '600'], {environment})\n\
         serve()",
        file = file.display().to_string()
    ))
}

/// The child that a worker started, ended with the test however that ends.
pub struct Left(i32);

impl Left {
    #[track_caller]
    pub fn of(file: &Path) -> Self {
        eventually("the child tells its PID", || {
            std::fs::read_to_string(file).ok()?.parse().ok().map(Self)
        })
    }

    pub fn pid(&self) -> i32 {
        self.0
    }

    pub fn lives(&self) -> bool {
        let stat = std::fs::read_to_string(format!("/proc/{}/stat", self.0));
        stat.is_ok_and(|stat| stat.contains("(sleep)") && !stat.contains(") Z "))
    }
}

impl Drop for Left {
    fn drop(&mut self) {
        if self.lives() {
            let _ = kill(Pid::from_raw(self.0), Signal::SIGKILL);
        }
    }
}

#[track_caller]
pub fn warned(service: &Service, part: &str) -> String {
    eventually(&format!("a warning says {part:?}"), || {
        let events = service.events();
        let mut events = events
            .lines()
            .filter_map(|line| serde_json::from_str::<Value>(line).ok());
        events.find_map(|event| {
            let message = event["message"].as_str()?;
            message.contains(part).then(|| message.to_owned())
        })
    })
}

#[test]
fn f22_what_left_its_group_is_found_by_its_nonce_ended_and_reported() {
    let start = Start::bare(&[]);
    let file = start.path("child");
    let program = with_child("os.setsid()", "dict(os.environ)", &file);
    let service = Start::serving(&program).start();
    let child = Left::of(&file);
    service.handover("upgrade", &["--drained"]).says(0, &[]);
    let told = warned(&service, "had left its process group: killed");
    assert!(
        told.contains(&child.0.to_string()) && told.contains("generation 1"),
        "{told}"
    );
    eventually("it is gone", || (!child.lives()).then_some(()));
    service.handover("upgrade", &["--drained"]).says(0, &[]);
    let events = service.events();
    assert!(!events.contains("was left behind"), "told once: {events}");
    service.stop();
}

/// The end of a pipe whose other end is held by processes that a worker of generation 1 started: each leaves its group and
/// goes on in a child again and again, until this is dropped.
struct Chains {
    held: std::fs::File,
    switch: std::path::PathBuf,
}

impl Chains {
    const COUNT: usize = 3;

    fn prepare(start: &Start) -> (Self, Vec<String>) {
        let (pipe, switch) = (start.path("pipe"), start.path("on"));
        nix::unistd::mkfifo(&pipe, nix::sys::stat::Mode::S_IRWXU).expect("a FIFO");
        std::fs::write(&switch, "").expect("a file");
        let mut options = std::fs::File::options();
        options.read(true).custom_flags(nix::libc::O_NONBLOCK);
        let held = options.open(&pipe).expect("the FIFO");
        let program = python_code(&format!(
            "import time\n\
             for _ in range({count} if os.environ['HANDOVER_GENERATION'] == '1' else 0):\n\
             \x20   if os.fork() == 0:\n\
             \x20       os.setsid()\n\
             \x20       os.write(os.open({pipe:?}, os.O_WRONLY), b'x')\n\
             \x20       while os.path.exists({switch:?}):\n\
             \x20           if os.fork(): os._exit(0)\n\
             \x20           time.sleep(0.01)\n\
             \x20       os._exit(0)\n\
             serve()",
            count = Self::COUNT,
            pipe = pipe.display().to_string(),
            switch = switch.display().to_string(),
        ));
        (Self { held, switch }, program)
    }

    #[track_caller]
    fn wait_until_all_run(&mut self) {
        let mut seen = 0;
        eventually("all chains run", || {
            seen += self.held.read(&mut [0; 16]).unwrap_or(0);
            (seen == Self::COUNT).then_some(())
        });
    }

    #[track_caller]
    fn wait_until_all_ended(&mut self) {
        eventually("no chain goes on", || {
            let ended = self.held.read(&mut [0; 16]).is_ok_and(|length| length == 0);
            ended.then_some(())
        });
    }
}

impl Drop for Chains {
    fn drop(&mut self) {
        let _ = std::fs::remove_file(&self.switch);
    }
}

#[test]
fn f3_what_goes_on_in_its_children_ends_with_its_generation() {
    let start = Start::bare(&[]);
    let (mut chains, program) = Chains::prepare(&start);
    let service = Start::serving(&program).start();
    chains.wait_until_all_run();
    service.handover("upgrade", &["--drained"]).says(0, &[]);
    warned(&service, "had left its process group: killed");
    chains.wait_until_all_ended();
    service.handover("upgrade", &["--drained"]).says(0, &[]);
    let events = service.events();
    assert!(!events.contains("was left behind"), "{events}");
    service.stop();
}

#[test]
fn f3_what_goes_on_in_its_children_ends_with_the_service() {
    let start = Start::bare(&[]);
    let (mut chains, program) = Chains::prepare(&start);
    let service = Start::serving(&program).start();
    chains.wait_until_all_run();
    service.stop();
    assert_eq!(
        chains.held.read(&mut [0; 16]).ok(),
        Some(0),
        "nobody is left"
    );
}

#[test]
fn f22_what_gave_up_group_and_environment_is_named_and_left_alone() {
    let start = Start::bare(&[]);
    let file = start.path("child");
    let service = Start::serving(&with_child("os.setsid()", "{}", &file)).start();
    let child = Left::of(&file);
    service.handover("upgrade", &["--drained"]).says(0, &[]);
    let told = warned(&service, "was left behind by a worker, a hook or a check");
    assert!(
        told.contains(&format!("process {} (sleep)", child.0)),
        "{told}"
    );
    assert!(child.lives(), "it may be anybody's: left alone");
    service.handover("upgrade", &["--drained"]).says(0, &[]);
    let times = service.events().matches("was left behind").count();
    assert_eq!(times, 1, "told once");
    service.stop();
    assert!(child.lives());
}

#[test]
fn the_group_of_a_crashed_worker_has_kill_after_to_end() {
    let start = Start::bare(&[]);
    let file = start.path("child");
    let program = with_child("pass", "dict(os.environ)", &file);
    let quoted: Vec<String> = program.iter().map(|word| format!("{word:?}")).collect();
    let service = Start::config(&format!(
        "[app]\ncommand = [{}]\n[drain]\nkill_after = \"1s\"\n\
         [[listen]]\naddress = \"127.0.0.1:0\"\n",
        quoted.join(", ")
    ))
    .start();
    let child = Left::of(&file);
    let [worker] = service.workers(1)[..] else {
        panic!("one worker: {}", service.status())
    };
    let crashed = Instant::now();
    kill(Pid::from_raw(worker), Signal::SIGKILL).expect("the worker");
    eventually("it is replaced at once", || {
        let now = service.workers(1);
        (now.len() == 1 && now != [worker]).then_some(())
    });
    eventually("its deaf child is killed", || {
        (!child.lives()).then_some(())
    });
    assert!(
        crashed.elapsed() >= Duration::from_secs(1),
        "not before drain.kill_after"
    );
    service.stop();
}

#[test]
fn who_lost_its_parents_stands_in_a_list_that_workers_are_not_in() {
    let start = Start::bare(&[]);
    let file = start.path("child");
    let service = Start::serving(&with_child("os.setsid()", "{}", &file)).start();
    let child = Left::of(&file);
    let given = || {
        let list = format!("/proc/{0}/task/{0}/children", service.pid());
        std::fs::read_to_string(list).expect("it lives")
    };
    assert_eq!(service.workers(1).len(), 1);
    assert_eq!(given(), "", "what makes a look for leftovers cheap");
    service.handover("upgrade", &["--drained"]).says(0, &[]);
    assert_eq!(given().trim(), child.pid().to_string());
    service.stop();
}
