use super::*;

#[test]
fn every_form_is_read_and_written_back() {
    for text in [
        ":8080",
        "127.0.0.1:80",
        "[::1]:8080",
        "[::]:0",
        "localhost:8080",
        "web.example.org:443",
        "unix:/run/web.sock",
        "unix:run/a=b.sock",
        "unix:@web",
        "udp::53",
        "udp:127.0.0.1:53",
        "udp:[::1]:53",
        "fd:web.socket",
    ] {
        let address: Address = text.parse().unwrap_or_else(|e| panic!("{text}: {e}"));
        assert_eq!(address.to_string(), text);
    }
}

#[test]
fn mistakes_carry_their_fix() {
    for (text, message, fix) in [
        ("8080", "port without a ':'", ":8080"),
        ("localhost", "no port", "localhost:8080"),
        ("localhost:", "no port", "localhost:8080"),
        ("http://localhost:80/x", "is a URL", "localhost:80"),
        ("https://web", "is a URL", "web:443"),
        ("tcp:127.0.0.1:80", "scheme", "127.0.0.1:80"),
        ("::1:8080", "without brackets", "[::1]:8080"),
        (":::8080", "without brackets", "[::]:8080"),
        ("::1", "without brackets", "[::1]:8080"),
        ("[::1]", "no port", "[::1]:8080"),
        ("*:80", "'*'", ":80"),
        ("udp:*:80", "'*'", "udp::80"),
        ("/run/x.sock", "looks like a path", "unix:/run/x.sock"),
        ("./x.sock", "looks like a path", "unix:./x.sock"),
        ("@web", "abstract", "unix:@web"),
        ("unix:///run/x.sock", "is a URL", "unix:/run/x.sock"),
        ("unix:/run/", "directory", "unix:/run/web.sock"),
        (":http", "no number", ":80"),
        ("localhost:+80", "no number", "localhost:8080"),
        (" :80", "spaces", ":80"),
    ] {
        let error = text.parse::<Address>().expect_err(text);
        assert!(error.message.contains(message), "{text}: {}", error.message);
        assert_eq!(error.fix.as_deref(), Some(fix), "{text}");
        assert!(
            fix.parse::<Address>().is_ok(),
            "the fix {fix} is itself wrong"
        );
    }
}

#[test]
fn mistakes_that_leave_no_guess_say_what_to_do() {
    for (text, message) in [
        ("", "is empty"),
        (":65536", "the highest is 65535"),
        (":99999999999999999999", "the highest is 65535"),
        ("256.0.0.1:80", "no IPv4 address"),
        ("[::g]:80", "no IPv6 address"),
        ("[127.0.0.1]:80", "IPv4 address in brackets"),
        ("[fe80::1%eth0]:80", "zone"),
        ("a b:80", "no name"),
        ("unix:", "names no path"),
        ("unix:@", "names no path"),
        ("fd:", "names no descriptor"),
        ("fd:a:b", "not a descriptor name"),
        ("a:b:c:1", "too many colons"),
    ] {
        let error = text.parse::<Address>().expect_err(text);
        assert!(error.message.contains(message), "{text}: {}", error.message);
        assert!(error.hint.is_some(), "{text}: no hint");
    }
}

/// FAILURES 8: a path that the kernel would cut is refused, with the count.
#[test]
fn f08_a_unix_path_of_108_bytes_is_refused_with_its_count() {
    let path = |bytes: usize| format!("unix:/{}", "x".repeat(bytes - 1));
    assert!(path(107).parse::<Address>().is_ok());
    let error = path(108).parse::<Address>().expect_err("108 bytes");
    assert!(
        error
            .message
            .contains("108 bytes; the kernel takes at most 107"),
        "{}",
        error.message
    );
    // Bytes, not characters.
    let wide = format!("unix:/{}", "é".repeat(54));
    assert!(
        wide.parse::<Address>()
            .expect_err("109 bytes")
            .message
            .contains("109 bytes")
    );
    let name = format!("unix:@{}", "x".repeat(108));
    assert!(
        name.parse::<Address>()
            .expect_err("108 bytes")
            .message
            .contains("108 bytes")
    );
}

#[test]
fn names_are_split_from_addresses() {
    assert_eq!(split_name("http=:80"), (Some("http"), ":80"));
    assert_eq!(split_name(":80"), (None, ":80"));
    assert_eq!(split_name("unix:/a=b"), (None, "unix:/a=b"));
    assert_eq!(split_name("x=unix:/a=b"), (Some("x"), "unix:/a=b"));
    assert_eq!(split_name("=:80"), (Some(""), ":80"));
}

#[test]
fn wildcards_clash_with_what_they_cover() {
    let clash = |a: &str, b: &str| {
        let (a, b): (Address, Address) = (a.parse().expect("valid"), b.parse().expect("valid"));
        assert_eq!(a.clashes_with(&b), b.clashes_with(&a));
        a.clashes_with(&b)
    };
    assert!(clash(":80", ":80"));
    assert!(clash(":80", "127.0.0.1:80"));
    assert!(clash("0.0.0.0:80", "127.0.0.1:80"));
    assert!(clash("[::]:80", "0.0.0.0:80"));
    assert!(clash("[::]:80", "127.0.0.1:80"));
    assert!(!clash("0.0.0.0:80", "[::1]:80"));
    assert!(!clash("127.0.0.1:80", "127.0.0.2:80"));
    assert!(!clash(":80", "udp::80"));
    assert!(!clash(":0", ":0"));
    assert!(clash("unix:/a", "unix:/a"));
    assert!(clash("fd:a", "fd:a"));
}
