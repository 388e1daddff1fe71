//! Users and groups of `/etc/passwd` and `/etc/group`. Directory services (LDAP and the like) are not asked: that needs
//! code of others inside this process; numeric ids always work.

use std::path::PathBuf;

/// One line of `/etc/passwd`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct User {
    /// Login name.
    pub name: String,
    /// User id.
    pub uid: u32,
    /// Primary group.
    pub gid: u32,
    /// Home directory.
    pub home: PathBuf,
    /// Login shell.
    pub shell: PathBuf,
}

/// The user of a name, or of a number given as text.
#[must_use]
pub fn user(name_or_id: &str) -> Option<User> {
    let passwd = read("/etc/passwd");
    let id: Option<u32> = name_or_id.parse().ok();
    users_in(&passwd)
        .find(|user| user.name == name_or_id)
        .or_else(|| users_in(&passwd).find(|user| Some(user.uid) == id))
}

/// The user of an id.
#[must_use]
pub fn user_by_id(uid: u32) -> Option<User> {
    users_in(&read("/etc/passwd")).find(|user| user.uid == uid)
}

/// The user this process runs as, by its effective id.
#[must_use]
pub fn current() -> Option<User> {
    user_by_id(effective_ids().0)
}

/// (effective user id, effective group id) of this process.
#[must_use]
pub fn effective_ids() -> (u32, u32) {
    (
        rustix::process::geteuid().as_raw(),
        rustix::process::getegid().as_raw(),
    )
}

/// The id of a group name, or of a number given as text (which need not exist).
#[must_use]
pub fn group_id(name_or_id: &str) -> Option<u32> {
    groups_in(&read("/etc/group"))
        .find(|(name, ..)| *name == name_or_id)
        .map(|(_, gid, _)| gid)
        .or_else(|| name_or_id.parse().ok())
}

/// All groups of a user as `initgroups` would set them: `primary` first, then those that list the name.
#[must_use]
pub fn groups_of(user_name: &str, primary: u32) -> Vec<u32> {
    groups_for(&read("/etc/group"), user_name, primary)
}

fn groups_for(group_file: &str, user_name: &str, primary: u32) -> Vec<u32> {
    let mut ids = vec![primary];
    for (_, gid, members) in groups_in(group_file) {
        if !ids.contains(&gid) && members.split(',').any(|member| member == user_name) {
            ids.push(gid);
        }
    }
    ids
}

fn read(path: &str) -> String {
    std::fs::read(path)
        .map(|bytes| String::from_utf8_lossy(&bytes).into_owned())
        .unwrap_or_default()
}

fn users_in(text: &str) -> impl Iterator<Item = User> {
    text.lines().filter_map(|line| {
        let mut fields = line.split(':');
        let name = fields.next()?.to_owned();
        let uid = fields.nth(1)?.parse().ok()?;
        let gid = fields.next()?.parse().ok()?;
        let home = fields.nth(1)?.into();
        let shell = fields.next().unwrap_or("").into();
        Some(User {
            name,
            uid,
            gid,
            home,
            shell,
        })
    })
}

fn groups_in(text: &str) -> impl Iterator<Item = (&str, u32, &str)> {
    text.lines().filter_map(|line| {
        let mut fields = line.split(':');
        let name = fields.next()?;
        let gid = fields.nth(1)?.parse().ok()?;
        Some((name, gid, fields.next().unwrap_or("")))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_are_read_and_broken_ones_skipped() {
        let text =
            "root:x:0:0:root:/root:/bin/bash\nbroken:x:\n# a comment\nweb:x:33:34::/var/www:/sbin/nologin\n";
        let users: Vec<_> = users_in(text).collect();
        assert_eq!(users.len(), 2);
        assert_eq!(
            (users[1].name.as_str(), users[1].uid, users[1].gid),
            ("web", 33, 34)
        );
        assert_eq!(users[1].home, PathBuf::from("/var/www"));
    }

    #[test]
    fn a_users_groups() {
        let text = "root:x:0:\nweb:x:34:\ndocker:x:99:ann,web\nadm:x:4:webmaster\n";
        assert_eq!(groups_for(text, "web", 34), [34, 99]);
    }

    #[test]
    fn root_is_zero_everywhere() {
        assert_eq!(user("root").unwrap().uid, 0);
        assert_eq!(user("0").unwrap().name, "root");
        assert_eq!(group_id("root"), Some(0));
        assert_eq!(group_id("4242"), Some(4242));
        assert_eq!(user("no such user"), None);
    }
}
