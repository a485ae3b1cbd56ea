//! The shared libraries of a binary.

use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::Result;

use crate::command;

/// Loader and libraries that `ldd` names, at the paths at which the binary looks for them.
pub fn of(binary: &Path) -> Result<Vec<PathBuf>> {
    let what = format!("listing the shared libraries of {}", binary.display());
    Ok(parse(&command::output(&what, Command::new("ldd").arg(binary))?))
}

fn parse(text: &str) -> Vec<PathBuf> {
    text.lines()
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
}
