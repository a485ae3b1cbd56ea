//! A bounded load: calls one after the other or some at a time, until they are done or their time is up.

use std::future::ready;
use std::time::Duration;

use anyhow::{Context as _, Result};
use futures::{StreamExt as _, stream};
use serde::Serialize;
use tokio::time::{Instant, timeout};

use crate::operator::usage_of;
use crate::statistics::{number, percentile};

/// A call that takes longer has failed.
pub const CALL: Duration = Duration::from_secs(10);

/// How much is asked for.
#[derive(Debug, Clone, Copy)]
pub struct Bounds {
    /// Calls that are under way together.
    pub at_a_time: usize,
    /// Calls in all.
    pub most: usize,
    /// After this no further one is begun.
    pub time: Duration,
}

/// What a call has done.
#[derive(Debug, Clone, Copy, Default)]
pub struct Answer {
    /// How long the tenant took.
    pub took: Duration,
    /// Objects that were read or written.
    pub objects: usize,
}

/// What came of a load.
#[derive(Debug, Clone, Default, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Figure {
    /// Objects per second.
    pub rate: f64,
    /// The rate as a multiple of that on etcd in the same round.
    pub to_etcd: Option<f64>,
    /// Objects that were read or written.
    pub objects: usize,
    /// Calls that succeeded.
    pub calls: usize,
    /// How long it was.
    pub seconds: f64,
    /// CPU time of this program meanwhile, in seconds: it shares the machine with what it measures.
    pub own_cpu: Option<f64>,
    /// Of a call that succeeded.
    pub median_milliseconds: Option<f64>,
    /// As slow as the slowest hundredth of the calls that succeeded.
    pub p99_milliseconds: Option<f64>,
    /// Calls that failed.
    pub errors: usize,
    /// Why the first of them did.
    pub first_error: Option<String>,
}

impl Figure {
    /// Calls that were begun.
    pub fn begun(&self) -> usize {
        self.calls + self.errors
    }

    fn of(outcomes: Vec<Result<Answer>>, elapsed: Option<Duration>, cpu_before: Option<Duration>) -> Self {
        let own_cpu = own_cpu().zip(cpu_before).map(|(now, before)| now.saturating_sub(before).as_secs_f64());
        let mut figure = Self { own_cpu, ..Self::default() };
        let mut times = Vec::new();
        for outcome in outcomes {
            match outcome {
                Ok(answer) => {
                    figure.objects += answer.objects;
                    times.push(answer.took);
                }
                Err(error) => {
                    figure.errors += 1;
                    figure.first_error.get_or_insert_with(|| format!("{error:#}"));
                }
            }
        }
        let milliseconds: Vec<f64> = times.iter().map(|time| time.as_secs_f64() * 1000.0).collect();
        figure.calls = times.len();
        figure.median_milliseconds = percentile(&milliseconds, 0.5);
        figure.p99_milliseconds = percentile(&milliseconds, 0.99);
        figure.seconds = elapsed.unwrap_or_else(|| times.iter().sum()).as_secs_f64();
        if figure.seconds > 0.0 {
            figure.rate = number(figure.objects) / figure.seconds;
        }
        figure
    }
}

/// Calls with 0, 1 and so on. The time is that from the first call to the end of the last.
pub async fn run(bounds: Bounds, call: impl AsyncFn(usize) -> Result<usize>) -> Figure {
    let (began, cpu_before) = (Instant::now(), own_cpu());
    let outcomes = stream::iter(0..bounds.most)
        .take_while(|_| ready(began.elapsed() < bounds.time))
        .map(async |index| {
            let asked = Instant::now();
            let objects = timeout(CALL, call(index)).await.context("no answer in time")??;
            Ok(Answer { took: asked.elapsed(), objects })
        })
        .buffer_unordered(bounds.at_a_time)
        .collect()
        .await;
    Figure::of(outcomes, Some(began.elapsed()), cpu_before)
}

/// Calls again and again, one after the other, at least once. The time is what the calls say that they took: what they do
/// with an answer is not the tenant's.
pub async fn repeat(most: usize, time: Duration, call: impl AsyncFn() -> Result<Answer>) -> Figure {
    let (began, cpu_before) = (Instant::now(), own_cpu());
    let mut outcomes = Vec::new();
    while outcomes.is_empty() || (outcomes.len() < most && began.elapsed() < time) {
        let answer = timeout(CALL, call()).await.context("no answer in time");
        outcomes.push(answer.and_then(|answer| answer));
    }
    Figure::of(outcomes, None, cpu_before)
}

fn own_cpu() -> Option<Duration> {
    Some(usage_of(std::process::id())?.cpu)
}

#[cfg(test)]
mod tests {
    use std::cell::Cell;

    use anyhow::ensure;
    use tokio::time::sleep;

    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    #[tokio::test(start_paused = true)]
    async fn no_more_calls_are_under_way_than_was_said_and_failures_are_no_objects() {
        let (now, most) = (Cell::new(0), Cell::new(0));
        let bounds = Bounds { at_a_time: 4, most: 20, time: 60 * SECOND };
        let figure = run(bounds, async |index| {
            now.set(now.get() + 1);
            most.set(most.get().max(now.get()));
            sleep(SECOND).await;
            now.set(now.get() - 1);
            ensure!(index % 5 != 0, "refused {index}");
            Ok(1)
        })
        .await;
        assert_eq!((most.get(), figure.objects, figure.errors), (4, 16, 4));
        assert_eq!(figure.first_error.as_deref(), Some("refused 0"));
        assert!((figure.rate - 3.2).abs() < 0.01, "16 objects in 5 s: {}", figure.rate);
    }

    #[tokio::test(start_paused = true)]
    async fn a_load_ends_when_its_time_is_up() {
        let bounds = Bounds { at_a_time: 1, most: 1000, time: 3 * SECOND };
        let figure = run(bounds, async |_| {
            sleep(SECOND).await;
            Ok(1)
        })
        .await;
        assert_eq!(figure.begun(), 3);
    }

    #[tokio::test(start_paused = true)]
    async fn a_tenant_that_does_not_answer_is_an_error_and_not_waited_for() {
        let bounds = Bounds { at_a_time: 2, most: 2, time: SECOND };
        let figure = run(bounds, async |_| {
            sleep(3600 * SECOND).await;
            Ok(1)
        })
        .await;
        assert_eq!((figure.errors, figure.median_milliseconds), (2, None));
        assert_eq!(figure.first_error.as_deref(), Some("no answer in time: deadline has elapsed"));
    }

    #[tokio::test(start_paused = true)]
    async fn what_is_done_with_an_answer_is_not_the_tenants_time() {
        let figure = repeat(3, 60 * SECOND, async || {
            sleep(5 * SECOND).await;
            Ok(Answer { took: SECOND, objects: 500 })
        })
        .await;
        assert_eq!((figure.calls, figure.objects), (3, 1500));
        assert!((figure.rate - 500.0).abs() < 0.01, "{}", figure.rate);
    }
}
