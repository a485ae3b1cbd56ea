//! What a run of the end-to-end tests came to, from ginkgo's JSON report.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use serde_json::Value;

/// Counts by special interest group, and what failed.
#[derive(Debug, Default)]
pub struct Summary {
    groups: BTreeMap<String, (usize, usize)>,
    /// Full names of the tests that failed, with the first line of the reason.
    pub failed: Vec<(String, String)>,
}

impl Summary {
    /// Reads a report. What is no test, or was not run, does not count.
    pub fn of(report: &Value) -> Self {
        let mut summary = Self::default();
        let suites = report.as_array().into_iter().flatten();
        for test in suites.filter_map(|suite| suite.get("SpecReports")?.as_array()).flatten() {
            let text = |key: &str| test.get(key).and_then(Value::as_str).unwrap_or_default();
            if text("LeafNodeType") != "It" {
                continue;
            }
            let passed = match text("State") {
                "passed" => true,
                "skipped" | "pending" => continue,
                _ => false,
            };
            let name = name(test);
            let group = name.split(']').next().unwrap_or_default().trim_start_matches('[').to_owned();
            let counts = summary.groups.entry(group).or_default();
            if passed {
                counts.0 += 1;
            } else {
                counts.1 += 1;
                let message = test.pointer("/Failure/Message").and_then(Value::as_str).unwrap_or_default();
                let line = message.lines().find(|line| !line.trim().is_empty()).unwrap_or("it gave no reason");
                summary.failed.push((name, line.trim().to_owned()));
            }
        }
        summary
    }

    /// Tests that passed.
    pub fn passed(&self) -> usize {
        self.groups.values().map(|counts| counts.0).sum()
    }

    /// A table for people.
    pub fn table(&self) -> String {
        let mut text = format!("{:24} {:>7} {:>7}\n", "", "passed", "failed");
        for (group, (passed, failed)) in &self.groups {
            let _ = writeln!(text, "{group:24} {passed:>7} {failed:>7}");
        }
        let _ = writeln!(text, "{:24} {:>7} {:>7}", "all", self.passed(), self.failed.len());
        for (name, reason) in &self.failed {
            let _ = write!(text, "\nfailed: {name}\n  {reason}\n");
        }
        text
    }
}

fn name(test: &Value) -> String {
    let containers = test.get("ContainerHierarchyTexts").and_then(Value::as_array).into_iter().flatten();
    let leaf = test.get("LeafNodeText");
    containers.chain(leaf).filter_map(Value::as_str).collect::<Vec<_>>().join(" ")
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn counts_what_ran_and_keeps_the_reason_of_a_failure() {
        let test = |state: &str, kind: &str| {
            json!({
                "ContainerHierarchyTexts": ["[sig-apps] Deployment"], "LeafNodeText": "rolls", "LeafNodeType": kind,
                "State": state, "Failure": {"Message": "\n timed out\nmore"},
            })
        };
        let specs = [
            test("passed", "It"),
            test("failed", "It"),
            test("skipped", "It"),
            test("passed", "SynchronizedBeforeSuite"),
        ];
        let summary = Summary::of(&json!([{"SpecReports": specs}]));
        assert_eq!(summary.passed(), 1);
        assert_eq!(summary.failed, [("[sig-apps] Deployment rolls".to_owned(), "timed out".to_owned())]);
        assert!(summary.table().contains("sig-apps                       1       1"), "{}", summary.table());
    }
}
