//! Each rule must find what it is for: small wrong trees, and right ones beside them.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use super::source::{File, Tree, blank};
use super::{calls, dependencies, layout, rooms, sizes};

fn tree(files: &[(&str, &str)]) -> Tree {
    let parsed = files
        .iter()
        .map(|(path, text)| (PathBuf::from(path), File::parse(text)));
    Tree::new(parsed.collect::<BTreeMap<_, _>>())
}

#[track_caller]
fn one_fault(faults: &[String], part: &str) {
    assert!(
        faults.len() == 1 && faults[0].contains(part),
        "expected one with {part:?}: {faults:?}"
    );
}

#[test]
fn comments_and_strings_are_no_code() {
    let text = "a // unsafe\n\"todo! \\\" x\" b 'c' '\\'' r#\"dbg! \" \"# /* d\n */ e<'f>";
    let code = blank(text);
    for hidden in ["unsafe", "todo", "dbg", "c", "d"] {
        assert!(!code.contains(hidden), "{hidden} in {code:?}");
    }
    for kept in ["a ", " b ", " e<'f>"] {
        assert!(code.contains(kept), "{kept} not in {code:?}");
    }
    assert_eq!(code.lines().count(), text.lines().count());
}

#[test]
fn an_upward_import_is_found_in_every_spelling() {
    for wrong in [
        "use crate::master::Loop;",
        "use crate::{\n    config::Config,\n    master::Loop,\n};",
        "fn f() { crate::master::run(); }",
        "use super::super::master;",
    ] {
        let wrong = tree(&[("src/process/child.rs", wrong)]);
        one_fault(&rooms::faults(&wrong), "process imports master");
    }
    let right = "use crate::{config::{self, master}, sockets};\nuse super::master;";
    assert_eq!(
        rooms::faults(&tree(&[("src/process/child.rs", right)])),
        [""; 0]
    );
}

#[test]
fn the_fleet_uses_nothing_from_outside() {
    let serde = tree(&[("src/fleet/types.rs", "use std::fmt;\nuse serde::Serialize;")]);
    one_fault(
        &rooms::faults(&serde),
        "src/fleet/types.rs:2: a pure room uses the crate serde",
    );
    let config = tree(&[("src/fleet/types.rs", "use crate::config::Config;")]);
    one_fault(&rooms::faults(&config), "imports config");
    let tests = "#[cfg(test)]\nmod tests {\n    use proptest::prelude::*;\n}";
    assert_eq!(
        rooms::faults(&tree(&[("src/fleet/types.rs", tests)])),
        [""; 0]
    );
}

#[test]
fn banned_calls_are_found_and_tests_exempt_where_sensible() {
    let clock =
        "fn f() { Instant::now(); }\n#[cfg(test)]\nmod tests {\n    fn g() { Instant::now(); }\n}";
    one_fault(
        &calls::faults(&tree(&[("src/fleet/mod.rs", clock)])),
        "src/fleet/mod.rs:1:",
    );
    assert_eq!(
        calls::faults(&tree(&[("src/master/mod.rs", clock)])),
        [""; 0]
    );
    let spawn = "fn f() { std::process::Command::new(\"x\"); }";
    one_fault(
        &calls::faults(&tree(&[("src/cli/run.rs", spawn)])),
        "only the launcher",
    );
    assert_eq!(
        calls::faults(&tree(&[("src/process/launch.rs", spawn)])),
        [""; 0]
    );
    let danger = "#[expect(unsafe_code)]\nfn f() { unsafe { g() } }";
    one_fault(
        &calls::faults(&tree(&[("tests/x.rs", danger)])),
        "tests/x.rs:2: unsafe",
    );
    assert_eq!(
        calls::faults(&tree(&[("src/process/place.rs", danger)])),
        [""; 0]
    );
    one_fault(
        &calls::faults(&tree(&[("src/a.rs", "#[ignore]")])),
        "#[ignore",
    );
}

#[test]
fn a_file_declared_for_tests_is_a_test() {
    let mut files = vec![("src/cli/mod.rs", "#[cfg(test)]\nmod tests;\n")];
    files.push(("src/cli/tests.rs", "fn f() { Command::new(\"x\"); }"));
    assert_eq!(calls::faults(&tree(&files)), [""; 0]);
    files[0].1 = "mod tests;\n";
    one_fault(&calls::faults(&tree(&files)), "src/cli/tests.rs:1");
}

#[test]
fn long_files_and_functions_are_found() {
    let long = format!("fn long() {{\n{}}}\n", "    step();\n".repeat(69));
    one_fault(
        &sizes::faults(&tree(&[("src/a.rs", &long)])),
        "src/a.rs:1: 71 lines",
    );
    let short = format!("fn short() {{\n{}}}\n", "    step();\n".repeat(68));
    assert_eq!(sizes::faults(&tree(&[("src/a.rs", &short)])), [""; 0]);
    let file = "const A: u8 = 1;\n// comments do not count\n\n".repeat(401);
    one_fault(
        &sizes::faults(&tree(&[("src/a.rs", &file)])),
        "401 lines of code",
    );
    assert_eq!(sizes::faults(&tree(&[("tests/a.rs", &file)])), [""; 0]);
}

#[test]
fn a_file_that_nothing_uses_is_found() {
    let mut files = vec![("src/lib.rs", "mod a;\n#[path = \"b_tests.rs\"]\nmod tests;")];
    files.extend([
        ("src/a/mod.rs", "//! A.\nmod c;"),
        ("src/a/c.rs", ""),
        ("src/b_tests.rs", ""),
    ]);
    assert_eq!(layout::module_faults(&tree(&files)), [""; 0]);
    files.push(("src/a/dead.rs", ""));
    one_fault(&layout::module_faults(&tree(&files)), "src/a/dead.rs");
}

#[test]
fn titles_and_machine_paths_are_counted() {
    let good = "# One\n```sh\n# not a title\n```\n";
    assert_eq!(layout::text_faults(Path::new("a.md"), good), [""; 0]);
    one_fault(
        &layout::text_faults(Path::new("a.md"), "# One\n# Two\n"),
        "2 titles",
    );
    let path = concat!("cd /ro", "ot/x\n");
    one_fault(&layout::text_faults(Path::new("a.sh"), path), "a.sh:1");
}

#[test]
fn a_dependency_that_nothing_names_is_found() {
    let manifest =
        "[dependencies]\nhyper = '1'\nhyper-util = '0.1'\n[dev-dependencies]\nproptest = '1'";
    let mut files = vec![
        ("src/a.rs", "use hyper_util::rt;"),
        ("tests/a.rs", "proptest::x!();"),
    ];
    one_fault(
        &dependencies::unused(manifest, &tree(&files)),
        "[dependencies] hyper is used nowhere",
    );
    files.push(("src/b.rs", "hyper::body()"));
    assert_eq!(dependencies::unused(manifest, &tree(&files)), [""; 0]);
}

#[test]
fn a_crate_too_many_and_one_that_is_gone_are_told() {
    let docs = "x `y`\n<!-- crates:begin -->\n`a`, `b`\n<!-- crates:end -->\n`z`";
    let listed = dependencies::listed(docs);
    let built = ["a", "c"].map(str::to_owned).into();
    let faults = dependencies::unlisted(&listed, &built);
    assert!(
        faults[0].contains("pulls c") && faults[1].contains("lists b"),
        "{faults:?}"
    );
    assert_eq!(dependencies::unlisted(&listed, &listed), [""; 0]);
}

#[test]
fn licences_and_sources_are_judged() {
    for good in [
        "MIT",
        "MIT OR Apache-2.0",
        "GPL-3.0 OR MIT",
        "Unlicense/MIT",
        "(MIT OR X) AND Zlib",
    ] {
        assert!(dependencies::allowed(good), "{good}");
    }
    for bad in ["GPL-3.0", "none", "MIT AND GPL-3.0"] {
        assert!(!dependencies::allowed(bad), "{bad}");
    }
    let package = serde_json::json!({"packages": [
        {"name": "own", "version": "1.0.0", "source": null, "license": "X"},
        {"name": "odd", "version": "1.0.0", "source": "git+https://example.org", "license": "MIT"},
    ]});
    one_fault(
        &dependencies::strangers(&package),
        "odd 1.0.0 comes from git+",
    );
}
