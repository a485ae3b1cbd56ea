//! What the user sees while something takes long: one line per step with its elapsed time.

use std::io::IsTerminal;
use std::time::{Duration, Instant};

use indicatif::{MultiProgress, ProgressBar, ProgressStyle};

/// The steps on the screen. Bars on a terminal, plain lines elsewhere.
pub struct Progress {
    bars: Option<MultiProgress>,
}

/// One running step; call [`Step::done`], else it counts as failed.
pub struct Step {
    bar: Option<(MultiProgress, ProgressBar)>,
    name: String,
    started: Instant,
    finished: bool,
}

impl Progress {
    /// Bars if standard error is a terminal.
    pub fn new() -> Self {
        let terminal = std::io::stderr().is_terminal();
        Self { bars: terminal.then(MultiProgress::new) }
    }

    /// Starts a step.
    pub fn step(&self, name: impl Into<String>) -> Step {
        let name = name.into();
        let bar = self.bars.as_ref().map(|bars| {
            let bar = bars.add(ProgressBar::new_spinner());
            if let Ok(style) = ProgressStyle::with_template("{spinner} {prefix:28} {elapsed:>5}  {wide_msg:.dim}") {
                bar.set_style(style);
            }
            bar.set_prefix(name.clone());
            bar.enable_steady_tick(Duration::from_millis(120));
            (bars.clone(), bar)
        });
        if bar.is_none() {
            eprintln!("{:>6}  {name}", "...");
        }
        Step { bar, name, started: Instant::now(), finished: false }
    }

    /// Writes lines above the bars.
    pub fn print(&self, text: &str) {
        match &self.bars {
            Some(bars) => bars.suspend(|| eprintln!("{text}")),
            None => eprintln!("{text}"),
        }
    }
}

impl Step {
    /// Says what the step is doing now. Only shown on a terminal.
    pub fn note(&self, text: &str) {
        if let Some((_, bar)) = &self.bar {
            bar.set_message(text.trim().to_owned());
        }
    }

    /// Ends the step and says what came of it.
    pub fn done(mut self, outcome: &str) {
        self.finished = true;
        self.end("ok", outcome);
    }

    fn end(&self, sign: &str, outcome: &str) {
        let line = format!("{sign:>6}  {:28} {:>7}  {outcome}", self.name, elapsed(self.started.elapsed()));
        match &self.bar {
            Some((bars, bar)) => {
                // What a bar shows is wiped when something else is written: its last line is text of its own.
                bar.finish_and_clear();
                bars.remove(bar);
                bars.suspend(|| eprintln!("{line}"));
            }
            None => eprintln!("{line}"),
        }
    }
}

impl Drop for Step {
    fn drop(&mut self) {
        if !self.finished {
            self.end("failed", "");
        }
    }
}

/// `3.2 s` below a minute, `2m 07s` above.
pub fn elapsed(time: Duration) -> String {
    if time < Duration::from_mins(1) {
        format!("{:.1} s", time.as_secs_f32())
    } else {
        format!("{}m {:02}s", time.as_secs() / 60, time.as_secs() % 60)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_told_to_the_second() {
        let told = [3_240, 59_000, 60_000, 127_900, 3_661_000].map(|ms| elapsed(Duration::from_millis(ms)));
        assert_eq!(told, ["3.2 s", "59.0 s", "1m 00s", "2m 07s", "61m 01s"]);
    }
}
