//! Trees: every node reads back, leaves cut where names say, and hostile ones are refused.

use crate::repository::format::noise;
use ccb::model::ids::BlobId;
use ccb::model::tree::{Content, Node, NodeKind, Special};
use ccb::repository::format::FormatError;
use ccb::repository::format::tree::{
    LeafRef, Tree, decode_content_list, decode_tree, encode_content_lists, encode_leaves,
    encode_tree_list,
};
use proptest::prelude::{Just, Strategy, any, prop_assert_eq, prop_oneof, proptest};

fn node(name: &[u8], kind: NodeKind) -> Node {
    Node {
        name: name.to_vec(),
        kind,
        mode: 0o644,
        uid: 1000,
        gid: 100,
        user: Some("ada".into()),
        group: None,
        mtime_ns: 1_700_000_000_123_456_789,
        ctime_ns: -1,
        inode: 7,
        device: 8,
        hard_link: None,
        xattrs: Vec::new(),
        unknown: Vec::new(),
    }
}

fn empty_file(name: &[u8]) -> Node {
    let kind = NodeKind::File {
        size: 0,
        content: Content::default(),
        extents: Vec::new(),
    };
    node(name, kind)
}

fn leaf(nodes: &[Node]) -> Vec<u8> {
    let mut leaves = encode_leaves(nodes).unwrap();
    assert_eq!(leaves.len(), 1);
    leaves.remove(0).blob
}

fn kinds() -> impl Strategy<Value = NodeKind> {
    let special = prop_oneof![
        Just(Special::Block),
        Just(Special::Character),
        Just(Special::Fifo),
        Just(Special::Socket)
    ];
    prop_oneof![
        (1u64.., 1usize..20, any::<bool>()).prop_map(|(size, blobs, is_list)| NodeKind::File {
            size,
            content: Content {
                blobs: vec![BlobId([size as u8; 32]); blobs],
                is_list
            },
            extents: if size > 10 {
                vec![(0, 3), (5, size - 5)]
            } else {
                Vec::new()
            },
        }),
        Just(empty_file(b"x").kind),
        any::<[u8; 32]>().prop_map(|id| NodeKind::Directory {
            tree: Some(BlobId(id))
        }),
        proptest::collection::vec(1u8.., 1..50).prop_map(|target| NodeKind::Symlink { target }),
        (special, any::<u64>()).prop_map(|(what, rdev)| NodeKind::Special { what, rdev }),
    ]
}

fn nodes() -> impl Strategy<Value = Node> {
    let name = proptest::collection::vec(1u8.., 3..40).prop_map(|mut name| {
        name.iter_mut()
            .filter(|byte| **byte == b'/')
            .for_each(|byte| *byte = b'_');
        name
    });
    let times = (any::<i128>(), any::<i128>(), any::<u32>(), any::<u32>());
    let rest = (
        any::<u64>(),
        any::<Option<u64>>(),
        any::<Option<String>>(),
        0u64..3,
        0u8..4,
    );
    (name, kinds(), times, rest).prop_map(|(name, kind, times, rest)| {
        let mut node = node(&name, kind);
        (node.mtime_ns, node.ctime_ns, node.mode, node.uid) = times;
        (node.inode, node.hard_link, node.user) = (rest.0, rest.1, rest.2);
        node.unknown = (0..rest.3).map(|tag| (1000 + tag, vec![9; 5])).collect();
        node.xattrs = (0..rest.4)
            .map(|at| (vec![b'a' + at], vec![0; 7]))
            .collect();
        node
    })
}

proptest! {
    #![proptest_config(proptest::prelude::ProptestConfig::with_cases(64))]
    #[test]
    fn every_node_reads_back(entries in proptest::collection::btree_map(
        proptest::collection::vec(1u8..47, 1..9), nodes(), 0..40)) {
        let entries: Vec<Node> = entries
            .into_iter()
            .filter(|(name, _)| name != b"." && name != b"..")
            .map(|(name, node)| Node { name, ..node })
            .collect();
        prop_assert_eq!(decode_tree(&leaf(&entries)), Ok(Tree::Leaf(entries)));
    }
}

#[test]
fn a_cut_off_tree_is_refused_and_no_altered_byte_leads_to_a_panic() {
    let mut file = empty_file(b"file");
    file.xattrs = vec![(b"user.a".to_vec(), b"value".to_vec())];
    file.unknown = vec![(99, b"later".to_vec())];
    let target = b"../elsewhere".to_vec();
    let blob = leaf(&[file, node(b"link", NodeKind::Symlink { target })]);
    for at in 0..blob.len() {
        assert!(decode_tree(&blob[..at]).is_err(), "length {at}");
        for value in 0..=255 {
            let mut altered = blob.clone();
            altered[at] = value;
            if let Ok(Tree::Leaf(nodes)) = decode_tree(&altered) {
                assert!(nodes.iter().all(|node| !node.name.contains(&b'/')));
            }
        }
    }
    assert!(decode_tree(&[blob, vec![0]].concat()).is_err());
}

#[test]
fn names_that_leave_their_directory_are_refused_on_both_sides() {
    for bad in [&b""[..], b".", b"..", b"a/b", b"/", b"../x", b"a\0b"] {
        assert!(encode_leaves(&[empty_file(bad)]).is_err(), "{bad:?}");
        // What a hostile writer would make: a good leaf, its name replaced by one of equal length.
        let good = vec![b'q'; bad.len().max(1)];
        let mut blob = leaf(&[empty_file(&good)]);
        if bad.is_empty() {
            continue;
        }
        let at = blob
            .windows(good.len())
            .rposition(|part| part == good)
            .unwrap();
        blob[at..at + bad.len()].copy_from_slice(bad);
        let refused = decode_tree(&blob).unwrap_err();
        assert!(
            refused.to_string().contains("no name of a file"),
            "{refused}"
        );
        let list = [(b"a".as_slice(), 1), (bad, 2)].map(|(name, id)| LeafRef {
            first_name: name.to_vec(),
            id: BlobId([id; 32]),
        });
        assert!(decode_tree(&encode_tree_list(&list)).is_err());
    }
    // A name of no bytes: the field is there and empty, and the other way, it is missing.
    assert!(decode_tree(&[1, 1, 1, 1, 3, 1, 0]).is_err());
    assert!(decode_tree(&[1, 1, 1, 1, 2, 1, 0]).is_err());
    assert!(decode_tree(&[1, 1, 1, 1, 3, 1, 1, b'a']).is_ok());
}

#[test]
fn entries_out_of_order_or_twice_are_refused() {
    let (a, b) = (empty_file(b"a"), empty_file(b"b"));
    assert!(encode_leaves(&[b.clone(), a.clone()]).is_err());
    assert!(encode_leaves(&[a.clone(), a.clone()]).is_err());
    let blob = leaf(&[a, b]);
    for (from, to) in [(b'b', b'a'), (b'a', b'c')] {
        let mut altered = blob.clone();
        // The name is the field with tag 1 and length 1.
        let at = altered
            .windows(3)
            .position(|part| part == [1, 1, from])
            .unwrap();
        altered[at + 2] = to;
        let refused = decode_tree(&altered).unwrap_err();
        assert!(refused.to_string().contains("in order"), "{refused}");
    }
}

#[test]
fn unknown_kinds_and_versions_are_named_and_misplaced_fields_refused() {
    let later = decode_tree(&[2, 1, 0]);
    assert!(matches!(later, Err(FormatError::Version { found: 2, .. })));
    let unknown = decode_tree(&[1, 1, 1, 9, 3, 1, 1, b'a']);
    assert!(matches!(unknown, Err(FormatError::Feature { .. })));
    // A file with a link's target (18), a link without one, a directory without a tree.
    assert!(decode_tree(&[1, 1, 1, 1, 6, 1, 1, b'a', 18, 1, b'x']).is_err());
    assert!(decode_tree(&[1, 1, 1, 3, 3, 1, 1, b'a']).is_err());
    assert!(decode_tree(&[1, 1, 1, 2, 3, 1, 1, b'a']).is_err());
    // A file of 5 bytes without content.
    assert!(decode_tree(&[1, 1, 1, 1, 6, 1, 1, b'a', 13, 1, 5]).is_err());
    let unfinished = node(b"d", NodeKind::Directory { tree: None });
    assert!(encode_leaves(&[unfinished]).is_err());
}

#[test]
fn extents_lie_in_order_within_the_file() {
    let file = |extents: Vec<(u64, u64)>| {
        let content = Content {
            blobs: vec![BlobId([1; 32])],
            is_list: false,
        };
        let size = 100;
        node(
            b"f",
            NodeKind::File {
                size,
                content,
                extents,
            },
        )
    };
    assert!(encode_leaves(&[file(vec![(0, 10), (50, 50)])]).is_ok());
    for wrong in [
        vec![(0, 101)],
        vec![(50, 10), (0, 10)],
        vec![(0, 10), (5, 10)],
        vec![(u64::MAX, 2)],
    ] {
        assert!(encode_leaves(&[file(wrong)]).is_err());
    }
}

#[test]
fn a_large_directory_is_cut_and_one_new_name_rewrites_one_leaf() {
    let names = (0..20_000).map(|n| format!("file-{n:06}"));
    let entries: Vec<Node> = names.map(|name| empty_file(name.as_bytes())).collect();
    let before = encode_leaves(&entries).unwrap();
    assert!((20..150).contains(&before.len()), "{} leaves", before.len());
    let mut more = entries.clone();
    more.insert(10_001, empty_file(b"file-010000-new"));
    let after = encode_leaves(&more).unwrap();
    let new = after.iter().filter(|leaf| !before.contains(leaf)).count();
    assert!(
        (1..=3).contains(&new),
        "{new} of {} leaves are new",
        after.len()
    );

    let read: Vec<Node> = before
        .iter()
        .flat_map(|leaf| match decode_tree(&leaf.blob) {
            Ok(Tree::Leaf(nodes)) => {
                assert!(nodes.len() <= 4096);
                assert_eq!(nodes[0].name, leaf.first_name);
                nodes
            }
            other => panic!("{other:?}"),
        })
        .collect();
    assert_eq!(read, entries);
    let refs: Vec<LeafRef> = before
        .iter()
        .map(|leaf| LeafRef {
            first_name: leaf.first_name.clone(),
            id: BlobId(*blake3::hash(&leaf.blob).as_bytes()),
        })
        .collect();
    let list = encode_tree_list(&refs);
    assert_eq!(decode_tree(&list), Ok(Tree::List(refs)));
    for len in (0..list.len()).step_by(7) {
        assert!(decode_tree(&list[..len]).is_err());
    }
}

#[test]
fn an_empty_directory_is_one_empty_leaf() {
    assert_eq!(decode_tree(&leaf(&[])), Ok(Tree::Leaf(Vec::new())));
}

#[test]
fn huge_attributes_end_a_leaf_early() {
    let entries: Vec<Node> = (0..100)
        .map(|at| {
            let mut file = empty_file(format!("{at:03}").as_bytes());
            file.xattrs = vec![(b"user.big".to_vec(), noise(at, 65_536))];
            file
        })
        .collect();
    let leaves = encode_leaves(&entries).unwrap();
    assert!(leaves.len() > 5 && leaves.iter().all(|leaf| leaf.blob.len() < 2 << 20));
}

#[test]
fn content_lists_read_back_and_a_change_rewrites_few() {
    let ids: Vec<BlobId> = (0..50_000u64)
        .map(|n| BlobId(*blake3::hash(&n.to_le_bytes()).as_bytes()))
        .collect();
    let lists = encode_content_lists(&ids);
    let read: Vec<BlobId> = lists
        .iter()
        .flat_map(|list| decode_content_list(list).unwrap())
        .collect();
    assert_eq!(read, ids);
    let mut changed = ids.clone();
    changed.insert(25_000, BlobId([1; 32]));
    let after = encode_content_lists(&changed);
    let new = after.iter().filter(|list| !lists.contains(list)).count();
    assert!(
        (1..=3).contains(&new),
        "{new} of {} lists are new",
        after.len()
    );
    for len in [0, 1, 2, 10, lists[0].len() - 1] {
        assert!(decode_content_list(&lists[0][..len]).is_err());
    }
    assert!(decode_tree(&lists[0]).is_err());
    assert!(decode_content_list(&leaf(&[])).is_err());
    assert!(encode_content_lists(&[]).is_empty());
}
