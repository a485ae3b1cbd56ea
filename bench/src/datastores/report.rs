//! What each datastore gave in each round, as a table and as JSON.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use serde::Serialize;
use serde_json::Value;

use super::load::Figure;
use crate::machine::Machine;
use crate::table;

/// The datastore that the others are compared with.
pub const REFERENCE: &str = "etcd";

/// What is measured, in this order.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "camelCase")]
pub enum What {
    /// Objects are created one after the other.
    CreateAlone,
    /// Objects are created, some at a time.
    Create,
    /// Single objects are read.
    Get,
    /// Objects get another content.
    Update,
    /// All are read, as `kubectl` does: the content from the API server's memory.
    List,
    /// All are read from the datastore by one request.
    ListStored,
    /// All are read from the datastore in pages.
    ListPages,
}

impl What {
    const ALL: [Self; 7] =
        [Self::CreateAlone, Self::Create, Self::Get, Self::Update, Self::List, Self::ListStored, Self::ListPages];

    pub(super) fn describe(self) -> String {
        let (many, page) = (super::AT_A_TIME, super::PAGE);
        match self {
            Self::CreateAlone => "create, one at a time".to_owned(),
            Self::Create => format!("create, {many} at a time"),
            Self::Get => format!("get, {many} at a time"),
            Self::Update => format!("update, {many} at a time"),
            Self::List => "list, newest".to_owned(),
            Self::ListStored => "list from the datastore".to_owned(),
            Self::ListPages => format!("list from the datastore, {page} a page"),
        }
    }
}

/// One datastore in one round.
#[derive(Debug, Clone, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Turn {
    /// The datastore.
    pub data_store: &'static str,
    /// Counted from 1.
    pub round: usize,
    /// When it began, RFC 3339.
    pub began: String,
    /// Load average of the last minute before it.
    pub load: String,
    /// What came out.
    pub figures: BTreeMap<What, Figure>,
}

/// Everything about one run.
#[derive(Debug, Clone, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Report {
    /// When it began, RFC 3339.
    pub began: String,
    /// The command line.
    pub command: String,
    /// Objects that are created at a time.
    pub objects: usize,
    /// Where.
    pub machine: Machine,
    /// Load average of the last minute at the end.
    pub load_at_end: String,
    /// Versions of the cluster, the tenants, and the servers.
    pub versions: Value,
    /// In the order in which they were measured.
    pub turns: Vec<Turn>,
    /// Why the run ended early, if it did.
    pub ended_early: Option<String>,
}

impl Report {
    /// Compares with etcd, each round for itself.
    pub fn compare(&mut self) {
        let reference: BTreeMap<(usize, What), f64> = self
            .turns
            .iter()
            .filter(|turn| turn.data_store == REFERENCE)
            .flat_map(|turn| turn.figures.iter().map(|(what, figure)| ((turn.round, *what), figure.rate)))
            .collect();
        for turn in &mut self.turns {
            for (what, figure) in &mut turn.figures {
                let rate = reference.get(&(turn.round, *what)).filter(|rate| **rate > 0.0);
                figure.to_etcd = rate.map(|rate| figure.rate / rate);
            }
        }
    }

    /// Objects per second: a column per datastore, in a cell all rounds, in brackets what they are to etcd.
    pub fn table(&self) -> String {
        let machine = &self.machine;
        let mut text = format!(
            "objects of 1 KiB per second, per round (as a multiple of {REFERENCE}); {} cores ({}), {} MiB, Linux {}, {}; \
             load {} before, {} after\n\n",
            machine.cores,
            machine.processor,
            machine.memory_mib,
            machine.kernel,
            machine.system,
            machine.load_at_start,
            self.load_at_end
        );
        let mut stores: Vec<&str> = Vec::new();
        for turn in &self.turns {
            if !stores.contains(&turn.data_store) {
                stores.push(turn.data_store);
            }
        }
        let header = std::iter::once("").chain(stores.iter().copied()).map(str::to_owned).collect();
        let rows = What::ALL.map(|what| {
            let cells = stores.iter().map(|store| self.cell(store, what));
            std::iter::once(what.describe()).chain(cells).collect()
        });
        let rows: Vec<Vec<String>> = std::iter::once(header).chain(rows).collect();
        text.push_str(&table::markdown(&rows));
        for turn in &self.turns {
            for (what, figure) in &turn.figures {
                if let Some(error) = &figure.first_error {
                    let (store, round, calls) = (turn.data_store, turn.round, figure.begun());
                    let what = what.describe();
                    let _ = writeln!(
                        text,
                        "\n{store}, round {round}, {what}: {} of {calls} calls failed: {error}",
                        figure.errors
                    );
                }
            }
        }
        if let Some(why) = &self.ended_early {
            let _ = writeln!(text, "\nThe run ended early: {why}");
        }
        text
    }

    fn cell(&self, store: &str, what: What) -> String {
        let turns = self.turns.iter().filter(|turn| turn.data_store == store);
        let mut figures: Vec<(usize, &Figure)> =
            turns.filter_map(|turn| Some((turn.round, turn.figures.get(&what)?))).collect();
        figures.sort_by_key(|(round, _)| *round);
        let joined = |texts: Vec<String>| texts.join(", ");
        let mut cell = joined(figures.iter().map(|(_, figure)| format!("{:.0}", figure.rate)).collect());
        let ratios: Vec<String> =
            figures.iter().filter_map(|(_, figure)| figure.to_etcd.map(|ratio| format!("{ratio:.2}"))).collect();
        if store != REFERENCE && !ratios.is_empty() {
            let _ = write!(cell, " ({})", joined(ratios));
        }
        match figures.iter().map(|(_, figure)| figure.errors).sum::<usize>() {
            0 => {}
            1 => cell.push_str(", 1 error"),
            errors => {
                let _ = write!(cell, ", {errors} errors");
            }
        }
        cell
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn turn(data_store: &'static str, round: usize, rate: f64, errors: usize) -> Turn {
        let first_error = (errors > 0).then(|| "refused".to_owned());
        let figure = Figure { rate, calls: 9, errors, first_error, ..Figure::default() };
        let figures = BTreeMap::from([(What::Create, figure)]);
        Turn { data_store, round, began: String::new(), load: String::new(), figures }
    }

    fn report() -> Report {
        let mut report = Report {
            began: String::new(),
            command: String::new(),
            objects: 10,
            machine: crate::machine::describe(),
            load_at_end: String::new(),
            versions: Value::Null,
            // The second round goes the other way.
            turns: vec![
                turn("etcd", 1, 400.0, 0),
                turn("NATS", 1, 100.0, 0),
                turn("NATS", 2, 150.0, 1),
                turn("etcd", 2, 200.0, 0),
            ],
            ended_early: None,
        };
        report.compare();
        report
    }

    #[test]
    fn each_round_is_compared_with_etcd_in_the_same_round() {
        let table = report().table();
        let row = table.lines().find(|line| line.contains("create, 16 at a time")).unwrap();
        let cells: Vec<&str> = row.split('|').map(str::trim).collect();
        assert_eq!(cells[2..4], ["400, 200", "100, 150 (0.25, 0.75), 1 error"], "{table}");
    }

    #[test]
    fn a_failed_call_is_told_with_its_reason() {
        let table = report().table();
        let wanted = "NATS, round 2, create, 16 at a time: 1 of 10 calls failed: refused";
        assert!(table.contains(wanted), "{table}");
    }

    #[test]
    fn the_file_names_what_was_measured() {
        let written = serde_json::to_value(report()).unwrap();
        assert_eq!(written["turns"][1]["figures"]["create"]["toEtcd"], json!(0.25));
        assert_eq!(written["turns"][2]["dataStore"], "NATS");
    }
}
