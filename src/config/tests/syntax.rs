//! Files that are not TOML: every fault, once, with the rest still checked.

use super::{MINIMAL, fault, faults};

fn positions(text: &str) -> Vec<(usize, usize, String)> {
    let told = |fault: &crate::config::Fault| {
        let (line, column) = fault.position().unwrap_or_default();
        (
            line,
            column,
            format!(
                "{} | {}",
                fault.message,
                fault.hint.clone().unwrap_or_default()
            ),
        )
    };
    faults(text).0.iter().map(told).collect()
}

/// (lines after MINIMAL, line and column, message and hint)
const BROKEN: &[(&str, (usize, usize), &str)] = &[
    (
        "[drain]\ntimeout = 30s",
        (2, 11),
        "this value needs quotes | write timeout = \"30s\"",
    ),
    (
        "[drain]\nsignal = TERM",
        (2, 10),
        "this value needs quotes | write signal = \"TERM\"",
    ),
    ("[drain]\ntimeout: 30s", (2, 1), "write timeout = \"30s\""),
    (
        "[drain]\ntimeout",
        (2, 1),
        "key with no value | write timeout = VALUE",
    ),
    (
        "[drain]\ntimeout =",
        (2, 10),
        "this key has no value | write timeout = VALUE",
    ),
    (
        "[drain]\ntimeout = \"30s",
        (2, 15),
        "add the closing \": \"30s\"",
    ),
    (
        "[drain]\ntimeout = '30s\"",
        (2, 16),
        "this ' is never closed",
    ),
    (
        "[drain]\ntimeout = \"1s\"\ntimeout = \"2s\"",
        (3, 1),
        "timeout stands here a second time",
    ),
    (
        "[drain]\n[ready]\n[drain]",
        (3, 2),
        "drain stands here a second time",
    ),
    (
        "[drain\ntimeout = \"1s\"",
        (1, 7),
        "unclosed table | write [drain]",
    ),
    (
        "[[listen]\naddress = \":1\"",
        (1, 10),
        "unclosed array table | write [[listen]]",
    ),
    (
        "[drain]\ntimeout = \"1s\",",
        (2, 15),
        "write one key on each line",
    ),
    (
        "[drain]\ntimeout = \"\\q\"",
        (2, 13),
        "write \\\\ for a backslash",
    ),
    ("[app.env]\nA = True", (2, 5), "this is not TOML"),
    (
        "backlog = 010",
        (1, 11),
        "leading zero | write backlog = 10",
    ),
    (
        "backlog = 00 # none",
        (1, 11),
        "leading zero | write backlog = 0",
    ),
    (
        "mode = 0660",
        (1, 8),
        "leading zero | write mode = \"0660\"",
    ),
    (
        "[control]\nmode = 0660 # the group",
        (2, 8),
        "leading zero | write mode = \"0660\"",
    ),
    ("backlog = = 1", (1, 11), "extra `=` | write backlog = 1"),
    ("backlog ==", (1, 10), "write backlog = VALUE"),
    ("nodelay = True", (1, 11), "write true"),
    ("backlog = [1, 2", (1, 11), "this [ is never closed | add ]"),
    (
        "backlog = { a = 1",
        (1, 11),
        "this { is never closed | add }",
    ),
    ("= 5", (1, 1), "this is not TOML"),
    (
        "<<<<<<< HEAD\nbacklog = 1",
        (1, 1),
        "a merge conflict was left here",
    ),
];

#[test]
fn each_syntax_fault_is_told_once_where_it_is() {
    for (lines, (line, column), words) in BROKEN {
        let text = format!("{MINIMAL}{lines}\n");
        let told = positions(&text);
        assert_eq!(
            (told[0].0, told[0].1),
            (line + 4, *column),
            "{lines}: {told:#?}"
        );
        assert!(told[0].2.contains(words), "{lines}: {told:#?}");
        assert_eq!(told.len(), 1, "{lines}: {told:#?}");
    }
}

#[test]
fn what_stands_beside_a_syntax_fault_is_checked_as_well() {
    let told = positions(
        "nme = 1\nfoo\n[app]\ncommand = [\"a\"]\nworkers = 0\n[drain]\ntimeout = 5\nsignal = INT\n",
    );
    let lines: Vec<_> = told.iter().map(|(line, _, _)| *line).collect();
    // Nothing is called missing: what could not be read may have been it.
    assert_eq!(lines, [1, 2, 5, 7, 8], "{told:#?}");
}

#[test]
fn an_open_bracket_does_not_swallow_the_rest() {
    let told = positions(
        "[app]\ncommand = [\"a\",\n  \"b\"\nworkers = 0\n[drain]\ntimeout = 5\n[limits]\nnofile = { a = 1\nstack = true\n",
    );
    let lines: Vec<_> = told.iter().map(|(line, _, _)| *line).collect();
    assert_eq!(lines, [2, 4, 6, 8, 9], "{told:#?}");
}

#[test]
fn a_conflict_is_told_at_each_marker_and_nothing_else() {
    let text = format!("{MINIMAL}<<<<<<< HEAD\nbacklog = 1\n=======\nbacklog = 2\n>>>>>>> other\n");
    let told = positions(&text);
    assert_eq!(
        told.iter()
            .filter(|(_, _, text)| text.contains("merge conflict"))
            .count(),
        3,
        "{told:#?}"
    );
}

#[test]
fn files_of_another_kind_end_in_few_faults() {
    for text in [
        "{\"app\": {\"command\": [\"a\"]}}",
        "app:\n  command: ./server\n  workers: 2\n",
        "#!/bin/sh\nexec ./server\n",
    ] {
        let faults = faults(text);
        assert!((1..=6).contains(&faults.0.len()), "{faults}");
    }
}

/// Values of `app.env` are shown neither by semantic nor by syntax faults.
#[test]
fn secrets_are_masked_wherever_their_line_is_shown() {
    for text in [
        "[app.env]\nTOKEN = hunter2",
        "[app.env]\nTOKEN = \"hunter2\"\nTOKEN = \"hunter2\"",
        "[app.env]\nTOKEN: hunter2",
        "[app.env]\nTOKEN = \"hunter2",
        "[app.env]\nTOKEN hunter2",
        "[app.env]\nTOKEN = \"\"\"\nhunter2 \\q\n\"\"\"",
        "[app]\nenv = { TOKEN = \"hunter2\", X = 5 }",
        "[app]\nenv = { TOKEN = \"hunter2\", X = }",
        "[app]\nenv = {\n TOKEN = \"hunter2\", X = 5 }",
        "[app]\nenv = {\n TOKEN = \"hunter2\"\n X = 5",
        "[app]\nenv = \"hunter2\"",
        "[app]\nenv = [\"hunter2\"]",
        "[app]\nenv.TOKEN = [\"hunter2\"]",
        "app.env.TOKEN = hunter2",
        "app.env = { T = 'hunter2', 2 = 'hunter2' }",
        "[app]\n\"env\" = { TOKEN = 'hunter2' 5",
        "[ app . env ]\nTOKEN = hunter2",
    ] {
        let told = faults(text);
        assert!(!told.to_string().contains("hunter2"), "{text}\n{told}");
        assert!(!told.to_json().to_string().contains("hunter2"), "{text}");
    }
}

#[test]
fn control_characters_never_reach_the_terminal() {
    let told = faults("\"a\\u001b[31m\" = 1\n[ready]\non = \"\\u001b[2J\"\n").to_string();
    assert!(
        told.chars().all(|c| c == '\n' || !c.is_control()),
        "{told:?}"
    );
    let long = fault(&format!(
        "{MINIMAL}[drain]\nsignal = \"{}\"\n",
        "x".repeat(5000)
    ));
    assert!(long.to_string().len() < 1500, "{long}");
    assert!(long.to_string().contains("^"), "{long}");
}

#[test]
fn deep_nesting_and_many_faults_stay_bounded() {
    faults(&format!("a = {}", "[".repeat(10_000)));
    faults(&format!("a{} = 1", ".a".repeat(10_000)));
    let many: String = (0..20_000).map(|n| format!("k{n} = 1\n")).collect();
    assert_eq!(faults(&many).0.len(), 500);
}
