//! Writes the one layer of an image as a tar archive.

use std::collections::BTreeSet;
use std::fs::File;
use std::io::{BufWriter, Read, Write};
use std::path::Path;

use anyhow::{Context, Result};
use tar::{Builder, EntryType, Header};

use super::table::Entry;

/// The `security.capability` attribute of a file with `cap_net_bind_service=ep`: `vfs_cap_data` of version 2 with the
/// effective flag, permitted bit 10, see capabilities(7).
const CAP_NET_BIND_SERVICE: [u8; 20] = {
    let mut bytes = [0; 20];
    bytes[0] = 1;
    bytes[3] = 2;
    bytes[5] = 1 << 2;
    bytes
};

/// Writes `entries`, each with its parent folders, to `out`. Same entries, same bytes.
pub fn write(entries: &[Entry], out: &Path) -> Result<()> {
    let file = File::create(out).with_context(|| format!("cannot write {}", out.display()))?;
    let mut layer = Layer { tar: Builder::new(BufWriter::with_capacity(1 << 20, file)), dirs: BTreeSet::new() };
    layer.folder("tmp")?;
    for entry in entries {
        match entry {
            Entry::File { from, to, mode, binds_low_ports } => {
                let file = File::open(from).with_context(|| format!("cannot read {}", from.display()))?;
                if *binds_low_ports {
                    layer.parents(to)?;
                    let attribute = ("SCHILY.xattr.security.capability", CAP_NET_BIND_SERVICE.as_slice());
                    layer.tar.append_pax_extensions([attribute])?;
                }
                let length = file.metadata()?.len();
                layer.file(to, *mode, length, file)?;
            }
            Entry::Text { to, text } => layer.file(to, 0o644, text.len() as u64, text.as_bytes())?,
            Entry::Link { at, target } => {
                layer.parents(at)?;
                let mut header = header(EntryType::Symlink, 0o777, 0);
                layer.tar.append_link(&mut header, relative(at), target)?;
            }
        }
    }
    layer.tar.into_inner()?.flush()?;
    Ok(())
}

struct Layer<W: Write> {
    tar: Builder<W>,
    dirs: BTreeSet<String>,
}

impl<W: Write> Layer<W> {
    fn file(&mut self, to: &str, mode: u32, length: u64, content: impl Read) -> Result<()> {
        self.parents(to)?;
        let mut header = header(EntryType::Regular, mode, length);
        Ok(self.tar.append_data(&mut header, relative(to), content)?)
    }

    fn parents(&mut self, path: &str) -> Result<()> {
        match relative(path).rsplit_once('/') {
            Some((parent, _)) => self.folder(parent),
            None => Ok(()),
        }
    }

    fn folder(&mut self, path: &str) -> Result<()> {
        if self.dirs.contains(path) {
            return Ok(());
        }
        self.parents(path)?;
        let mode = if path == "tmp" { 0o1777 } else { 0o755 };
        let mut header = header(EntryType::Directory, mode, 0);
        self.tar.append_data(&mut header, format!("{path}/"), std::io::empty())?;
        self.dirs.insert(path.to_owned());
        Ok(())
    }
}

fn header(kind: EntryType, mode: u32, length: u64) -> Header {
    let mut header = Header::new_ustar();
    header.set_entry_type(kind);
    header.set_mode(mode);
    header.set_size(length);
    header.set_uid(0);
    header.set_gid(0);
    header.set_mtime(0);
    header
}

fn relative(path: &str) -> &str {
    path.trim_start_matches('/')
}

#[cfg(test)]
mod tests {
    use super::*;

    fn archive(entries: &[Entry]) -> Vec<u8> {
        let out =
            std::env::temp_dir().join(format!("layer-{}-{:?}.tar", std::process::id(), std::thread::current().id()));
        write(entries, &out).unwrap();
        let bytes = std::fs::read(&out).unwrap();
        std::fs::remove_file(out).unwrap();
        bytes
    }

    #[test]
    fn a_file_comes_after_its_folders_and_keeps_its_capability() {
        let from = std::env::current_exe().unwrap();
        let file = Entry::File { from, to: "/usr/bin/x".into(), mode: 0o755, binds_low_ports: true };
        let bytes = archive(&[file]);
        let mut tar = tar::Archive::new(bytes.as_slice());
        let mut names = Vec::new();
        let mut attribute = None;
        for entry in tar.entries().unwrap() {
            let mut entry = entry.unwrap();
            names.push(entry.path().unwrap().display().to_string());
            for extension in entry.pax_extensions().unwrap().into_iter().flatten() {
                let extension = extension.unwrap();
                attribute = Some((extension.key().unwrap().to_owned(), extension.value_bytes().to_vec()));
            }
        }
        assert_eq!(names, ["tmp/", "usr/", "usr/bin/", "usr/bin/x"]);
        let (key, value) = attribute.unwrap();
        assert_eq!(key, "SCHILY.xattr.security.capability");
        assert_eq!(value, [1, 0, 0, 2, 0, 4, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0]);
    }

    #[test]
    fn the_same_entries_give_the_same_bytes() {
        let entries = [
            Entry::Text { to: "/etc/passwd".into(), text: "root" },
            Entry::Link { at: "/bin/sh".into(), target: "x".into() },
        ];
        assert_eq!(archive(&entries), archive(&entries));
    }
}
