//! Runs a command to its end, its output in a log, and says in one sentence why it failed.

use std::fs::File;
use std::io::{BufRead, BufReader, Write};
use std::path::Path;
use std::process::{Command, Stdio};

use anyhow::{Context, Result, anyhow, bail};

use crate::failure;

/// The sentence for a failed command: what it was for, the line that matters, the log.
pub fn failed(what: &str, log: &Path) -> anyhow::Error {
    anyhow!("{what} failed: {}\n  log: {}", failure::sentence(log), log.display())
}

/// Runs `command`, appends its output to `log`, gives each line to `each_line`.
///
/// # Errors
/// When the command cannot be started or ends with a failure; the message has the sentence and the log's path.
pub fn logged(what: &str, command: &mut Command, log: &Path, mut each_line: impl FnMut(&str)) -> Result<()> {
    let mut file = open_log(log)?;
    writeln!(file, "$ {command:?}")?;
    let (reader, writer) = std::io::pipe()?;
    let mut child = command
        .stdin(Stdio::null())
        .stdout(writer.try_clone()?)
        .stderr(writer)
        .spawn()
        .with_context(|| format!("{what}: cannot start {}", command.get_program().display()))?;
    // The parent's copies of the write end must go, else the pipe never ends.
    command.stdout(Stdio::null()).stderr(Stdio::null());
    for line in BufReader::new(reader).split(b'\n') {
        let line = line?;
        file.write_all(&line)?;
        file.write_all(b"\n")?;
        each_line(&String::from_utf8_lossy(&line));
    }
    if child.wait()?.success() { Ok(()) } else { Err(failed(what, log)) }
}

/// Runs `command` and returns its standard output.
///
/// # Errors
/// When the command cannot be started or ends with a failure; the message holds what it wrote to standard error.
pub fn output(what: &str, command: &mut Command) -> Result<String> {
    let out = command
        .stdin(Stdio::null())
        .output()
        .with_context(|| format!("{what}: cannot start {}", command.get_program().display()))?;
    if !out.status.success() {
        let said = String::from_utf8_lossy(&out.stderr);
        let said = said.trim();
        bail!("{what} failed: {}", said.lines().last().unwrap_or("it said nothing"));
    }
    Ok(String::from_utf8_lossy(&out.stdout).into_owned())
}

/// Runs `command` with `input` on its standard input and returns its standard output.
///
/// # Errors
/// As [`output`].
pub fn with_input(what: &str, command: &mut Command, input: &str) -> Result<String> {
    let mut child = command
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .with_context(|| format!("{what}: cannot start {}", command.get_program().display()))?;
    if let Some(mut stdin) = child.stdin.take() {
        // A command that fails before it has read all is reported by its own words below.
        let _ = stdin.write_all(input.as_bytes());
    }
    let out = child.wait_with_output()?;
    if !out.status.success() {
        let said = String::from_utf8_lossy(&out.stderr);
        bail!("{what} failed: {}", said.trim().lines().next().unwrap_or("it said nothing"));
    }
    Ok(String::from_utf8_lossy(&out.stdout).into_owned())
}

fn open_log(log: &Path) -> Result<File> {
    if let Some(folder) = log.parent() {
        std::fs::create_dir_all(folder).with_context(|| format!("cannot create {}", folder.display()))?;
    }
    File::options().create(true).append(true).open(log).with_context(|| format!("cannot write {}", log.display()))
}
