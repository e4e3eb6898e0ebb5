//! Commands that leave their process group: whoever ends the group ends them all the same.

use std::path::{Path, PathBuf};

use crate::support::{Service, Start, eventually, python, server};

/// Goes over to its parent's process group, notes its number, and stays for as long as it is let.
const STRAY: &str = "import os, sys, time\n\
    os.setpgid(0, os.getpgid(os.getppid()))\n\
    open(sys.argv[1], 'a').write(f'{os.getpid()} {os.getpgid(0)}\\n')\n\
    time.sleep(600)\n";

/// Where strays note their numbers.
struct Noted(PathBuf);

impl Noted {
    fn pids(&self) -> Vec<u32> {
        let text = std::fs::read_to_string(&self.0).unwrap_or_default();
        let mut pids = Vec::new();
        for line in text.lines() {
            let (pid, group) = line.split_once(' ').expect("two numbers");
            assert_ne!(pid, group, "it left its group");
            pids.push(pid.parse().expect("a number"));
        }
        pids
    }

    #[track_caller]
    fn wait_for(&self, count: usize) {
        eventually(&format!("{count} strays run"), || {
            (self.pids().len() >= count).then_some(())
        });
    }

    #[track_caller]
    fn all_gone(&self) {
        eventually("no stray is left", || {
            let lives = |pid: &u32| Path::new("/proc").join(pid.to_string()).exists();
            (!self.pids().iter().any(lives)).then_some(())
        });
    }
}

fn hooked() -> (Service, Noted) {
    let start = Start::config("[app]\ncommand = [\"false\"]\n");
    let noted = Noted(start.path("noted"));
    let list = |words: &[String]| {
        let quoted: Vec<String> = words.iter().map(|word| format!("{word:?}")).collect();
        quoted.join(", ")
    };
    let file = noted.0.display().to_string();
    let hook = [python(), "-c", STRAY, &file].map(str::to_owned);
    let text = format!(
        "[app]\ncommand = [{}]\n[[listen]]\naddress = \"127.0.0.1:0\"\n[hooks]\npre_upgrade = [{}]\n",
        list(&server()),
        list(&hook)
    );
    std::fs::write(start.path("web.toml"), text).expect("a config file");
    (start.start(), noted)
}

#[test]
fn a_hook_that_left_its_group_is_killed_when_nobody_waits_for_it() {
    let (service, noted) = hooked();
    std::thread::scope(|scope| {
        let upgrade = scope.spawn(|| service.handover("upgrade", &[]));
        noted.wait_for(1);
        service.handover("abort", &[]).says(0, &[]);
        upgrade.join().expect("no panic").says(1, &["aborted"]);
    });
    noted.all_gone();
    service.stop();
}

#[test]
fn a_hook_that_left_its_group_is_killed_when_its_time_is_over() {
    let (service, noted) = hooked();
    service
        .handover("upgrade", &[])
        .says(1, &["hook pre_upgrade was not done within 30 s"]);
    assert_eq!(noted.pids().len(), 1);
    noted.all_gone();
    assert_eq!(service.generation(), 1);
    service.stop();
}

#[test]
fn a_check_that_left_its_group_is_killed_when_its_time_is_over() {
    let start = Start::bare(&[]);
    let noted = Noted(start.path("noted"));
    let (script, wish) = (start.path("check.py"), start.path("stray"));
    let text = format!(
        "import os, sys\nif not os.path.exists({wish:?}): sys.exit(0)\n{STRAY}",
        wish = wish.display().to_string()
    );
    std::fs::write(&script, text).expect("a script");
    let check = format!(
        "exec:{} {} {}",
        python(),
        script.display(),
        noted.0.display()
    );
    let service = Start::serving(&server())
        .env("HANDOVER_HEALTH__CHECK", &check)
        .env("HANDOVER_HEALTH__INTERVAL", "100ms")
        .env("HANDOVER_HEALTH__TIMEOUT", "1s")
        .env("HANDOVER_HEALTH__FAILURES", "100")
        .start();
    std::fs::write(&wish, "").expect("a file");
    noted.wait_for(2);
    std::fs::remove_file(&wish).expect("the file");
    let event = service.wait_event("health_failed");
    assert!(
        event["reason"].to_string().contains("not done within 1 s"),
        "{event}"
    );
    noted.all_gone();
    service.wait_event("health_recovered");
    service.stop();
}
