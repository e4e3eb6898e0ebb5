//! Any bytes, and any valid config.

use std::collections::BTreeMap;
use std::fs;
use std::num::NonZeroU32;
use std::path::Path;
use std::time::Duration;

use proptest::collection::{btree_map, vec};
use proptest::option;
use proptest::prelude::*;

use super::loaded;
use crate::config::{
    Address, App, Config, Drain, InheritEnv, Limits, Listen, Probe, ReadyOn, Restart, Signal,
    Stream, UNLIMITED, Workers, changed, fuzz, keys, to_toml,
};

fn corpus() -> Vec<Vec<u8>> {
    let dir = Path::new(env!("CARGO_MANIFEST_DIR")).join("fuzz-corpus/config");
    let mut paths: Vec<_> = fs::read_dir(&dir)
        .expect("a corpus")
        .map(|entry| entry.expect("an entry").path())
        .collect();
    paths.sort();
    paths
        .iter()
        .map(|path| fs::read(path).expect("a file"))
        .collect()
}

#[test]
fn the_corpus_panics_nowhere() {
    let corpus = corpus();
    assert!(corpus.len() >= 12);
    corpus.iter().for_each(|bytes| fuzz(bytes));
}

/// Text without NUL, and without braces that would be templates.
fn free_text() -> impl Strategy<Value = String> {
    "[^\\x00{}]{0,12}"
}

fn duration(min_ms: u64) -> impl Strategy<Value = Duration> {
    prop_oneof![
        min_ms..5_000,
        (min_ms / 1000 + 1..100_000).prop_map(|s| s * 1000)
    ]
    .prop_map(Duration::from_millis)
}

fn limit() -> impl Strategy<Value = Option<u64>> {
    option::of(prop_oneof![
        any::<u64>(),
        Just(UNLIMITED),
        (0u64..4096).prop_map(|m| m << 20)
    ])
}

fn app() -> impl Strategy<Value = App> {
    let env = btree_map("[A-Z_][A-Z0-9_]{0,6}X", free_text(), 0..4);
    let workers = prop_oneof![
        Just(Workers::Auto),
        (1u32..=10_000).prop_map(|n| Workers::Count(NonZeroU32::new(n).expect("positive")))
    ];
    let inherit = prop_oneof![
        Just(InheritEnv::All),
        Just(InheritEnv::Nothing),
        vec("[A-Z_]{1,5}\\*?", 0..3).prop_map(InheritEnv::Only)
    ];
    let command = ("[^\\x00{}]{1,12}", vec(free_text(), 0..4)).prop_map(|(program, mut rest)| {
        rest.insert(0, program);
        rest
    });
    let paths = (
        option::of("/[^\\x00]{0,12}"),
        option::of("/[^\\x00]{0,12}"),
        option::of("[a-z0-9]{1,8}"),
    );
    (
        command,
        workers,
        env,
        inherit,
        paths,
        option::of(duration(1)),
        option::of(0u32..=0o777),
        any::<bool>(),
    )
        .prop_map(
            |(
                command,
                workers,
                env,
                inherit_env,
                (directory, env_file, user),
                watchdog,
                umask,
                no_new_privs,
            )| App {
                command,
                workers,
                directory: directory.map(Into::into),
                user,
                group: None,
                env: env
                    .into_iter()
                    .filter(|(name, _)| !name.starts_with("LISTEN_"))
                    .collect::<BTreeMap<_, _>>(),
                env_file: env_file.map(Into::into),
                inherit_env,
                watchdog,
                umask,
                no_new_privs,
            },
        )
}

fn listener(index: usize) -> impl Strategy<Value = Listen> {
    let options = (
        1u32..100_000,
        any::<bool>(),
        any::<bool>(),
        option::of(any::<bool>()),
        any::<bool>(),
    );
    let more = (
        option::of(1u64..100_000),
        option::of(2048u32..=1 << 30),
        option::of(1u32..=65_535),
        option::of(any::<u32>()),
    );
    (0..3, options, more).prop_map(
        move |(kind, (backlog, nonblocking, ready, only_v6, nodelay), more)| {
            let address = match kind {
                0 => format!(":{}", 1000 + index),
                1 => format!("[::1]:{}", 1000 + index),
                _ => format!("unix:/run/{index} \"é\".sock"),
            };
            let address: Address = address.parse().expect("valid");
            let tcp = kind != 2;
            Listen {
                backlog,
                nonblocking,
                ready,
                only_v6: only_v6.filter(|_| tcp),
                nodelay: nodelay && tcp,
                keepalive: more.0.map(Duration::from_secs).filter(|_| tcp),
                receive_buffer: more.1,
                fastopen: more.2.filter(|_| tcp),
                mark: more.3,
                mode: Some(0o640).filter(|_| !tcp),
                ..Listen::new(format!("l{index}"), address)
            }
        },
    )
}

fn ready_on() -> impl Strategy<Value = ReadyOn> {
    prop_oneof![
        Just(ReadyOn::Auto),
        Just(ReadyOn::Notify),
        (
            "[a-z :\"\\^]{1,9}",
            prop_oneof![Just(Stream::Both), Just(Stream::Stderr)]
        )
            .prop_map(|(regex, stream)| ReadyOn::Output { stream, regex }),
        (1u64..20_000).prop_map(|ms| ReadyOn::Uptime(Duration::from_millis(ms))),
        probe().prop_map(ReadyOn::Probe),
    ]
}

fn probe() -> impl Strategy<Value = Probe> {
    let words = ("[a-z'\" \\\\é]{1,6}", vec("[a-z'\" \\\\é]{0,6}", 0..3));
    let exec = words.prop_map(|(program, mut rest)| {
        rest.insert(0, program);
        Probe::Exec(rest)
    });
    prop_oneof!["/[a-z?=%0-9.]{0,12}".prop_map(Probe::Http), exec]
}

fn config() -> impl Strategy<Value = Config> {
    let listen = (listener(0), listener(1), listener(2), 1usize..=3)
        .prop_map(|(a, b, c, count)| [a, b, c].into_iter().take(count).collect::<Vec<_>>());
    let drain = (0..Signal::ALL.len(), duration(0), 1u32..1000).prop_map(
        |(signal, timeout, max_generations)| Drain {
            signal: Signal::ALL[signal],
            timeout,
            delay: Duration::ZERO,
            kill_after: Duration::from_secs(5),
            max_generations,
        },
    );
    let bounds = (
        option::of(1u64 << 20..1 << 50),
        option::of(0.01f64..65536.0),
        option::of(1u64..1 << 22),
        any::<bool>(),
    );
    let limits = (limit(), limit(), limit(), bounds).prop_map(
        |(nofile, stack, address_space, (memory, cpu, pids, best_effort))| Limits {
            nofile,
            stack,
            address_space,
            memory,
            cpu,
            pids,
            best_effort,
            ..Limits::default()
        },
    );
    let restart = (duration(1), duration(0)).prop_map(|(delay, more)| Restart {
        delay,
        max_delay: delay + more,
    });
    (
        option::of("[a-z][a-z0-9._-]{0,20}"),
        app(),
        listen,
        ready_on(),
        drain,
        limits,
        restart,
        option::of(probe()),
    )
        .prop_map(|(name, app, listen, on, drain, limits, restart, check)| {
            let mut config = Config {
                name,
                app,
                listen,
                drain,
                limits,
                restart,
                ..Config::default()
            };
            config.ready.on = on;
            config.health.check = check;
            config
        })
}

/// Pieces that make files which are nearly right.
fn pieces() -> impl Strategy<Value = String> {
    let values = [
        "1",
        "\"30s\"",
        "true",
        "[",
        "]",
        "{",
        "}",
        "\"",
        "'''",
        "\"\"\"",
        "0x1",
        "é",
        "\n",
        "[[listen]]\n",
        "= ",
        ",",
        "\\",
        "#",
        "1979-05-27",
    ];
    let names: Vec<String> = keys()
        .flat_map(|key| {
            [
                format!("{} = ", key.name()),
                format!("\n[{}]\n", key.section()),
                format!("\n{} = ", key.path),
            ]
        })
        .collect();
    let piece = prop_oneof![
        proptest::sample::select(values.to_vec()).prop_map(str::to_owned),
        proptest::sample::select(names)
    ];
    vec(piece, 0..30).prop_map(|pieces| pieces.concat())
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 256, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn any_bytes_panic_nowhere(bytes in vec(any::<u8>(), 0..300)) {
        fuzz(&bytes);
    }

    #[test]
    fn files_that_are_nearly_right_panic_nowhere(text in pieces()) {
        fuzz(text.as_bytes());
    }

    #[test]
    fn a_damaged_corpus_panics_nowhere(
        chosen in any::<proptest::sample::Index>(),
        cut in any::<proptest::sample::Index>(),
        removed in 0usize..20,
        inserted in vec(any::<u8>(), 0..6),
    ) {
        let corpus = corpus();
        let mut bytes = chosen.get(&corpus).clone();
        let from = cut.index(bytes.len() + 1);
        let to = (from + removed).min(bytes.len());
        bytes.splice(from..to, inserted);
        fuzz(&bytes);
    }

    #[test]
    fn any_valid_config_loads_from_its_dump(config in config()) {
        let text = to_toml(&config);
        let again = loaded(&text).config;
        prop_assert_eq!(&again, &config, "{}", text);
        prop_assert!(changed(&again, &config).is_empty());
    }

    #[test]
    fn any_text_makes_an_address_or_a_reason(text in "[\\[\\]:.*a-z0-9@/=%-]{0,20}") {
        match text.parse::<Address>() {
            Ok(address) => prop_assert_eq!(address.to_string().parse::<Address>(), Ok(address)),
            Err(error) => prop_assert!(!error.message.is_empty()),
        }
    }
}
