use super::*;

fn parse(text: &str) -> Vec<(String, String)> {
    parse_env_file(Path::new("web.env"), text).expect(text)
}

fn one(text: &str) -> String {
    match parse(text).as_slice() {
        [(name, value)] if name == "A" => value.clone(),
        other => panic!("{text:?}: {other:?}"),
    }
}

#[test]
fn values_as_systemd_reads_them() {
    for (text, value) in [
        ("A=1", "1"),
        ("  A = 1  \n", "1"),
        ("A=", ""),
        ("A=\n", ""),
        ("A=a b c  ", "a b c"),
        ("A='a b '", "a b "),
        ("A=\"a b \"", "a b "),
        ("A=\"a\" 'b' c", "abc"),
        ("A=x\"y\"", "x\"y\""),
        ("A='a\\b'", "a\\b"),
        ("A=a\\ ", "a "),
        ("A=a\\\\b", "a\\b"),
        ("A=a\\\nb", "ab"),
        ("A=\"a\\\nb\"", "ab"),
        ("A=\"a\nb\"", "a\nb"),
        (r#"A="\"\\\$\`\n""#, "\"\\$`\\n"),
        ("A=$HOME/x", "$HOME/x"),
        ("A=b=c", "b=c"),
        ("A=a#b ; c", "a#b ; c"),
        ("A=1\r\n", "1"),
        ("\u{feff}A=1", "1"),
        ("A=1\nA=2", "2"),
        ("# A=0\n; A=0\n\nnothing\nA=1", "1"),
    ] {
        assert_eq!(one(text), value, "{text:?}");
    }
}

#[test]
fn several_keep_their_order() {
    assert_eq!(
        parse("B=1\nA='x'\nB=2\n"),
        [
            ("B".to_owned(), "2".to_owned()),
            ("A".to_owned(), "x".to_owned())
        ]
    );
    assert!(parse("").is_empty());
}

#[test]
fn every_fault_is_told_with_its_line_and_no_value() {
    let text = "A=1\nexport B=secret\n2C=secret\nD=\"secret\nE=secret\n";
    let faults = parse_env_file(Path::new("web.env"), text).expect_err("faults");
    let message = faults.to_string();
    assert!(
        message.contains("web.env:2:1: \"export B\" is no variable's name"),
        "{message}"
    );
    assert!(message.contains("write B=…"), "{message}");
    assert!(message.contains("web.env:3:1: \"2C\""), "{message}");
    assert!(
        message.contains("web.env:4:3: a \" is never closed"),
        "{message}"
    );
    assert!(message.ends_with("3 faults in web.env"), "{message}");
    assert!(!message.contains("secret"), "{message}");
    assert!(parse_env_file(Path::new("x"), "A=a\0b").is_err());
}

#[test]
fn what_handover_sets_itself_is_refused_with_its_line() {
    let names = [
        "LISTEN_FDS",
        "LISTEN_PID",
        "NOTIFY_SOCKET",
        "WATCHDOG_USEC",
        "HANDOVER_NONCE",
    ];
    for name in names {
        let text = format!("A=1\n{name}=secret\n");
        let faults = parse_env_file(Path::new("web.env"), &text).expect_err(name);
        let message = faults.to_string();
        let said = format!("web.env:2:1: {name} is set by handover itself");
        assert!(message.contains(&said), "{message}");
        assert!(message.contains(&format!("remove {name}")), "{message}");
        assert!(!message.contains("secret"), "{message}");
    }
    // The application's own.
    assert_eq!(parse("LISTEN_ADDR=:80\nWATCHDOG_DIR=/dogs").len(), 2);
}
