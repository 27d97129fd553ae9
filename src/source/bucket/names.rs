//! Keys of a bucket as paths of a tree, and back. Any bytes may be in a key, and a key may be the beginning of
//! another; a path's parts are never empty, `.` or `..`, hold no NUL, and none is a file and a directory at once.
//! What can not stay as it is begins with `%`, so that a tree lies within its target wherever it is restored to.
//! Pure; no two keys have one path.
//!
//! | part of a key | part of the path |
//! |---|---|
//! | empty, `.`, `..` | `%`, `%.`, `%..` |
//! | begins with `%` | `%%…` |
//! | has a NUL | `%0…`, with `%00` for NUL and `%25` for `%` |
//! | longer than 240 bytes | `%+…/%+…/%-…` |
//! | an object beside keys below it | `%=…` |

use std::cmp::Ordering;

/// File systems take 255 bytes, and two or four are for the signs.
const PART_LEN_MAX_BYTES: usize = 240;

/// The path of a key, as long as no other key lies below it.
fn path_of(key: &[u8]) -> Vec<u8> {
    let mut path = Vec::with_capacity(key.len() + 8);
    for part in key.split(|byte| *byte == b'/') {
        if !path.is_empty() {
            path.push(b'/');
        }
        push_part(&mut path, part);
    }
    path
}

fn push_part(path: &mut Vec<u8>, part: &[u8]) {
    let text = match part {
        b"" => b"%".to_vec(),
        b"." | b".." => [b"%", part].concat(),
        part if part.contains(&0) => with_nul(part),
        part if part.starts_with(b"%") => [b"%", part].concat(),
        part => part.to_vec(),
    };
    let mut rest = text.as_slice();
    if rest.len() <= PART_LEN_MAX_BYTES {
        path.extend_from_slice(rest);
        return;
    }
    while rest.len() > PART_LEN_MAX_BYTES {
        let (piece, after) = rest.split_at(PART_LEN_MAX_BYTES);
        path.extend_from_slice(b"%+");
        path.extend_from_slice(piece);
        path.push(b'/');
        rest = after;
    }
    path.extend_from_slice(b"%-");
    path.extend_from_slice(rest);
}

fn with_nul(part: &[u8]) -> Vec<u8> {
    let mut text = b"%0".to_vec();
    for byte in part {
        match byte {
            0 => text.extend_from_slice(b"%00"),
            b'%' => text.extend_from_slice(b"%25"),
            byte => text.push(*byte),
        }
    }
    text
}

/// The path of an object that has other keys below it.
fn beside(path: &[u8]) -> Vec<u8> {
    let start = path.iter().rposition(|byte| *byte == b'/');
    let (above, name) = path.split_at(start.map_or(0, |slash| slash + 1));
    [above, b"%=", name].concat()
}

/// The key that has this path; none when no key has.
pub fn key_of(path: &[u8]) -> Option<Vec<u8>> {
    let mut key = Vec::with_capacity(path.len());
    let mut long: Option<Vec<u8>> = None;
    let mut parts = path.split(|byte| *byte == b'/').peekable();
    let mut is_first = true;
    while let Some(mut part) = parts.next() {
        if parts.peek().is_none() {
            part = part.strip_prefix(b"%=").unwrap_or(part);
        }
        if let Some(piece) = part.strip_prefix(b"%+") {
            long.get_or_insert_default().extend_from_slice(piece);
            continue;
        }
        let text = match (long.take(), part.strip_prefix(b"%-")) {
            (Some(before), Some(last)) => [before.as_slice(), last].concat(),
            (None, None) => part.to_vec(),
            _ => return None,
        };
        if !is_first {
            key.push(b'/');
        }
        is_first = false;
        key.extend_from_slice(&plain(&text)?);
    }
    long.is_none().then_some(key)
}

fn plain(text: &[u8]) -> Option<Vec<u8>> {
    match text {
        b"" => None,
        b"%" => Some(Vec::new()),
        b"%." | b"%.." => Some(text[1..].to_vec()),
        text if text.starts_with(b"%%") => Some(text[1..].to_vec()),
        text if text.starts_with(b"%0") => unescaped(&text[2..]),
        text if text.starts_with(b"%") => None,
        text => Some(text.to_vec()),
    }
}

/// With `%XX` for any byte.
pub(crate) fn unescaped(text: &[u8]) -> Option<Vec<u8>> {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text;
    while let Some((first, after)) = rest.split_first() {
        rest = after;
        if *first != b'%' {
            bytes.push(*first);
            continue;
        }
        let digits = str::from_utf8(rest.get(..2)?).ok()?;
        bytes.push(u8::from_str_radix(digits, 16).ok()?);
        rest = &rest[2..];
    }
    Some(bytes)
}

/// The order of a walk: what is in a directory comes before the directory's next sibling.
fn depth_first(a: &[u8], b: &[u8]) -> Ordering {
    let before_all_names = |byte: &u8| if *byte == b'/' { 0 } else { *byte };
    a.iter()
        .map(before_all_names)
        .cmp(b.iter().map(before_all_names))
}

/// Things with a key in the order of a walk, each with its path.
pub fn arranged<T>(things: Vec<T>, key: impl Fn(&T) -> &[u8]) -> Vec<(Vec<u8>, T)> {
    let with_path = |thing: T| (path_of(key(&thing)), thing);
    let mut things: Vec<(Vec<u8>, T)> = things.into_iter().map(with_path).collect();
    let by_path = |a: &(Vec<u8>, T), b: &(Vec<u8>, T)| depth_first(&a.0, &b.0);
    things.sort_unstable_by(by_path);
    let mut is_moved = false;
    for at in 1..things.len() {
        let (before, after) = things.split_at_mut(at);
        let (Some((path, _)), Some((next, _))) = (before.last_mut(), after.first()) else {
            continue;
        };
        if next.starts_with(path) && next.get(path.len()) == Some(&b'/') {
            *path = beside(path);
            is_moved = true;
        }
    }
    if is_moved {
        things.sort_unstable_by(by_path);
    }
    things
}

#[cfg(test)]
mod tests {
    use super::{arranged, beside, key_of, path_of};
    use proptest::prelude::*;

    #[test]
    fn keys_that_are_no_paths_get_one() {
        for (key, path) in [
            ("a/b", "a/b"),
            ("a//b", "a/%/b"),
            ("../x", "%../x"),
            ("./x/..", "%./x/%.."),
            ("dir/", "dir/%"),
            ("/", "%/%"),
            ("100%", "100%"),
            ("%41", "%%41"),
            ("a\0%b", "%0a%00%25b"),
        ] {
            assert_eq!(path_of(key.as_bytes()), path.as_bytes(), "{key}");
            assert_eq!(key_of(path.as_bytes()), Some(key.as_bytes().to_vec()));
        }
        assert_eq!(beside(b"a/b"), b"a/%=b");
        assert_eq!(key_of(b"a/%=b"), Some(b"a/b".to_vec()));
        for nobodys in ["", "a//b", "%x", "%+a", "%-a", "a/%=b/c", "%0%0"] {
            assert_eq!(key_of(nobodys.as_bytes()), None, "{nobodys}");
        }
    }

    #[test]
    fn objects_come_in_the_order_of_a_tree_and_none_is_a_directory_too() {
        let keys = ["a", "a-", "a/b", "a/b/c", "a0", "dir/", "dir/x", "a//b"];
        let all = arranged(keys.to_vec(), |key| key.as_bytes());
        let paths: Vec<_> = all
            .iter()
            .map(|(path, _)| str::from_utf8(path).unwrap())
            .collect();
        assert_eq!(
            paths,
            [
                "%=a", "a/%/b", "a/%=b", "a/b/c", "a-", "a0", "dir/%", "dir/x"
            ]
        );
    }

    proptest! {
        #[test]
        fn every_key_comes_back(key in proptest::collection::vec(
            prop_oneof![Just(b'/'), Just(b'%'), Just(b'.'), Just(0u8), any::<u8>()], 1..1024)) {
            let path = path_of(&key);
            for part in path.split(|byte| *byte == b'/') {
                prop_assert!(!part.is_empty() && part != b"." && part != b".." && part.len() <= 253);
                prop_assert!(!part.contains(&0));
            }
            prop_assert_eq!(key_of(&path), Some(key.clone()));
            prop_assert_eq!(key_of(&beside(&path)), Some(key));
        }
    }
}
