//! Structured logs on standard error, with a level that can be changed while the process runs.
//!
//! A line carries the keys of the Go operator's zap encoder (`level`, `ts`, `logger`, `msg`), then the fields of all
//! spans around the event, outermost first, then the event's own: a reconcile opens one span that names the tenant,
//! and every line below carries it.

use std::io::Write;
use std::sync::{Arc, PoisonError, RwLock};

use jiff::Timestamp;
use serde_json::{Map, Value};
use tracing::field::{Field, Visit};
use tracing::level_filters::LevelFilter;
use tracing::span::{Attributes, Id, Record};
use tracing::{Event, Level, Subscriber};
use tracing_subscriber::filter::Targets;
use tracing_subscriber::layer::{Context, Layer, SubscriberExt as _};
use tracing_subscriber::registry::{LookupSpan, Registry};
use tracing_subscriber::reload;

/// How a line is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Format {
    /// One JSON object per line.
    Json,
    /// Time, level, logger and message in columns, then the fields as JSON.
    Console,
}

/// How the time of a line is written, in UTC.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TimeFormat {
    /// Seconds since 1970 as a number with a fraction.
    EpochSeconds,
    /// Milliseconds since 1970 as a number with a fraction.
    EpochMilliseconds,
    /// Nanoseconds since 1970 as a whole number.
    EpochNanoseconds,
    /// RFC 3339 in whole seconds.
    Seconds,
    /// RFC 3339 with milliseconds.
    Milliseconds,
    /// RFC 3339 with nanoseconds.
    Nanoseconds,
}

/// What to log, and how.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LogOptions {
    /// Form of a line.
    pub format: Format,
    /// The operator's own level at start; libraries are logged up to info.
    pub level: LevelFilter,
    /// Form of the time.
    pub time: TimeFormat,
}

/// Why logging could not be set up or changed.
#[derive(Debug, thiserror::Error)]
pub enum LogError {
    /// Not a level and not a list of directives.
    #[error(
        "{directives:?} is not a log level: write off, error, warn, info, debug or trace, or a list such as info,kamaji_operator::controller=debug"
    )]
    Directives {
        /// What was given.
        directives: String,
        /// What is wrong with it.
        #[source]
        source: tracing_subscriber::filter::ParseError,
    },
    /// Logging was set up before in this process.
    #[error("logging is set up already: install it once, at the start of the process")]
    Installed(#[source] tracing::subscriber::SetGlobalDefaultError),
    /// The subscriber is gone.
    #[error("the log level cannot be changed any more: logging has ended")]
    Ended(#[source] reload::Error),
}

impl LogError {
    /// The kind of error as one word, for logs and metrics.
    pub fn category(&self) -> &'static str {
        match self {
            Self::Directives { .. } => "directives",
            Self::Installed(_) => "installed",
            Self::Ended(_) => "ended",
        }
    }
}

/// Reads and changes the level of the running process.
#[derive(Clone, Debug)]
pub struct LogLevel {
    filter: reload::Handle<Targets, Registry>,
    directives: Arc<RwLock<String>>,
}

impl LogLevel {
    /// The directives in force.
    pub fn current(&self) -> String {
        self.directives.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Puts other directives in force: a level word, or a list such as `info,kamaji_operator=debug`.
    ///
    /// # Errors
    /// When the text is neither, or logging has ended.
    pub fn set(&self, directives: &str) -> Result<(), LogError> {
        let targets = targets(directives)?;
        self.filter.reload(targets).map_err(LogError::Ended)?;
        directives.trim().clone_into(&mut self.directives.write().unwrap_or_else(PoisonError::into_inner));
        Ok(())
    }
}

/// The filter for `directives`. A bare level is the operator's own; libraries then say no more than info.
fn targets(directives: &str) -> Result<Targets, LogError> {
    let directives = directives.trim();
    let targets = match directives.parse::<LevelFilter>() {
        Ok(level) => Targets::new().with_default(level.min(LevelFilter::INFO)).with_target("kamaji", level),
        Err(_) => {
            directives.parse().map_err(|source| LogError::Directives { directives: directives.to_owned(), source })?
        }
    };
    // This module of kube logs whole response bodies when they do not parse, Secrets too: never to be heard.
    Ok(targets.with_target("kube_client::client", LevelFilter::OFF))
}

/// Sets up logging for the whole process.
///
/// # Errors
/// When it was set up before.
pub fn install(options: LogOptions) -> Result<LogLevel, LogError> {
    let (subscriber, level) = subscriber(options, std::io::stderr)?;
    tracing::subscriber::set_global_default(subscriber).map_err(LogError::Installed)?;
    Ok(level)
}

/// A subscriber that writes its lines to what `open` opens.
pub(crate) fn subscriber<W: Write + 'static>(
    options: LogOptions,
    open: impl Fn() -> W + Send + Sync + 'static,
) -> Result<(impl Subscriber + Send + Sync, LogLevel), LogError> {
    let directives = options.level.to_string();
    let (filter, handle) = reload::Layer::new(targets(&directives)?);
    let subscriber = Registry::default().with(filter).with(Lines { options, open });
    Ok((subscriber, LogLevel { filter: handle, directives: Arc::new(RwLock::new(directives)) }))
}

/// Writes one line per event.
struct Lines<F> {
    options: LogOptions,
    open: F,
}

/// The fields of one span, kept with it until it closes.
struct SpanFields(Map<String, Value>);

impl<S, W, F> Layer<S> for Lines<F>
where
    S: Subscriber + for<'span> LookupSpan<'span>,
    W: Write,
    F: Fn() -> W + Send + Sync + 'static,
{
    fn on_new_span(&self, attributes: &Attributes<'_>, id: &Id, context: Context<'_, S>) {
        let mut fields = Collect::default();
        attributes.record(&mut fields);
        if let Some(span) = context.span(id) {
            span.extensions_mut().insert(SpanFields(fields.0));
        }
    }

    fn on_record(&self, id: &Id, values: &Record<'_>, context: Context<'_, S>) {
        let mut fields = Collect::default();
        values.record(&mut fields);
        if let Some(span) = context.span(id)
            && let Some(known) = span.extensions_mut().get_mut::<SpanFields>()
        {
            known.0.extend(fields.0);
        }
    }

    fn on_event(&self, event: &Event<'_>, context: Context<'_, S>) {
        let mut fields = Map::new();
        for span in context.event_scope(event).into_iter().flat_map(tracing_subscriber::registry::Scope::from_root) {
            if let Some(known) = span.extensions().get::<SpanFields>() {
                fields.extend(known.0.iter().map(|(key, value)| (key.clone(), value.clone())));
            }
        }
        let mut own = Collect::default();
        event.record(&mut own);
        fields.extend(own.0);
        let message = fields.remove("message").unwrap_or_default();
        let meta = event.metadata();
        let time = self.options.time.render(Timestamp::now());
        let line = match self.options.format {
            Format::Json => json_line(*meta.level(), time, meta.target(), message, fields),
            Format::Console => console_line(*meta.level(), &time, meta.target(), &message, &fields),
        };
        // Nobody is left to tell when standard error is gone.
        let _ = (self.open)().write_all(line.as_bytes());
    }
}

fn json_line(level: Level, time: Value, logger: &str, message: Value, fields: Map<String, Value>) -> String {
    let mut line = Map::new();
    line.insert("level".into(), level_name(level).into());
    line.insert("ts".into(), time);
    line.insert("logger".into(), logger.into());
    line.insert("msg".into(), message);
    for (key, value) in fields {
        // A field must not hide the line's own keys.
        let key = if matches!(key.as_str(), "level" | "ts" | "logger" | "msg") { format!("{key}_") } else { key };
        line.insert(key, value);
    }
    format!("{}\n", Value::Object(line))
}

fn console_line(level: Level, time: &Value, logger: &str, message: &Value, fields: &Map<String, Value>) -> String {
    let level = level_name(level).to_uppercase();
    let mut line = format!("{}\t{level}\t{logger}\t{}", bare(time), bare(message).replace('\n', "\\n"));
    if !fields.is_empty() {
        line.push('\t');
        line.push_str(&serde_json::to_string(fields).unwrap_or_default());
    }
    line.push('\n');
    line
}

fn bare(value: &Value) -> String {
    value.as_str().map_or_else(|| value.to_string(), str::to_owned)
}

fn level_name(level: Level) -> &'static str {
    match level {
        Level::ERROR => "error",
        Level::WARN => "warn",
        Level::INFO => "info",
        Level::DEBUG => "debug",
        Level::TRACE => "trace",
    }
}

impl TimeFormat {
    fn render(self, time: Timestamp) -> Value {
        match self {
            Self::EpochSeconds => time.as_duration().as_secs_f64().into(),
            Self::EpochMilliseconds => (time.as_duration().as_secs_f64() * 1000.0).into(),
            Self::EpochNanoseconds => i64::try_from(time.as_nanosecond()).unwrap_or(i64::MAX).into(),
            Self::Seconds => format!("{time:.0}").into(),
            Self::Milliseconds => format!("{time:.3}").into(),
            Self::Nanoseconds => format!("{time:.9}").into(),
        }
    }
}

/// Collects recorded fields as JSON values.
#[derive(Default)]
struct Collect(Map<String, Value>);

impl Collect {
    fn put(&mut self, field: &Field, value: impl Into<Value>) {
        self.0.insert(field.name().to_owned(), value.into());
    }
}

impl Visit for Collect {
    fn record_f64(&mut self, field: &Field, value: f64) {
        self.put(field, value);
    }
    fn record_i64(&mut self, field: &Field, value: i64) {
        self.put(field, value);
    }
    fn record_u64(&mut self, field: &Field, value: u64) {
        self.put(field, value);
    }
    fn record_bool(&mut self, field: &Field, value: bool) {
        self.put(field, value);
    }
    fn record_str(&mut self, field: &Field, value: &str) {
        self.put(field, value);
    }
    fn record_error(&mut self, field: &Field, value: &(dyn std::error::Error + 'static)) {
        let mut sentence = value.to_string();
        let mut cause = value.source();
        while let Some(next) = cause {
            let text = next.to_string();
            if !sentence.ends_with(&text) {
                sentence = format!("{sentence}: {text}");
            }
            cause = next.source();
        }
        self.put(field, sentence);
    }
    fn record_debug(&mut self, field: &Field, value: &dyn std::fmt::Debug) {
        self.put(field, format!("{value:?}"));
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Mutex;

    use super::*;

    #[derive(Clone, Default)]
    struct Memory(Arc<Mutex<Vec<u8>>>);

    impl Write for Memory {
        fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
            self.0.lock().unwrap().extend_from_slice(bytes);
            Ok(bytes.len())
        }
        fn flush(&mut self) -> std::io::Result<()> {
            Ok(())
        }
    }

    /// Runs `work` under a subscriber with `options` and returns the lines that it wrote.
    fn lines(options: LogOptions, work: impl FnOnce(&LogLevel)) -> Vec<String> {
        let memory = Memory::default();
        let sink = memory.clone();
        let (subscriber, level) = subscriber(options, move || sink.clone()).unwrap();
        tracing::subscriber::with_default(subscriber, || work(&level));
        let bytes = memory.0.lock().unwrap().clone();
        String::from_utf8(bytes).unwrap().lines().map(str::to_owned).collect()
    }

    const JSON: LogOptions =
        LogOptions { format: Format::Json, level: LevelFilter::INFO, time: TimeFormat::Nanoseconds };

    #[test]
    fn every_line_inside_a_span_carries_its_tenant() {
        let lines = lines(JSON, |_| {
            let span = tracing::info_span!("reconcile", tenant = "ns/t", phase = tracing::field::Empty);
            let _entered = span.enter();
            span.record("phase", "Ready");
            tracing::info!(writes = 3, "applied {}", "objects");
        });
        let line: Value = serde_json::from_str(&lines[0]).unwrap();
        assert_eq!(lines.len(), 1);
        assert_eq!((&line["level"], &line["msg"]), (&"info".into(), &"applied objects".into()));
        assert_eq!((&line["tenant"], &line["phase"], &line["writes"]), (&"ns/t".into(), &"Ready".into(), &3.into()));
        assert_eq!(line["logger"], "kamaji_operator::telemetry::log::tests");
        assert!(line["ts"].as_str().unwrap().parse::<Timestamp>().is_ok());
    }

    #[test]
    fn a_field_cannot_forge_the_keys_of_a_line_nor_add_a_line() {
        let json = lines(JSON, |_| tracing::error!(level = "debug", "two\nlines"));
        let line: Value = serde_json::from_str(&json[0]).unwrap();
        assert_eq!((json.len(), &line["level"], &line["level_"]), (1, &"error".into(), &"debug".into()));
        let console = lines(LogOptions { format: Format::Console, ..JSON }, |_| tracing::error!(a = 1, "two\nlines"));
        assert_eq!(console.len(), 1);
        assert!(console[0].contains("\tERROR\tkamaji_operator::telemetry::log::tests\ttwo\\nlines\t{\"a\":1}"));
    }

    #[test]
    fn the_level_changes_while_the_process_runs() {
        let lines = lines(JSON, |level| {
            tracing::debug!("unheard");
            level.set("debug").unwrap();
            tracing::debug!("heard");
            level.set("warn,kamaji_operator::telemetry::log=info").unwrap();
            tracing::debug!("unheard again");
            tracing::info!("heard again");
            assert_eq!(level.current(), "warn,kamaji_operator::telemetry::log=info");
            assert!(matches!(level.set("loud=very=much"), Err(LogError::Directives { .. })));
        });
        let messages: Vec<_> = lines
            .iter()
            .map(|l| serde_json::from_str::<Value>(l).unwrap()["msg"].as_str().unwrap().to_owned())
            .collect();
        assert_eq!(messages, ["heard", "heard again"]);
    }

    #[test]
    fn response_bodies_are_never_logged_at_any_level() {
        let lines = lines(JSON, |level| {
            for directives in
                ["trace", "kube_client=trace", "kube_client::client=trace", "trace,kube_client::client=trace"]
            {
                level.set(directives).unwrap();
                tracing::warn!(target: "kube_client::client", "body");
            }
            level.set("debug").unwrap();
            tracing::debug!(target: "hyper::proto", "library chatter");
            tracing::info!(target: "kube_runtime::watcher", "library");
        });
        assert_eq!(lines.len(), 1, "{lines:?}");
    }

    #[test]
    fn errors_are_logged_with_their_causes() {
        let cause = std::io::Error::other("connection refused");
        let error = anyhow::Error::new(cause).context("Lease kamaji-system/kamaji.clastix.io cannot be read");
        let error: Box<dyn std::error::Error + Send + Sync> = error.into();
        let lines = lines(JSON, |_| {
            tracing::warn!(error = error.as_ref() as &(dyn std::error::Error + 'static), "retrying");
        });
        assert!(lines[0].contains("cannot be read: connection refused"), "{lines:?}");
    }

    #[test]
    fn writes_the_time_in_every_form() {
        let time: Timestamp = "2026-11-20T10:11:12.123456789Z".parse().unwrap();
        let render = |format: TimeFormat| bare(&format.render(time));
        assert_eq!(render(TimeFormat::Seconds), "2026-11-20T10:11:12Z");
        assert_eq!(render(TimeFormat::Milliseconds), "2026-11-20T10:11:12.123Z");
        assert_eq!(render(TimeFormat::Nanoseconds), "2026-11-20T10:11:12.123456789Z");
        assert_eq!(render(TimeFormat::EpochNanoseconds), "1795169472123456789");
        assert!(render(TimeFormat::EpochSeconds).starts_with("1795169472.123"));
    }
}
