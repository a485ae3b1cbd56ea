//! The shared libraries of binaries.

use std::collections::BTreeSet;
use std::path::PathBuf;
use std::process::Command;

use anyhow::Result;

use crate::command;

/// Loader and libraries that `ldd` names, at the paths at which the binaries look for them.
pub fn of(binaries: &[PathBuf]) -> Result<BTreeSet<PathBuf>> {
    let names: Vec<String> = binaries.iter().map(|binary| binary.display().to_string()).collect();
    let what = format!("listing the shared libraries of {}", names.first().map_or("", String::as_str));
    Ok(parse(&command::output(&what, Command::new("ldd").args(names))?))
}

fn parse(text: &str) -> BTreeSet<PathBuf> {
    // Of several binaries, each is named on a line of its own that ends with a colon.
    text.lines()
        .filter(|line| !line.ends_with(':'))
        .filter_map(|line| line.split_whitespace().find(|word| word.starts_with('/')))
        .map(PathBuf::from)
        .collect()
}

#[cfg(test)]
mod tests {
    use super::parse;

    #[test]
    fn finds_libraries_and_the_loader_but_not_the_kernels_own() {
        let text = "\tlinux-vdso.so.1 (0x1)\n\tlibc.so.6 => /lib/x86_64-linux-gnu/libc.so.6 (0x2)\n\t/lib64/ld-linux-x86-64.so.2 (0x3)\n";
        let paths: Vec<_> = parse(text).iter().map(|path| path.display().to_string()).collect();
        assert_eq!(paths, ["/lib/x86_64-linux-gnu/libc.so.6", "/lib64/ld-linux-x86-64.so.2"]);
    }

    #[test]
    fn several_binaries_are_not_their_own_libraries() {
        let text = "/bin/a:\n\tlibc.so.6 => /lib/libc.so.6 (0x2)\n/bin/b:\n\tlibc.so.6 => /lib/libc.so.6 (0x2)\n";
        let paths: Vec<_> = parse(text).iter().map(|path| path.display().to_string()).collect();
        assert_eq!(paths, ["/lib/libc.so.6"]);
    }
}
