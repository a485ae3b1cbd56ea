//! Compiles the sandbox process, statically.

use std::fs;
use std::process::Command;

use anyhow::Result;

use crate::{command, layout, parts};

const SOURCE: &str = include_str!("pause.c");

/// Builds it into the cache unless that holds the same source's.
pub fn ensure() -> Result<()> {
    let dir = layout::cache_dir().join("pause");
    let (source, binary) = (dir.join("pause.c"), dir.join("pause"));
    if binary.is_file() && fs::read_to_string(&source).is_ok_and(|text| text == SOURCE) {
        return Ok(());
    }
    fs::create_dir_all(&dir)?;
    fs::write(&source, SOURCE)?;
    let mut gcc = Command::new("gcc");
    gcc.args(["-Os", "-static", "-s", "-o"]).arg(&binary).arg(&source);
    command::logged("compiling pause", &mut gcc, &parts::log_dir().join("pause.log"), |_| {})
}
