//! Reads the crate's Rust files and blanks what is not code.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Component, Path, PathBuf};

/// All Rust files of the crate, by path from its root.
pub struct Tree {
    pub files: BTreeMap<PathBuf, File>,
}

/// One file.
pub struct File {
    /// As written, by line.
    pub lines: Vec<String>,
    /// The same lines with comments and the insides of strings made blank.
    pub code: Vec<String>,
    /// Which lines are only compiled for tests.
    pub test: Vec<bool>,
    /// Child modules: name, path attribute, whether only for tests.
    pub modules: Vec<Module>,
}

/// `mod name;`, or `include!("path")` without a name.
#[derive(Clone)]
pub struct Module {
    pub name: String,
    pub path: Option<String>,
    pub test: bool,
}

const FOLDERS: [&str; 4] = ["src", "tests", "examples", "bench"];

impl Tree {
    pub fn read(root: &Path) -> Self {
        let mut files = BTreeMap::new();
        for folder in FOLDERS {
            for path in walk(&root.join(folder)) {
                let text = std::fs::read_to_string(&path)
                    .unwrap_or_else(|error| panic!("cannot read {}: {error}", path.display()));
                let inside = path.strip_prefix(root).unwrap_or(&path).to_path_buf();
                files.insert(inside, File::parse(&text));
            }
        }
        Self::new(files)
    }

    /// Completes what one file alone does not show: a module for tests makes its file one.
    pub fn new(mut files: BTreeMap<PathBuf, File>) -> Self {
        let whole: Vec<PathBuf> = files
            .keys()
            .filter(|p| !p.starts_with("src"))
            .cloned()
            .collect();
        let mut tests: BTreeSet<PathBuf> = whole.into_iter().collect();
        let mut queue: Vec<PathBuf> = files.keys().cloned().collect();
        while let Some(path) = queue.pop() {
            let Some(file) = files.get(&path) else {
                continue;
            };
            for module in &file.modules {
                if module.test || tests.contains(&path) {
                    let child = candidates(&path, module)
                        .into_iter()
                        .find(|c| files.contains_key(c));
                    if let Some(child) = child
                        && tests.insert(child.clone())
                    {
                        queue.push(child);
                    }
                }
            }
        }
        for path in tests {
            if let Some(file) = files.get_mut(&path) {
                file.test.fill(true);
            }
        }
        Self { files }
    }

    /// Every file under `src`, with its path.
    pub fn sources(&self) -> impl Iterator<Item = (&Path, &File)> {
        self.all().filter(|(path, _)| path.starts_with("src"))
    }

    pub fn all(&self) -> impl Iterator<Item = (&Path, &File)> {
        self.files.iter().map(|(path, file)| (path.as_path(), file))
    }
}

/// Where the file of `module`, declared in `parent`, may lie.
pub fn candidates(parent: &Path, module: &Module) -> Vec<PathBuf> {
    let folder = parent.parent().unwrap_or(Path::new(""));
    let stem = parent
        .file_stem()
        .and_then(|stem| stem.to_str())
        .unwrap_or_default();
    if let Some(path) = &module.path {
        return vec![normal(&folder.join(path))];
    }
    let is_root = matches!(stem, "mod" | "lib" | "main") || folder == Path::new("tests");
    let base = if is_root {
        folder.to_path_buf()
    } else {
        folder.join(stem)
    };
    vec![
        base.join(format!("{}.rs", module.name)),
        base.join(&module.name).join("mod.rs"),
    ]
}

fn normal(path: &Path) -> PathBuf {
    let mut normal = PathBuf::new();
    for component in path.components() {
        match component {
            Component::ParentDir => drop(normal.pop()),
            Component::CurDir => {}
            other => normal.push(other),
        }
    }
    normal
}

fn walk(folder: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for entry in std::fs::read_dir(folder).into_iter().flatten().flatten() {
        let path = entry.path();
        if path.is_dir() {
            found.extend(walk(&path));
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            found.push(path);
        }
    }
    found
}

impl File {
    pub fn parse(text: &str) -> Self {
        let code: Vec<String> = blank(text).lines().map(str::to_owned).collect();
        let lines: Vec<String> = text.lines().map(str::to_owned).collect();
        let test = test_lines(&code);
        let modules = modules(&code, &lines, &test);
        Self {
            lines,
            code,
            test,
            modules,
        }
    }

    /// Lines of code outside comments and tests, numbered from 1.
    pub fn code_lines(&self) -> impl Iterator<Item = (usize, &str)> {
        self.numbered().filter(|(number, _)| !self.test[number - 1])
    }

    /// All lines of code, numbered from 1.
    pub fn numbered(&self) -> impl Iterator<Item = (usize, &str)> {
        self.code
            .iter()
            .enumerate()
            .map(|(index, line)| (index + 1, line.as_str()))
    }
}

/// Lines from `#[cfg(test)]` to the end of what it stands before.
fn test_lines(code: &[String]) -> Vec<bool> {
    let mut test = vec![false; code.len()];
    let mut index = 0;
    while index < code.len() {
        if !code[index].trim_start().starts_with("#[cfg(test)]") {
            index += 1;
            continue;
        }
        let end = item_end(code, index);
        test[index..=end].fill(true);
        index = end + 1;
    }
    test
}

/// The last line of the item that begins at `start`: its closing brace, or its semicolon.
pub fn item_end(code: &[String], start: usize) -> usize {
    let mut depth = 0_usize;
    for (index, line) in code.iter().enumerate().skip(start) {
        for byte in line.bytes() {
            match byte {
                b'{' | b'(' | b'[' => depth += 1,
                b'}' | b')' | b']' => depth = depth.saturating_sub(1),
                _ => {}
            }
            if depth == 0 && matches!(byte, b'}' | b';') {
                return index;
            }
        }
    }
    code.len() - 1
}

fn modules(code: &[String], lines: &[String], test: &[bool]) -> Vec<Module> {
    let quoted = |line: &str, before: &str| -> Option<String> {
        let (_, rest) = line.split_once(before)?;
        Some(rest.split('"').next()?.to_owned())
    };
    let mut modules = Vec::new();
    for (index, line) in code.iter().enumerate() {
        let test = test[index];
        if line.contains("include!(")
            && let Some(path) = quoted(&lines[index], "include!(\"")
        {
            let (name, path) = (String::new(), Some(path));
            modules.push(Module { name, path, test });
        }
        let words: Vec<&str> = line.split_whitespace().collect();
        let after_mod = words.iter().skip_while(|word| **word != "mod").nth(1);
        let Some(name) = after_mod.and_then(|word| word.strip_suffix(';')) else {
            continue;
        };
        let before = index.checked_sub(1).map(|before| lines[before].as_str());
        modules.push(Module {
            name: name.to_owned(),
            path: before.and_then(|before| quoted(before, "#[path = \"")),
            test,
        });
    }
    modules
}

/// Puts spaces for comments and for what stands in strings and character literals.
pub fn blank(text: &str) -> String {
    let bytes = text.as_bytes();
    let mut out = Vec::with_capacity(bytes.len());
    let mut at = 0;
    while at < bytes.len() {
        let end = match literal_end(bytes, at) {
            Some(end) => end,
            None => {
                out.push(bytes[at]);
                at += 1;
                continue;
            }
        };
        let kept = if bytes[at] == b'/' { b' ' } else { b'"' };
        out.push(kept);
        out.extend(
            bytes[at + 1..end]
                .iter()
                .map(|b| if *b == b'\n' { b'\n' } else { b' ' }),
        );
        at = end;
    }
    String::from_utf8_lossy(&out).into_owned()
}

/// Where the comment, string or character literal that begins at `at` ends, if one does.
fn literal_end(bytes: &[u8], at: usize) -> Option<usize> {
    let rest = &bytes[at..];
    let before = at.checked_sub(1).map_or(b' ', |before| bytes[before]);
    let find = |needle: &[u8], from: usize| {
        let found = rest
            .get(from..)?
            .windows(needle.len())
            .position(|window| window == needle);
        found.map(|found| at + from + found + needle.len())
    };
    if rest.starts_with(b"//") {
        return Some(find(b"\n", 0).map_or(bytes.len(), |end| end - 1));
    }
    if rest.starts_with(b"/*") {
        return Some(find(b"*/", 2).unwrap_or(bytes.len()));
    }
    if rest[0] == b'r' && !(before.is_ascii_alphanumeric() && before != b'b') {
        let hashes = rest[1..].iter().take_while(|byte| **byte == b'#').count();
        if rest.get(1 + hashes) == Some(&b'"') {
            let close = [&b"\""[..], &vec![b'#'; hashes]].concat();
            return Some(find(&close, 2 + hashes).unwrap_or(bytes.len()));
        }
    }
    match rest[0] {
        b'"' => {
            let mut end = 1;
            while end < rest.len() && rest[end] != b'"' {
                end += if rest[end] == b'\\' { 2 } else { 1 };
            }
            Some((at + end + 1).min(bytes.len()))
        }
        // 'x' and '\n', but not the lifetime 'x.
        b'\'' if rest.get(1) == Some(&b'\\') => find(b"'", 3),
        b'\'' => {
            let length = std::str::from_utf8(&rest[1..rest.len().min(5)])
                .or_else(|error| std::str::from_utf8(&rest[1..1 + error.valid_up_to()]))
                .ok()?
                .chars()
                .next()?
                .len_utf8();
            (rest.get(1 + length) == Some(&b'\'')).then_some(at + length + 2)
        }
        _ => None,
    }
}
