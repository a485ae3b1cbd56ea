//! Finds, in a log, the sentence that says why something failed.

use std::io::{Read, Seek, SeekFrom};
use std::path::Path;

/// How much of the end of a log is read, in bytes.
const TAIL: u64 = 128 * 1024;

/// The line of the log that matters most: the last one that speaks of an error, else the last one.
pub fn sentence(log: &Path) -> String {
    match tail(log) {
        Ok(text) => pick(&text).unwrap_or_else(|| "it wrote nothing".into()),
        Err(error) => format!("its log cannot be read: {error}"),
    }
}

fn tail(log: &Path) -> std::io::Result<String> {
    let mut file = std::fs::File::open(log)?;
    let length = file.metadata()?.len();
    file.seek(SeekFrom::Start(length.saturating_sub(TAIL)))?;
    let mut bytes = Vec::new();
    file.read_to_end(&mut bytes)?;
    Ok(String::from_utf8_lossy(&bytes).into_owned())
}

fn pick(text: &str) -> Option<String> {
    let lines: Vec<&str> = text.lines().map(str::trim).filter(|line| !line.is_empty()).collect();
    // A command that gives up says so last, and whatever cleans up after it says more: strongest words first.
    let strongest: [fn(&str) -> bool; 3] = [is_fatal, is_error, |_| true];
    strongest.iter().find_map(|matches| lines.iter().rev().find(|line| matches(line))).map(|line| (*line).to_owned())
}

fn is_fatal(line: &str) -> bool {
    // cargo and rustc end by counting what they have said before.
    if line.starts_with("error: could not compile") || line.starts_with("error: aborting due to") {
        return false;
    }
    let klog_fatal = line.starts_with('F') && line.chars().skip(1).take(4).all(|c| c.is_ascii_digit());
    klog_fatal
        || line.starts_with("panic:")
        || line.starts_with("Error:")
        || line.starts_with("error:")
        || line.starts_with("error[")
        || line.starts_with("fatal")
        || line.contains("\"level\":\"fatal\"")
        || line.contains("level=fatal")
}

fn is_error(line: &str) -> bool {
    let lower = line.to_ascii_lowercase();
    let klog_error = line.starts_with('E') && line.chars().skip(1).take(4).all(|c| c.is_ascii_digit());
    klog_error
        || [
            "error",
            "failed",
            "cannot",
            "unable to",
            "no such",
            "not found",
            "denied",
            "refused",
            "undefined",
            "missing",
        ]
        .iter()
        .any(|word| lower.contains(word))
}

#[cfg(test)]
mod tests {
    use super::pick;

    #[test]
    fn prefers_the_fatal_line_over_what_follows_it() {
        let log = "I0101 started\nF0101 12:00:00 cannot listen on 6443\nI0101 failed to say goodbye\n";
        assert_eq!(pick(log).unwrap(), "F0101 12:00:00 cannot listen on 6443");
    }

    #[test]
    fn takes_the_last_error_when_nothing_is_fatal() {
        assert_eq!(
            pick("main.go:1: undefined: x\nmain.go:2: undefined: y\nexit\n").unwrap(),
            "main.go:2: undefined: y"
        );
    }

    #[test]
    fn a_compilers_error_matters_more_than_its_count() {
        let log = "error[E0425]: cannot find value `x`\n --> a.rs:1\nerror: could not compile `a` due to 1 error\n";
        assert_eq!(pick(log).unwrap(), "error[E0425]: cannot find value `x`");
    }

    #[test]
    fn takes_the_last_line_of_a_log_without_an_error() {
        assert_eq!(pick("one\ntwo\n\n").unwrap(), "two");
    }

    #[test]
    fn an_empty_log_has_no_sentence() {
        assert_eq!(pick("\n"), None);
    }
}
