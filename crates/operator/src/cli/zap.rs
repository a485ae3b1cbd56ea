//! The logging flags of the Go operator (`--zap-*`), mapped to ours.

use clap::{ArgAction, Args, ValueEnum};
use tracing::level_filters::LevelFilter;

use super::go;
use crate::telemetry::log::{Format, LogOptions, TimeFormat};

/// The `--zap-*` flags.
#[derive(Args, Clone, Debug)]
#[command(next_help_heading = "Logging")]
pub struct ZapArgs {
    /// Log for people: console encoder and level debug, unless the next two flags say otherwise.
    ///
    /// The Go operator's default is true; ours is false, so that logs are JSON unless asked otherwise.
    #[arg(long, action = ArgAction::Set, value_parser = go::boolean, default_value = "false", default_missing_value = "true",
          num_args = 0..=1, require_equals = true, value_name = "BOOL")]
    pub zap_devel: bool,
    /// How a line is written.
    #[arg(long, value_name = "ENCODER")]
    pub zap_encoder: Option<Encoder>,
    /// debug, info, warn, error, or a number: 1 is debug, 2 and above everything.
    #[arg(long, value_parser = level, value_name = "LEVEL")]
    pub zap_log_level: Option<LevelFilter>,
    /// Accepted and without effect: no stack traces are logged.
    #[arg(long, value_name = "LEVEL")]
    pub zap_stacktrace_level: Option<StacktraceLevel>,
    /// How the time of a line is written.
    #[arg(long, value_name = "ENCODING", default_value = "rfc3339nano")]
    pub zap_time_encoding: TimeEncoding,
}

/// `--zap-encoder`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Encoder {
    /// One JSON object per line.
    Json,
    /// Columns for people.
    Console,
}

/// `--zap-stacktrace-level`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum StacktraceLevel {
    /// From info on.
    Info,
    /// From errors on.
    Error,
    /// For panics.
    Panic,
}

/// `--zap-time-encoding`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum TimeEncoding {
    /// Seconds since 1970 with a fraction.
    Epoch,
    /// Milliseconds since 1970.
    Millis,
    /// Nanoseconds since 1970.
    Nano,
    /// ISO 8601 with milliseconds.
    Iso8601,
    /// RFC 3339 with whole seconds.
    Rfc3339,
    /// RFC 3339 with a fraction.
    Rfc3339nano,
}

fn level(text: &str) -> Result<LevelFilter, String> {
    match text.to_ascii_lowercase().as_str() {
        "debug" => return Ok(LevelFilter::DEBUG),
        "info" => return Ok(LevelFilter::INFO),
        "warn" => return Ok(LevelFilter::WARN),
        "error" | "panic" => return Ok(LevelFilter::ERROR),
        _ => {}
    }
    match text.parse::<u8>() {
        Ok(1) => Ok(LevelFilter::DEBUG),
        Ok(2..) => Ok(LevelFilter::TRACE),
        _ => Err(format!("{text:?} is not a log level: write debug, info, warn, error, or a number from 1 on")),
    }
}

impl ZapArgs {
    /// The log options that these flags stand for.
    pub fn options(&self) -> LogOptions {
        let format = match self.zap_encoder {
            Some(Encoder::Console) => Format::Console,
            None if self.zap_devel => Format::Console,
            Some(Encoder::Json) | None => Format::Json,
        };
        let default_level = if self.zap_devel { LevelFilter::DEBUG } else { LevelFilter::INFO };
        let time = match self.zap_time_encoding {
            TimeEncoding::Epoch => TimeFormat::EpochSeconds,
            TimeEncoding::Millis => TimeFormat::EpochMilliseconds,
            TimeEncoding::Nano => TimeFormat::EpochNanoseconds,
            TimeEncoding::Iso8601 => TimeFormat::Milliseconds,
            TimeEncoding::Rfc3339 => TimeFormat::Seconds,
            TimeEncoding::Rfc3339nano => TimeFormat::Nanoseconds,
        };
        LogOptions { format, level: self.zap_log_level.unwrap_or(default_level), time }
    }
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;

    #[derive(Parser)]
    struct Flags {
        #[command(flatten)]
        zap: ZapArgs,
    }

    fn options(arguments: &[&str]) -> LogOptions {
        Flags::try_parse_from([&["test"], arguments].concat()).unwrap().zap.options()
    }

    #[test]
    fn logs_json_at_level_info_unless_told_otherwise() {
        let defaults = options(&[]);
        assert_eq!((defaults.format, defaults.level), (Format::Json, LevelFilter::INFO));
    }

    #[test]
    fn development_means_console_and_debug_but_the_other_flags_win() {
        let development = options(&["--zap-devel"]);
        assert_eq!((development.format, development.level), (Format::Console, LevelFilter::DEBUG));
        let mixed = options(&["--zap-devel=true", "--zap-encoder=json", "--zap-log-level", "error"]);
        assert_eq!((mixed.format, mixed.level), (Format::Json, LevelFilter::ERROR));
    }

    #[test]
    fn maps_numbers_to_levels_and_refuses_nonsense() {
        assert_eq!(options(&["--zap-log-level=1"]).level, LevelFilter::DEBUG);
        assert_eq!(options(&["--zap-log-level=5"]).level, LevelFilter::TRACE);
        for bad in ["--zap-log-level=loud", "--zap-log-level=0", "--zap-log-level=-1", "--zap-encoder=xml"] {
            assert!(Flags::try_parse_from(["test", bad]).is_err(), "{bad}");
        }
    }

    #[test]
    fn accepts_every_flag_of_the_go_operator() {
        let all = options(&["--zap-stacktrace-level=panic", "--zap-time-encoding=epoch", "--zap-encoder=console"]);
        assert_eq!((all.format, all.time), (Format::Console, TimeFormat::EpochSeconds));
    }
}
