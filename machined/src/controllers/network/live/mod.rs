//! All controllers of the network as they run on a node, against a real kernel and a real server: the node and the server have
//! a network namespace each, with a cable between them; the server is dnsmasq. Needs root and dnsmasq (`hack/setup` installs
//! it); says so and passes without.
//!
//! A namespace belongs to a thread, so each side has one; whatever the node's side starts stays on its thread.

mod bond;
mod lease;
mod restart;
mod server;

use std::io::Write as _;
use std::path::Path;
use std::time::{Duration, Instant};

use reconcile::{Resource, Runtime, Store, Writer};
use rtnetlink::packet_route::link::LinkAttribute;
use rtnetlink::{Handle, LinkVeth};
use tokio::sync::oneshot;

use crate::controllers::network;
use crate::controllers::network::kernel::Kernel;
use crate::controllers::network::netlink::{Change, Netlink};
use crate::events::Events;
use crate::identity;
use crate::resources::config_status::ConfigStatus;
use crate::resources::document::Document;
use crate::resources::resolver::Resolver;

use self::server::{Offer, Server};

/// For anything to happen: servers answer within a second, but all tests run at once on few processors.
const SOON: Duration = Duration::from_secs(40);

/// One machined after another on the same node: the kernel and /run stay, the store does not.
struct Node {
    folder: tempfile::TempDir,
    store: Store,
    documents: Writer<Document>,
    status: Writer<ConfigStatus>,
    stop: Option<oneshot::Sender<()>>,
    running: Option<tokio::task::JoinHandle<()>>,
}

impl Node {
    fn new() -> Self {
        Self::start(tempfile::tempdir().unwrap())
    }

    #[expect(clippy::disallowed_methods, reason = "the handle is kept, and joined when the node stops")]
    fn start(folder: tempfile::TempDir) -> Self {
        let store = Store::new();
        let run = folder.path();
        let events = Events::open(&store, run.join("events")).unwrap();
        let (identity, keeper) = identity::build(&run.join("machine-id"), "boot".into());
        let mut runtime = Runtime::new(store.clone());
        network::register(&mut runtime, run, identity.watch(), &events).unwrap();
        let (documents, status) = (store.writer("test").unwrap(), store.writer("test").unwrap());
        let (stop, stopped) = oneshot::channel::<()>();
        let running = tokio::spawn(async move {
            let _keeper = keeper;
            let _stopped = runtime.run(async { drop(stopped.await) }).await.unwrap();
        });
        Self { folder, store, documents, status, stop: Some(stop), running: Some(running) }
    }

    /// The next machined: nothing is known to it but what is in the kernel and under /run.
    async fn restart(mut self) -> Self {
        drop(self.stop.take());
        self.running.take().unwrap().await.unwrap();
        Self::start(self.folder)
    }

    fn run(&self) -> &Path {
        self.folder.path()
    }

    /// These documents are the configuration, and it is decided.
    fn configure(&self, text: &str) {
        let documents: Vec<String> =
            text.split("---").map(|text| format!("apiVersion: stele/v1\n{}", text.trim_start())).collect();
        let stream = ::config::parse(&documents.join("\n---\n")).unwrap_or_else(|problems| panic!("{problems:?}"));
        let all = stream.documents.iter().map(|document| {
            let name = document.name.clone().unwrap_or_default();
            let kind = document.kind().to_owned();
            (document.id(), Document { kind, name, line: 1, revision: 1, body: document.json() })
        });
        self.documents.replace_all(all);
        self.status.put(ConfigStatus::ID, ConfigStatus { decided: true, ..ConfigStatus::looking() });
    }

    /// Waits until `found` has something to say about the store; how long at most is [`SOON`].
    async fn until<T>(&self, what: &str, mut found: impl FnMut(&Store) -> Option<T>) -> T {
        let end = Instant::now() + SOON;
        loop {
            if let Some(found) = found(&self.store) {
                return found;
            }
            if Instant::now() > end {
                panic!("not in {SOON:?}: {what}\n{}", self.report());
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }

    /// Everything the controllers said, for who looks for the reason of a failure.
    fn report(&self) -> String {
        let mut text = String::new();
        for kind in self.store.types() {
            if kind.name == "controller" || kind.name == "route" {
                continue;
            }
            for object in self.store.list_raw(kind.name).into_iter().flatten() {
                text.push_str(&format!("{} {} {}\n", kind.name, object.id, object.value));
            }
        }
        text
    }

    async fn object<R: Resource>(&self, what: &str, mut fits: impl FnMut(&R) -> bool) -> R {
        let found = |store: &Store| {
            store.list::<R>().into_iter().find(|object| fits(&object.value)).map(|object| (*object.value).clone())
        };
        self.until(what, found).await
    }

    /// Until the link has a usable address that begins so.
    async fn address(&self, link: &str, begins: &str) -> String {
        let what = format!("an address of {link} that begins with {begins}");
        let found = self.object::<crate::resources::address::Address>(&what, |found| {
            found.link == link && found.usable() && found.address.to_string().starts_with(begins)
        });
        found.await.address.to_string()
    }

    async fn gone(&self, link: &str, begins: &str) {
        self.until(&format!("{link} without {begins}"), |store| {
            let all = store.list::<crate::resources::address::Address>();
            let there =
                all.iter().any(|found| found.value.link == link && found.value.address.to_string().starts_with(begins));
            (!there).then_some(())
        })
        .await;
    }

    /// Until exactly these name servers are in effect.
    async fn servers(&self, servers: &[&str]) -> Resolver {
        self.object::<Resolver>(&format!("the name servers {servers:?}"), |resolver| resolver.servers == servers).await
    }
}

/// Runs `test` on a node's side that has `eth0`, and a server's side that has the other end of its cable.
fn with_server<F: Future<Output = ()>>(test: impl FnOnce(Server) -> F + Send + 'static) {
    if !have_dnsmasq() {
        let _ = writeln!(std::io::stderr(), "SKIPPED, one test: there is no dnsmasq here (hack/setup installs it)");
        return;
    }
    network::kernel::in_namespace(async || {
        let server = Server::start();
        cable("eth0", &server).await;
        test(server).await;
    });
}

fn have_dnsmasq() -> bool {
    server::program().is_some()
}

/// A cable from `name` here to `far-<name>` there.
async fn cable(name: &str, server: &Server) {
    let far = format!("far-{name}");
    let thread = server.thread;
    let made = network::kernel::with(async |handle: Handle| {
        handle.link().add(LinkVeth::new(name, &far).build()).execute().await.unwrap();
        let message = rtnetlink::LinkUnspec::new_with_name(&far);
        handle
            .link()
            .change(message.append_extra_attribute(LinkAttribute::NetNsPid(thread)).build())
            .execute()
            .await
            .unwrap();
        Ok(())
    });
    made.await.unwrap();
    Kernel.apply(&Change::SetUp { link: name.into(), up: false }).await.unwrap();
    server.run(move || async move {
        Kernel.apply(&Change::SetUp { link: far, up: true }).await.unwrap();
    });
}
