//! What was measured against what was aimed at, as a table and as JSON.

use std::fmt::Write as _;
use std::path::Path;

use anyhow::{Context, Result};
use serde::Serialize;
use serde_json::Value;

use crate::machine::Machine;
use crate::table;

/// Whether the target was met. A miss is a result, not a failure of the command.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub enum Verdict {
    /// As good as the target or better.
    Met,
    /// Worse than the target.
    Missed,
    /// There is no number, or none that means anything: `value` or `numbers` say why.
    NotMeasured,
}

impl Verdict {
    /// Met or missed.
    pub fn met(is_met: bool) -> Self {
        if is_met { Self::Met } else { Self::Missed }
    }

    fn as_str(self) -> &'static str {
        match self {
            Self::Met => "met",
            Self::Missed => "MISSED",
            Self::NotMeasured => "no verdict",
        }
    }
}

/// One row.
#[derive(Debug, Clone, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Measure {
    /// `P1` and so on.
    pub id: &'static str,
    /// What was measured.
    pub what: String,
    /// What is aimed at, with its unit.
    pub target: String,
    /// What came out, with its unit.
    pub value: String,
    /// Compared.
    pub verdict: Verdict,
    /// All single numbers, seconds and MiB unless their name says otherwise.
    pub numbers: Value,
}

impl Measure {
    /// A row without a number.
    pub fn not_measured(id: &'static str, what: &str, target: &str, why: &str) -> Self {
        let (what, target, value) = (what.to_owned(), target.to_owned(), why.to_owned());
        Self { id, what, target, value, verdict: Verdict::NotMeasured, numbers: Value::Null }
    }
}

/// Writes a report as JSON.
///
/// # Errors
/// When the file cannot be written.
pub fn write(path: &Path, report: &impl Serialize) -> Result<()> {
    if let Some(folder) = path.parent().filter(|folder| !folder.as_os_str().is_empty()) {
        std::fs::create_dir_all(folder).with_context(|| format!("cannot create {}", folder.display()))?;
    }
    let text = serde_json::to_string_pretty(report)? + "\n";
    std::fs::write(path, text).with_context(|| format!("cannot write {}", path.display()))
}

/// Everything about one run.
#[derive(Debug, Clone, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Report {
    /// When it began, RFC 3339.
    pub began: String,
    /// The command line.
    pub command: String,
    /// Number of tenants.
    pub tenants: usize,
    /// Where.
    pub machine: Machine,
    /// Load average of the last minute at the end.
    pub load_at_end: String,
    /// What was measured: versions of the cluster, the tenants, the operator.
    pub versions: Value,
    /// The rows.
    pub measures: Vec<Measure>,
    /// Why the run ended early, if it did.
    pub ended_early: Option<String>,
}

impl Report {
    /// The table, with a line about the machine.
    pub fn table(&self) -> String {
        let machine = &self.machine;
        let mut text = format!(
            "{} tenants; {} cores ({}), {} MiB, Linux {}, {}; load {} before, {} after\n\n",
            self.tenants,
            machine.cores,
            machine.processor,
            machine.memory_mib,
            machine.kernel,
            machine.system,
            machine.load_at_start,
            self.load_at_end
        );
        let header = ["", "measure", "target", "value", "verdict"];
        let rows = self.measures.iter().map(|row| [row.id, &row.what, &row.target, &row.value, row.verdict.as_str()]);
        let rows: Vec<Vec<String>> =
            std::iter::once(header).chain(rows).map(|row| row.map(str::to_owned).to_vec()).collect();
        text.push_str(&table::markdown(&rows));
        if let Some(why) = &self.ended_early {
            let _ = writeln!(text, "\nThe run ended early: {why}");
        }
        text
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn report() -> Report {
        Report {
            began: "2026-01-01T00:00:00Z".into(),
            command: "kamaji-bench --tenants 2".into(),
            tenants: 2,
            machine: crate::machine::describe(),
            load_at_end: "0.5".into(),
            versions: json!({}),
            measures: vec![
                Measure {
                    id: "P2",
                    what: "apply to Deployment written".into(),
                    target: "0.25 s".into(),
                    value: "0.31 s".into(),
                    verdict: Verdict::met(0.31 <= 0.25),
                    numbers: json!({"rounds": [0.31]}),
                },
                Measure::not_measured("P5", "memory", "16 MiB", "no process"),
            ],
            ended_early: None,
        }
    }

    #[test]
    fn a_missed_target_stands_in_the_table_in_capitals() {
        let table = report().table();
        assert!(table.contains("| P2 | apply to Deployment written | 0.25 s | 0.31 s     | MISSED     |"), "{table}");
        assert!(table.contains("| P5 | memory                      | 16 MiB | no process | no verdict |"), "{table}");
    }

    #[test]
    fn the_file_holds_every_number_of_the_table() {
        let folder = std::env::temp_dir().join(format!("kamaji-bench-{}", std::process::id()));
        let path = folder.join("report.json");
        write(&path, &report()).unwrap();
        let written: Value = serde_json::from_str(&std::fs::read_to_string(&path).unwrap()).unwrap();
        std::fs::remove_dir_all(&folder).unwrap();
        assert_eq!(written["measures"][0]["verdict"], "missed");
        assert_eq!(written["measures"][0]["numbers"]["rounds"][0], 0.31);
        assert_eq!(written["machine"]["cores"], json!(std::thread::available_parallelism().unwrap().get()));
    }
}
