use super::*;

fn draft(documents: &str) -> Draft<'_> {
    Draft {
        documents,
        secrets: "s",
        author: "me",
        message: "",
        names: vec!["a".into()],
        created_unix: 7,
        wanted: Vec::new(),
    }
}

fn open(root: &Path) -> Revisions {
    Revisions::open(root).unwrap()
}

#[test]
fn what_was_added_and_pointed_to_is_there_again() {
    let folder = tempfile::tempdir().unwrap();
    let mut revisions = open(folder.path());
    assert_eq!(revisions.pointers(), &Pointers::default());
    let first = revisions.add(&draft("one")).unwrap();
    let second = revisions.add(&draft("two")).unwrap();
    assert_eq!((first.id, second.id), (1, 2));
    revisions.point(|p| (p.current, p.blessed) = (Some(2), Some(1))).unwrap();
    let again = open(folder.path());
    assert_eq!(again.ids().unwrap(), [1, 2]);
    assert_eq!(again.pointers(), &Pointers { current: Some(2), blessed: Some(1), ..Pointers::default() });
    let revision = again.load(2).unwrap();
    assert_eq!((&*revision.documents, &**revision.secrets, revision.meta), ("two", "s", second));
    assert!(matches!(again.load(3), Err(Error::Unknown(3))));
}

#[test]
fn a_number_is_never_used_again() {
    let folder = tempfile::tempdir().unwrap();
    let mut revisions = open(folder.path());
    revisions.point(|p| p.current = Some(41)).unwrap();
    assert_eq!(revisions.add(&draft("x")).unwrap().id, 42);
}

#[test]
fn old_ones_make_room_and_those_that_count_stay() {
    let folder = tempfile::tempdir().unwrap();
    let mut revisions = open(folder.path());
    for n in 0..KEPT + 10 {
        let id = revisions.add(&draft(&n.to_string())).unwrap().id;
        if id == 2 {
            revisions.point(|p| p.blessed = Some(2)).unwrap();
        }
    }
    let ids = revisions.ids().unwrap();
    assert_eq!(ids.len(), KEPT + 1);
    assert!(ids.contains(&2) && !ids.contains(&3) && ids.contains(&(KEPT as u64 + 10)));
}

#[test]
fn damage_is_told() {
    let folder = tempfile::tempdir().unwrap();
    let mut revisions = open(folder.path());
    revisions.add(&draft("one")).unwrap();
    let file = folder.path().join("revisions/00000001/documents.yaml");
    fs::write(&file, "two").unwrap();
    assert!(matches!(revisions.load(1), Err(Error::Damaged { id: 1, .. })));
    fs::write(&file, [0xff]).unwrap();
    assert!(matches!(revisions.load(1), Err(Error::Damaged { id: 1, .. })));
    fs::remove_file(&file).unwrap();
    assert!(matches!(revisions.load(1), Err(Error::Damaged { id: 1, .. })));
}

#[test]
fn a_torn_write_of_the_pointers_leaves_those_before() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join(POINTERS);
    let mut revisions = open(folder.path());
    revisions.point(|p| p.current = Some(1)).unwrap();
    let before = fs::read(&path).unwrap();
    revisions.point(|p| p.current = Some(2)).unwrap();
    let after = fs::read(&path).unwrap();
    assert_eq!(before.len(), after.len(), "preallocated");
    for cut in (0..after.len()).step_by(37) {
        let torn: Vec<u8> = [&after[..cut], &before[cut..]].concat();
        fs::write(&path, torn).unwrap();
        let current = open(folder.path()).pointers().current;
        assert!(matches!(current, Some(1 | 2)), "cut at {cut}: {current:?}");
    }
    // The very first write of all.
    for cut in (0..COPY).step_by(37) {
        fs::write(&path, [&before[..cut], &vec![0; 2 * COPY - cut][..]].concat()).unwrap();
        assert!(matches!(open(folder.path()).pointers().current, None | Some(1)));
    }
    fs::write(&path, vec![7; 2 * COPY]).unwrap();
    assert!(matches!(Revisions::open(folder.path()), Err(Error::Pointers)));
}

#[test]
fn one_that_was_being_written_is_cleared_away() {
    let folder = tempfile::tempdir().unwrap();
    drop(open(folder.path()));
    let half = folder.path().join("revisions/.new");
    fs::create_dir(&half).unwrap();
    fs::write(half.join("documents.yaml"), "half").unwrap();
    let mut revisions = open(folder.path());
    assert!(!half.exists());
    assert_eq!(revisions.add(&draft("x")).unwrap().id, 1);
}
