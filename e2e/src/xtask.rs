//! `cargo xtask` as a person runs it.

use std::{
    ffi::OsString,
    path::PathBuf,
    process::{Output, Stdio},
    time::Duration,
};

use anyhow::{Context, Result};
use tokio::{process::Command, time::timeout};

use crate::kubectl::{said, workspace};

/// Names the program, where it was built before: through cargo each call would wait for cargo's lock.
const PROGRAM: &str = "KAMAJI_XTASK";
/// Building parts for the first time takes minutes.
const PATIENCE: Duration = Duration::from_mins(20);

/// Runs it to its end and returns what it wrote to standard output.
///
/// # Errors
/// When it fails, with its own words, or takes longer than twenty minutes.
pub async fn run(arguments: &[&str]) -> Result<String> {
    let (program, first) = program();
    let mut command = Command::new(program);
    command.args(first).args(arguments).current_dir(workspace()).stdin(Stdio::null());
    let output = within(PATIENCE, &mut command).await?;
    said(&format!("cargo xtask {}", arguments.join(" ")), &output)
}

/// A command line that was printed for a person, as the shell runs it; `cargo xtask` in it is the program that was built
/// before. What it starts ends when it is dropped.
pub fn line(printed: &str) -> Command {
    let text = match std::env::var_os(PROGRAM).map(PathBuf::from) {
        Some(program) => printed.replace("cargo xtask", &format!("'{}'", program.display())),
        None => printed.to_owned(),
    };
    let mut command = Command::new("sh");
    // The shell becomes the command, so that its end is the command's.
    command.args(["-c", &format!("exec {text}")]).current_dir(workspace()).stdin(Stdio::null());
    command.stdout(Stdio::piped()).stderr(Stdio::piped()).kill_on_drop(true);
    command
}

/// The command before its arguments: `$KAMAJI_XTASK`, else what `cargo xtask` stands for.
pub(crate) fn program() -> (OsString, Vec<&'static str>) {
    if let Some(program) = std::env::var_os(PROGRAM) {
        return (program, Vec::new());
    }
    let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    (cargo, vec!["run", "--quiet", "--package", "xtask", "--"])
}

/// Runs a command to its end, or kills it when it takes longer.
///
/// # Errors
/// When it cannot be started, or takes longer than `patience`.
pub async fn within(patience: Duration, command: &mut Command) -> Result<Output> {
    command.stdout(Stdio::piped()).stderr(Stdio::piped()).kill_on_drop(true);
    let shown = format!("{command:?}");
    let ended = timeout(patience, command.output()).await;
    ended.with_context(|| format!("{shown} takes too long"))?.with_context(|| format!("{shown} cannot be started"))
}
