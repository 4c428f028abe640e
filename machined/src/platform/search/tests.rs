use std::collections::VecDeque;
use std::sync::{Arc, Mutex};

use futures_util::future::BoxFuture;
use reconcile::Store;
use tokio::sync::Notify;
use zeroize::Zeroizing;

use super::*;
use crate::platform::Input;

/// Says one thing after the other, each when it is told to look again.
struct Fake {
    id: &'static str,
    says: VecDeque<Finding>,
    again: Arc<Notify>,
}

impl Source for Fake {
    fn id(&self) -> &'static str {
        self.id
    }
    fn name(&self) -> &'static str {
        &self.id[3..]
    }
    fn look<'a>(&'a mut self, _: &'a Look) -> BoxFuture<'a, Finding> {
        async { self.says.pop_front().unwrap_or(Finding::Nothing { why: "no more".into() }) }.boxed()
    }
    fn changed<'a>(&'a mut self, _: &'a Look) -> BoxFuture<'a, ()> {
        self.again.notified().boxed()
    }
}

fn nothing() -> Finding {
    Finding::Nothing { why: "empty".into() }
}

fn wrong() -> Finding {
    Finding::Wrong { why: "a cloud-config".into() }
}

fn text(text: &str) -> Finding {
    let input = Input { text: Zeroizing::new(text.into()), from: format!("a disk with {text}") };
    Finding::Found(crate::platform::Found { input, instance_id: "i-1".into() })
}

/// A search under way.
struct Running {
    store: Store,
    folder: tempfile::TempDir,
    wanted: watch::Sender<Wanted>,
    verdict: watch::Receiver<Verdict>,
    again: [Arc<Notify>; 2],
    taken: Arc<Mutex<Vec<String>>>,
    task: tokio::task::JoinHandle<()>,
}

/// `first` and `second` are what two sources say; what is taken as `bad` is refused once.
#[expect(clippy::disallowed_methods, reason = "ends with the test's runtime")]
fn start(folder: tempfile::TempDir, first: Vec<Finding>, second: Vec<Finding>) -> Running {
    let store = Store::new();
    let (wanted, asked) = watch::channel(Wanted::Unknown);
    let (told, verdict) = watch::channel(Verdict::Looking);
    let events = Events::open(&store, folder.path().join("events")).unwrap();
    let world = World { store: store.clone(), events, run: folder.path().into(), wanted: asked, verdict: told };
    let again = [Arc::new(Notify::new()), Arc::new(Notify::new())];
    let fake = |id, says: Vec<Finding>, at: usize| -> Box<dyn Source> {
        Box::new(Fake { id, says: says.into(), again: again[at].clone() })
    };
    let search = Search::with(world, vec![fake("10-first", first, 0), fake("20-second", second, 1)]).unwrap();
    let taken = Arc::new(Mutex::new(Vec::new()));
    let takes = taken.clone();
    let refused = Mutex::new(false);
    let task = tokio::spawn(search.run(move |input| {
        let bad = *input.text == "bad" && !std::mem::replace(&mut *refused.lock().unwrap(), true);
        takes.lock().unwrap().push(input.text.to_string());
        async move { if bad { Err("the disk is full".into()) } else { Ok(()) } }
    }));
    Running { store, folder, wanted, verdict, again, taken, task }
}

impl Running {
    async fn until(&mut self, wanted: impl Fn(&Verdict) -> bool) {
        let within = Duration::from_secs(600);
        tokio::time::timeout(within, self.verdict.wait_for(wanted)).await.expect("in time").unwrap();
    }

    fn states(&self) -> String {
        let list = self.store.list::<ConfigSource>();
        list.iter().map(|source| source.value.state.name()).collect::<Vec<_>>().join(" ")
    }
}

fn folder() -> tempfile::TempDir {
    tempfile::tempdir().unwrap()
}

#[tokio::test(start_paused = true)]
async fn the_first_that_has_something_is_taken_and_the_rest_are_not_asked() {
    let mut run = start(folder(), vec![nothing()], vec![text("good")]);
    assert_eq!(run.states(), "waiting waiting waiting waiting");
    run.wanted.send_replace(Wanted::Yes);
    run.until(|verdict| matches!(verdict, Verdict::Taken(from) if from == "a disk with good")).await;
    assert_eq!(run.states(), "nothing nothing used skipped");
    assert_eq!(run.store.get::<ConfigSource>("20-second").unwrap().value.instance_id, "i-1");
    run.wanted.send_replace(Wanted::No("revision 1".into()));
    tokio::time::sleep(Duration::from_secs(1)).await;
    assert_eq!(run.states(), "nothing nothing used skipped", "it stays known where it was from");

    let mut run = start(folder(), vec![text("image")], vec![text("good")]);
    run.wanted.send_replace(Wanted::Yes);
    run.until(|verdict| matches!(verdict, Verdict::Taken(_))).await;
    assert_eq!((run.states().as_str(), run.taken.lock().unwrap().len()), ("nothing used skipped skipped", 1));
}

#[tokio::test(start_paused = true)]
async fn a_configured_machine_asks_nobody() {
    let mut run = start(folder(), vec![wrong()], vec![]);
    run.wanted.send_replace(Wanted::No("revision 7".into()));
    run.until(|verdict| matches!(verdict, Verdict::Taken(_))).await;
    assert_eq!(run.states(), "used skipped skipped skipped");
}

#[tokio::test(start_paused = true)]
async fn nothing_opens_and_a_disk_that_comes_later_counts() {
    let mut run = start(folder(), vec![nothing(), text("late")], vec![nothing()]);
    run.wanted.send_replace(Wanted::Yes);
    run.until(|verdict| *verdict == Verdict::Nothing).await;
    assert_eq!(run.states(), "nothing nothing nothing waiting");
    run.again[0].notify_one();
    run.until(|verdict| matches!(verdict, Verdict::Taken(_))).await;
    assert_eq!(*run.taken.lock().unwrap(), ["late"]);

    // Configured by whoever came first.
    let mut run = start(folder(), vec![], vec![]);
    run.wanted.send_replace(Wanted::Yes);
    run.until(|verdict| *verdict == Verdict::Nothing).await;
    run.wanted.send_replace(Wanted::No("revision 1".into()));
    run.until(|verdict| matches!(verdict, Verdict::Taken(_))).await;
    assert_eq!(run.states(), "nothing nothing nothing used");
}

#[tokio::test(start_paused = true)]
async fn wrong_closes_for_good_and_a_right_one_is_still_taken() {
    let mut run = start(folder(), vec![nothing(), nothing(), text("right")], vec![wrong(), nothing()]);
    run.wanted.send_replace(Wanted::Yes);
    run.until(|verdict| *verdict == Verdict::Wrong("second: a cloud-config".into())).await;
    assert_eq!(run.states(), "nothing nothing wrong skipped");
    // The disk is pulled: closed all the same, also for the next machined of this boot.
    run.again[1].notify_one();
    tokio::time::sleep(Duration::from_secs(1)).await;
    assert!(matches!(&*run.verdict.borrow(), Verdict::Wrong(_)));
    assert_eq!(run.states(), "nothing nothing nothing skipped");
    run.task.abort();
    let mut next = start(run.folder, vec![nothing(), text("right")], vec![nothing()]);
    assert!(matches!(&*next.verdict.borrow(), Verdict::Wrong(_)));
    next.wanted.send_replace(Wanted::Yes);
    tokio::time::sleep(Duration::from_secs(1)).await;
    assert!(matches!(&*next.verdict.borrow(), Verdict::Wrong(_)));
    next.again[0].notify_one();
    next.until(|verdict| matches!(verdict, Verdict::Taken(_))).await;
    assert!(!next.folder.path().join("config-source-wrong").exists());
}

#[tokio::test(start_paused = true)]
async fn an_earlier_source_that_is_wrong_ends_the_search_and_a_refusal_is_tried_again() {
    let mut run = start(folder(), vec![wrong()], vec![text("good")]);
    run.wanted.send_replace(Wanted::Yes);
    run.until(|verdict| matches!(verdict, Verdict::Wrong(_))).await;
    assert_eq!((run.states().as_str(), run.taken.lock().unwrap().len()), ("nothing wrong skipped skipped", 0));

    let mut run = start(folder(), vec![text("bad"), text("bad")], vec![]);
    run.wanted.send_replace(Wanted::Yes);
    run.until(|verdict| matches!(verdict, Verdict::Wrong(why) if why.contains("the disk is full"))).await;
    // After a while, by itself.
    run.until(|verdict| matches!(verdict, Verdict::Taken(_))).await;
    assert_eq!(*run.taken.lock().unwrap(), ["bad", "bad"]);
}
