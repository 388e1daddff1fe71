//! What resolution must know of this host.

use pm2::schema::{Host, User};
use std::io::Read;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::Command;

/// This machine.
pub(crate) struct Machine;

/// As much of a file as tells text from data.
const SNIFF: u64 = 512;

impl Host for Machine {
    fn exists(&self, path: &Path) -> bool {
        path.exists()
    }

    fn find_program(&self, name: &str) -> Option<PathBuf> {
        if name.is_empty() || name.contains('/') {
            return None;
        }
        let path = std::env::var_os("PATH")?;
        std::env::split_paths(&path)
            .map(|folder| folder.join(name))
            .find(|path| {
                path.metadata()
                    .is_ok_and(|meta| meta.is_file() && meta.permissions().mode() & 0o111 != 0)
            })
    }

    fn looks_binary(&self, path: &Path) -> bool {
        let mut bytes = Vec::new();
        match std::fs::File::open(path) {
            // Nobody could interpret it either.
            Err(_) => path.exists(),
            Ok(file) => file.take(SNIFF).read_to_end(&mut bytes).is_ok() && is_binary(&bytes),
        }
    }

    fn node_version(&self) -> Option<(u32, u32)> {
        let output = Command::new(self.find_program("node")?)
            .arg("--version")
            .output()
            .ok()?;
        let text = String::from_utf8(output.stdout).ok()?;
        let mut parts = text.trim().strip_prefix('v')?.split('.');
        Some((parts.next()?.parse().ok()?, parts.next()?.parse().ok()?))
    }

    fn user(&self, name: &str) -> Option<User> {
        let user = os::users::user(name)?;
        Some(User {
            uid: user.uid,
            gid: user.gid,
            home: user.home.to_string_lossy().into_owned(),
        })
    }

    fn group(&self, name: &str) -> Option<u32> {
        os::users::group_id(name)
    }
}

/// A NUL byte, or more than a tenth of bytes that no text has. UTF-8 is text.
fn is_binary(bytes: &[u8]) -> bool {
    if bytes.contains(&0) {
        return true;
    }
    let valid = match std::str::from_utf8(bytes) {
        Ok(_) => bytes.len(),
        // The cut may have gone through a letter.
        Err(e) if e.error_len().is_none() => bytes.len(),
        Err(e) => e.valid_up_to(),
    };
    let control = |b: &&u8| matches!(**b, 0x01..=0x06 | 0x0e..=0x1a | 0x1c..=0x1f | 0x7f);
    let odd = bytes[..valid].iter().filter(control).count()
        + bytes[valid..]
            .iter()
            .filter(|b| control(b) || !b.is_ascii())
            .count();
    odd * 10 > bytes.len()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_and_data() {
        for text in [
            b"#!/bin/sh\n".as_slice(),
            b"",
            "// grün\n".as_bytes(),
            "日本語".as_bytes(),
            b"caf\xe9 and a lot of other text",
        ] {
            assert!(!is_binary(text), "{text:?}");
        }
        for data in [
            b"\x7fELF\x02\x01\x01\0\0".as_slice(),
            b"\xff\xd8\xff\xe0\x10\x11",
            b"\x01\x02\x03",
        ] {
            assert!(is_binary(data), "{data:?}");
        }
        let cut = &"é".repeat(300).into_bytes()[..511];
        assert!(!is_binary(cut));
    }

    #[test]
    fn programs_are_found_in_path() {
        let sh = Machine.find_program("sh").unwrap();
        assert!(sh.is_absolute() && sh.ends_with("sh"));
        assert_eq!(Machine.find_program("no-such-program-anywhere"), None);
        assert_eq!(Machine.find_program("../sh"), None);
        assert!(Machine.looks_binary(&std::env::current_exe().unwrap()));
        assert!(!Machine.looks_binary(Path::new("/no/such/file")));
        assert_eq!(Machine.user("root").map(|user| user.uid), Some(0));
    }
}
