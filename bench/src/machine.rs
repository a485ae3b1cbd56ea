//! What the numbers were measured on.

use std::fs;
use std::path::Path;

use anyhow::{Result, bail};
use serde::Serialize;

/// Memory that one tenant needs, in MiB, and that must stay free besides.
const TENANT_MIB: usize = 300;
const RESERVE_MIB: usize = 1024;

/// The machine, as its kernel describes it.
#[derive(Debug, Clone, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Machine {
    /// Processors that this process may use.
    pub cores: usize,
    /// Model of the first processor.
    pub processor: String,
    /// Memory in MiB.
    pub memory_mib: u64,
    /// Memory that can be had without swapping, in MiB, at the start.
    pub memory_available_mib: u64,
    /// Kernel release.
    pub kernel: String,
    /// Name of the distribution.
    pub system: String,
    /// Load average of the last minute at the start: what else kept the machine busy.
    pub load_at_start: String,
}

impl Machine {
    /// Whether so many tenants have room.
    ///
    /// # Errors
    /// When they do not.
    pub fn check_room_for(&self, tenants: usize) -> Result<()> {
        let (needed, available) = (TENANT_MIB * tenants + RESERVE_MIB, self.memory_available_mib);
        if u64::try_from(needed).is_ok_and(|needed| needed <= available) {
            return Ok(());
        }
        bail!("{tenants} tenants need {needed} MiB of memory, and {available} MiB are available")
    }
}

/// Reads the description from `/proc`; what cannot be read is empty or zero.
pub fn describe() -> Machine {
    let meminfo = read("/proc/meminfo");
    let mebibytes = |key: &str| field(&meminfo, key).and_then(|text| text.parse::<u64>().ok()).unwrap_or(0) / 1024;
    Machine {
        cores: std::thread::available_parallelism().map_or(0, std::num::NonZero::get),
        processor: field(&read("/proc/cpuinfo"), "model name").unwrap_or_default(),
        memory_mib: mebibytes("MemTotal"),
        memory_available_mib: mebibytes("MemAvailable"),
        kernel: read("/proc/sys/kernel/osrelease").trim().to_owned(),
        system: system(&read("/etc/os-release")),
        load_at_start: load(),
    }
}

/// Load average of the last minute, or empty.
pub fn load() -> String {
    read("/proc/loadavg").split_whitespace().next().unwrap_or_default().to_owned()
}

fn read(path: impl AsRef<Path>) -> String {
    fs::read_to_string(path).unwrap_or_default()
}

/// Value of the first `key : value` line, without a unit that follows a number.
fn field(text: &str, key: &str) -> Option<String> {
    let (_, value) = text.lines().filter_map(|line| line.split_once(':')).find(|(name, _)| name.trim() == key)?;
    let value = value.trim();
    Some(value.strip_suffix(" kB").unwrap_or(value).to_owned())
}

fn system(os_release: &str) -> String {
    let name = os_release.lines().find_map(|line| line.strip_prefix("PRETTY_NAME="));
    name.unwrap_or_default().trim_matches('"').to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_the_lines_of_proc_with_and_without_a_unit() {
        let text = "MemTotal:       24689012 kB\nmodel name\t: A CPU @ 2.00GHz\nmodel name\t: B\n";
        assert_eq!(field(text, "MemTotal").unwrap(), "24689012");
        assert_eq!(field(text, "model name").unwrap(), "A CPU @ 2.00GHz");
        assert_eq!(field(text, "none"), None);
    }

    #[test]
    fn tenants_without_room_are_refused_with_what_they_need() {
        let machine = Machine { memory_available_mib: 2224, ..describe() };
        assert!(machine.check_room_for(4).is_ok());
        let refused = machine.check_room_for(5).unwrap_err().to_string();
        assert_eq!(refused, "5 tenants need 2524 MiB of memory, and 2224 MiB are available");
    }

    #[test]
    fn names_the_distribution() {
        assert_eq!(system("ID=debian\nPRETTY_NAME=\"Debian GNU/Linux 12\"\n"), "Debian GNU/Linux 12");
    }
}
