//! The components of a pod, and the controllers, do not import each other: what two of them share belongs to their
//! parent. Read from the sources.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test fails by panicking, in its functions beside the test as well"
)]

use std::{
    collections::BTreeSet,
    fs,
    path::{Path, PathBuf},
};

/// Folders whose children, those with a folder of their own, stand side by side; and the parent's path in its crate.
/// The other files there are the parent's: they import no child either.
const PARENTS: [(&str, &str); 2] =
    [("crates/plan/src/component", "component"), ("crates/operator/src/controller", "controller")];

/// Parent, who imports, what of whom, and why that is right.
const ALLOWED: [(&str, &str, &str, &str); 4] = [
    ("component", "kube_apiserver", "kine", "it dials kine, by kine's socket and in kine's words"),
    ("component", "kube_apiserver", "konnectivity", "it dials konnectivity-server, by its socket and egress selector"),
    ("controller", "fleet", "data_store::sizes", "the metrics show what every controller knows"),
    ("controller", "fleet", "data_store::VALIDATION", "the metrics show what every controller knows"),
];

/// What a path begins with, when it is not a name that is in scope.
const HEADS: [&str; 3] = ["crate", "self", "super"];

/// Identifiers, `::` and single signs, without comments and literals.
fn tokens(source: &str) -> Vec<String> {
    let mut all = Vec::new();
    let mut rest = source;
    while let Some(first) = rest.chars().next() {
        let skipped = if rest.starts_with("//") {
            rest.find('\n').unwrap_or(rest.len())
        } else if rest.starts_with("/*") {
            rest.find("*/").map_or(rest.len(), |end| end + 2)
        } else if let Some(end) = raw_string(rest) {
            end
        } else if first == '"' {
            string(rest)
        } else if first == '\'' {
            character(rest)
        } else if first.is_alphabetic() || first == '_' {
            let end = rest.find(|sign: char| !sign.is_alphanumeric() && sign != '_').unwrap_or(rest.len());
            all.push(rest[..end].to_owned());
            end
        } else {
            let sign = if rest.starts_with("::") { "::" } else { &rest[..first.len_utf8()] };
            if !first.is_whitespace() {
                all.push(sign.to_owned());
            }
            sign.len()
        };
        rest = &rest[skipped..];
    }
    all
}

fn raw_string(rest: &str) -> Option<usize> {
    let open = rest.strip_prefix('r')?;
    let hashes = open.len() - open.trim_start_matches('#').len();
    open[hashes..].strip_prefix('"')?;
    let close = format!("\"{}", "#".repeat(hashes));
    let begin = hashes + 2;
    Some(rest[begin..].find(&close).map_or(rest.len(), |end| begin + end + close.len()))
}

fn string(rest: &str) -> usize {
    let mut escaped = false;
    for (at, sign) in rest.char_indices().skip(1) {
        match sign {
            _ if escaped => escaped = false,
            '\\' => escaped = true,
            '"' => return at + 1,
            _ => {}
        }
    }
    rest.len()
}

/// A literal, or the sign of a lifetime.
fn character(rest: &str) -> usize {
    let mut signs = rest.char_indices().skip(1);
    match (signs.next(), signs.next()) {
        (Some((_, '\\')), Some((after, _))) => rest[after + 1..].find('\'').map_or(rest.len(), |end| after + end + 2),
        (_, Some((end, '\''))) => end + 1,
        _ => 1,
    }
}

/// The leaves of what stands behind `use`, up to the end of the tree.
fn leaves(tokens: &[String], at: &mut usize, before: &[String], found: &mut Vec<Vec<String>>) {
    let mut path = before.to_vec();
    while let Some(token) = tokens.get(*at) {
        match token.as_str() {
            "{" => {
                *at += 1;
                while tokens[*at] != "}" {
                    leaves(tokens, at, &path, found);
                    if tokens[*at] == "," {
                        *at += 1;
                    }
                }
                *at += 1;
                return;
            }
            "}" | "," | ";" => break,
            "::" => {}
            // What it is called here does not matter.
            "as" => *at += 1,
            _ => path.push(token.clone()),
        }
        *at += 1;
    }
    // `a::{self}` is `a`.
    if path.len() > 1 && path.last().is_some_and(|last| last == "self") {
        path.pop();
    }
    found.push(path);
}

/// Every path that the source of `module` names from the root of the crate or from itself, as one from the root.
fn paths(source: &str, module: &[String]) -> Vec<Vec<String>> {
    let tokens = tokens(source);
    let mut module = module.to_vec();
    // Modules within the file, by the number of braces that are open around them.
    let (mut inner, mut open) = (Vec::new(), 0_usize);
    let mut found = Vec::new();
    let mut at = 0;
    while at < tokens.len() {
        let is = |offset: usize, wanted: &str| tokens.get(at + offset).is_some_and(|token| token == wanted);
        let begins = at == 0 || tokens[at - 1] != "::";
        if is(0, "mod") && is(2, "{") {
            module.push(tokens[at + 1].clone());
            inner.push(open);
            at += 1;
        } else if is(0, "use") {
            at += 1;
            let mut leaf = Vec::new();
            leaves(&tokens, &mut at, &[], &mut leaf);
            found.extend(leaf.into_iter().filter_map(|path| absolute(&path, &module)));
        } else if begins && HEADS.contains(&tokens[at].as_str()) && is(1, "::") {
            let mut path = vec![tokens[at].clone()];
            while tokens.get(at + 1).is_some_and(|sign| sign == "::") && tokens.get(at + 2).is_some() {
                path.push(tokens[at + 2].clone());
                at += 2;
            }
            found.extend(absolute(&path, &module));
        } else if is(0, "{") {
            open += 1;
        } else if is(0, "}") {
            open -= 1;
            if inner.last() == Some(&open) {
                inner.pop();
                module.pop();
            }
        }
        at += 1;
    }
    found
}

fn absolute(path: &[String], module: &[String]) -> Option<Vec<String>> {
    let (head, mut rest) = path.split_first()?;
    let mut from = module.to_vec();
    match head.as_str() {
        "crate" => from.clear(),
        "self" => {}
        "super" => {
            from.pop();
            while let Some(more) = rest.strip_prefix(&["super".to_owned()]) {
                from.pop();
                rest = more;
            }
        }
        _ => return None,
    }
    from.extend_from_slice(rest);
    Some(from)
}

/// Every Rust file below a folder.
fn sources(folder: &Path, found: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            sources(&path, found);
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            found.push(path);
        }
    }
}

/// The path of a file's module in its crate.
fn module(file: &Path, folder: &Path, parent: &str) -> Vec<String> {
    let below = file.strip_prefix(folder).unwrap().with_extension("");
    let parts = below.iter().map(|part| part.to_str().unwrap().to_owned()).filter(|part| part != "mod");
    std::iter::once(parent.to_owned()).chain(parts).collect()
}

#[test]
fn no_component_and_no_controller_imports_another() {
    let (mut used, mut wrong) = (BTreeSet::new(), Vec::new());
    for (folder, parent) in PARENTS {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..").join(folder);
        let mut files = Vec::new();
        sources(&folder, &mut files);
        let is_child = |name: &str| folder.join(name).join("mod.rs").exists();
        let children: BTreeSet<String> =
            files.iter().filter_map(|file| module(file, &folder, parent).get(1).cloned()).collect();
        assert!(children.iter().filter(|name| is_child(name)).count() >= 3, "{children:?}");
        for file in &files {
            let module = module(file, &folder, parent);
            // The parent puts its children together.
            let Some(from) = module.get(1) else { continue };
            for path in paths(&fs::read_to_string(file).unwrap(), &module) {
                let shown = || format!("{}: {}", file.display(), path.join("::"));
                match &path[..] {
                    // Through the whole of the parent, every child can be reached.
                    [only] if only == parent => wrong.push(shown()),
                    [first, glob] if first == parent && glob == "*" => wrong.push(shown()),
                    [first, to, ..] if first == parent && to != from && is_child(to) => {
                        let what = path[1..].join("::");
                        let is_allowed = |row: &(&str, &str, &str, &str)| {
                            let below = what.strip_prefix(row.2);
                            (row.0, row.1) == (parent, from.as_str())
                                && below.is_some_and(|below| below.is_empty() || below.starts_with("::"))
                        };
                        match ALLOWED.iter().position(is_allowed) {
                            Some(row) => drop(used.insert(row)),
                            None => wrong.push(shown()),
                        }
                    }
                    _ => {}
                }
            }
        }
    }
    assert!(wrong.is_empty(), "sideways, so it belongs to the parent:\n{}", wrong.join("\n"));
    let unused: Vec<_> = ALLOWED.iter().enumerate().filter(|(row, _)| !used.contains(row)).collect();
    assert!(unused.is_empty(), "nobody needs it any more: {unused:?}");
}

#[test]
fn imports_are_found_however_they_are_written() {
    let module = ["controller", "fleet"].map(str::to_owned);
    let found = |source: &str| paths(source, &module).iter().map(|path| path.join("::")).collect::<Vec<_>>();
    assert_eq!(
        found("use super::{a::b, c as d, e::{self, f}};"),
        ["controller::a::b", "controller::c", "controller::e", "controller::e::f",]
    );
    assert_eq!(found("pub(crate) use crate::controller::a::*;"), ["controller::a::*"]);
    assert_eq!(found("use super::super::a; use std::fmt; use self::b::c;"), ["a", "controller::fleet::b::c"]);
    assert_eq!(
        found("fn f() -> super::a::B { crate::controller::c::d(); x::super_y() }"),
        ["controller::a::B", "controller::c::d",]
    );
    assert_eq!(found("mod tests { use super::*; fn f() {} } use super::a;"), ["controller::fleet::*", "controller::a"]);
    assert_eq!(found("// use super::a;\n/* super::b */ const C: &str = \"super::c\\\" super::d\";"), [""; 0]);
    assert_eq!(
        found("const C: &str = r#\"\" super::a\"#; const D: char = '\"'; fn f<'a>(a: &'a super::B) {}"),
        ["controller::B"]
    );
    assert_eq!(found("const C: char = '\\''; use super::a;"), ["controller::a"]);
}
