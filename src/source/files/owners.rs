//! Names of users and groups, from `/etc/passwd` and `/etc/group`. Users that only a directory
//! service knows keep their numbers.

use std::collections::HashMap;
use std::fs;

/// Names by number and numbers by name, read once.
#[derive(Debug, Clone, Default)]
pub struct Owners {
    users: HashMap<u32, String>,
    groups: HashMap<u32, String>,
}

impl Owners {
    /// What this machine knows. A file that can not be read knows nobody.
    pub fn of_this_machine() -> Self {
        let read = |path| fs::read(path).unwrap_or_default();
        Self::parse(&read("/etc/passwd"), &read("/etc/group"))
    }

    /// Reads the two files' texts: `name:password:number:...` on each line.
    pub fn parse(passwd: &[u8], group: &[u8]) -> Self {
        Self {
            users: names(passwd),
            groups: names(group),
        }
    }

    /// Name of a user.
    pub fn user(&self, uid: u32) -> Option<&str> {
        self.users.get(&uid).map(String::as_str)
    }
    /// Name of a group.
    pub fn group(&self, gid: u32) -> Option<&str> {
        self.groups.get(&gid).map(String::as_str)
    }
    /// Number of the user of that name; the lowest where there are several.
    pub fn uid(&self, name: &str) -> Option<u32> {
        number(&self.users, name)
    }
    /// Number of the group of that name; the lowest where there are several.
    pub fn gid(&self, name: &str) -> Option<u32> {
        number(&self.groups, name)
    }
}

fn names(text: &[u8]) -> HashMap<u32, String> {
    let mut names = HashMap::new();
    for line in String::from_utf8_lossy(text).lines() {
        let mut fields = line.split(':');
        let (Some(name), Some(_), Some(id)) = (fields.next(), fields.next(), fields.next()) else {
            continue;
        };
        if let (false, Ok(id)) = (name.is_empty(), id.parse()) {
            // As getpwuid does, the first line that has the number names it.
            names.entry(id).or_insert_with(|| name.to_owned());
        }
    }
    names
}

fn number(names: &HashMap<u32, String>, name: &str) -> Option<u32> {
    names
        .iter()
        .filter(|(_, known)| *known == name)
        .map(|(id, _)| *id)
        .min()
}

#[cfg(test)]
mod tests {
    use crate::source::files::owners::Owners;

    #[test]
    fn the_first_line_with_a_number_names_it_and_broken_lines_are_passed_over() {
        let owners = Owners::parse(
            b"root:x:0:0:root:/root:/bin/sh\ntoor:x:0:0::/:/bin/sh\nbroken\n:x:7:\nana:x:1000:1000::/:/bin/sh\n",
            b"wheel:x:10:ana\nbad:x:ten:\n",
        );
        assert_eq!(owners.user(0), Some("root"));
        assert_eq!(owners.user(7), None);
        assert_eq!(owners.uid("ana"), Some(1000));
        assert_eq!(owners.group(10), Some("wheel"));
        assert_eq!(owners.gid("bad"), None);
    }
}
