//! The few rows of the operator's metrics that the benchmark reads.

use std::collections::BTreeMap;

/// Rows of one scrape.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Metrics {
    rows: BTreeMap<String, f64>,
}

const WRITES: &str = "kamaji_writes_total{";
const LEADS: &str = "leader_election_master_status{";
const BUILD: &str = "kamaji_build_info{";

impl Metrics {
    /// Reads Prometheus' text format; what it does not understand it leaves out.
    pub fn parse(text: &str) -> Self {
        let rows = text.lines().filter(|line| !line.starts_with('#')).filter_map(|line| {
            let (name, value) = line.rsplit_once(' ')?;
            Some((name.to_owned(), value.parse().ok()?))
        });
        Self { rows: rows.collect() }
    }

    /// Write requests so far, by the labels `cluster` and `verb` as they stand in the row. Renewals of the Lease are not
    /// among them.
    pub fn writes(&self) -> BTreeMap<String, f64> {
        self.starting(WRITES).map(|(name, value)| (name.trim_end_matches('}').to_owned(), value)).collect()
    }

    /// Write requests since `earlier`, without the rows that did not move.
    pub fn writes_since(&self, earlier: &Self) -> BTreeMap<String, f64> {
        let earlier = earlier.writes();
        let moved = self.writes().into_iter().map(|(name, value)| {
            let before = earlier.get(&name).copied().unwrap_or(0.0);
            (name, value - before)
        });
        moved.filter(|(_, value)| *value != 0.0).collect()
    }

    /// Whether this process says that it leads.
    pub fn leads(&self) -> bool {
        self.starting(LEADS).any(|(_, value)| value > 0.0)
    }

    /// Labels of the build, as they stand in the row.
    pub fn build(&self) -> Option<String> {
        self.starting(BUILD).next().map(|(labels, _)| labels.trim_end_matches('}').to_owned())
    }

    fn starting<'a>(&'a self, prefix: &'a str) -> impl Iterator<Item = (&'a str, f64)> {
        self.rows.iter().filter_map(move |(name, value)| Some((name.strip_prefix(prefix)?, *value)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TEXT: &str = "# TYPE kamaji_writes_total counter\n\
        kamaji_writes_total{cluster=\"management\",verb=\"apply\"} 12\n\
        kamaji_writes_total{cluster=\"management\",verb=\"status\"} 3\n\
        leader_election_master_status{name=\"kamaji.clastix.io\"} 1\n\
        kamaji_build_info{version=\"0.1.0\",commit=\"unknown\"} 1\n";

    #[test]
    fn only_rows_that_moved_count_as_writes() {
        let later = TEXT.replace("\"apply\"} 12", "\"apply\"} 14");
        let writes = Metrics::parse(&later).writes_since(&Metrics::parse(TEXT));
        assert_eq!(writes, BTreeMap::from([("cluster=\"management\",verb=\"apply\"".to_owned(), 2.0)]));
    }

    #[test]
    fn reads_who_leads_and_what_was_built() {
        let metrics = Metrics::parse(TEXT);
        assert!(metrics.leads());
        assert_eq!(metrics.build().unwrap(), "version=\"0.1.0\",commit=\"unknown\"");
        assert!(!Metrics::parse(&TEXT.replace("io\"} 1", "io\"} 0")).leads());
    }
}
