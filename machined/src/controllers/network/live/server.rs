//! The server's side: a thread with a network namespace of its own, and dnsmasq in it.

use std::path::PathBuf;
use std::pin::Pin;
use std::process::{Child, Command, Stdio};
use std::sync::mpsc;
use std::thread::JoinHandle;

use crate::controllers::network::kernel::Kernel;
use crate::controllers::network::netlink::{Change, Netlink};

type Job = Box<dyn FnOnce() -> Pin<Box<dyn Future<Output = ()>>> + Send>;

/// The thread; it ends with this.
pub(super) struct Server {
    /// Its number, by which the kernel knows its namespace.
    pub(super) thread: u32,
    jobs: Option<mpsc::Sender<(Job, mpsc::Sender<()>)>>,
    joined: Option<JoinHandle<()>>,
}

/// What a dnsmasq gives.
pub(super) struct Offer {
    /// `10.77.0`: its own address ends in 1, those it gives in 50 to 60, its name server's in 9.
    pub(super) v4: Option<&'static str>,
    /// `2001:db8:77:`: its own address ends in :1, those it gives begin with :1000.
    pub(super) v6: Option<&'static str>,
    /// Announces the prefix for addresses of the node's own making.
    pub(super) slaac: bool,
}

/// Where dnsmasq is.
pub(super) fn program() -> Option<PathBuf> {
    ["/usr/sbin/dnsmasq", "/usr/bin/dnsmasq"].into_iter().map(PathBuf::from).find(|path| path.exists())
}

impl Server {
    pub(super) fn start() -> Self {
        let (jobs, work) = mpsc::channel::<(Job, mpsc::Sender<()>)>();
        let (say, thread) = mpsc::channel();
        let joined = std::thread::spawn(move || {
            nix::sched::unshare(nix::sched::CloneFlags::CLONE_NEWNET).unwrap();
            say.send(u32::try_from(rustix::thread::gettid().as_raw_nonzero().get()).unwrap()).unwrap();
            // Who announces itself and does not forward is no router to the kernel, once it looks closer.
            std::fs::write("/proc/sys/net/ipv6/conf/all/forwarding", "1").unwrap();
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
            while let Ok((job, done)) = work.recv() {
                runtime.block_on(job());
                let _ = done.send(());
            }
        });
        Self { thread: thread.recv().unwrap(), jobs: Some(jobs), joined: Some(joined) }
    }

    /// Runs something there, to its end.
    pub(super) fn run<F: Future<Output = ()> + 'static>(&self, job: impl FnOnce() -> F + Send + 'static) {
        let (done, wait) = mpsc::channel();
        self.jobs.as_ref().unwrap().send((Box::new(move || Box::pin(job())), done)).unwrap();
        wait.recv().unwrap();
    }

    /// Pulls the cable, or plugs it in.
    pub(super) fn cable(&self, link: &str, up: bool) {
        let link = format!("far-{link}");
        self.run(move || async move {
            Kernel.apply(&Change::SetUp { link, up }).await.unwrap();
        });
    }

    /// Starts a dnsmasq at the other end of `link`. Its addresses take the place of those that were there.
    pub(super) fn serve(&self, link: &str, offer: Offer) -> Dnsmasq {
        let far = format!("far-{link}");
        let folder = tempfile::tempdir().unwrap();
        let mut args = vec![
            "--keep-in-foreground".to_owned(),
            "--conf-file=/dev/null".into(),
            "--no-hosts".into(),
            "--no-resolv".into(),
            "--port=0".into(),
            "--user=root".into(),
            "--dhcp-authoritative".into(),
            "--dhcp-no-override".into(),
            "--no-ping".into(),
            format!("--interface={far}"),
            format!("--pid-file={}", folder.path().join("pid").display()),
            format!("--dhcp-leasefile={}", folder.path().join("leases").display()),
            format!("--log-facility={}", folder.path().join("log").display()),
            "--log-dhcp".into(),
        ];
        let mut addresses = Vec::new();
        if let Some(net) = offer.v4 {
            addresses.push(format!("{net}.1/24"));
            args.push(format!("--dhcp-range={net}.50,{net}.60,255.255.255.0,120s"));
            args.push(format!("--dhcp-option=option:dns-server,{net}.9"));
            args.push("--dhcp-option=option:domain-search,lab.example".into());
        }
        if let Some(net) = offer.v6 {
            addresses.push(format!("{net}:1/64"));
            args.push("--enable-ra".into());
            args.push(format!("--ra-param={far},4,600"));
            let mode = if offer.slaac { "slaac,64,120s" } else { "64,120s" };
            args.push(format!("--dhcp-range={net}:1000,{net}:10ff,{mode}"));
            args.push(format!("--dhcp-option=option6:dns-server,[{net}:53]"));
        }
        let (say, child) = mpsc::channel();
        let log = folder.path().join("log");
        self.run(move || async move {
            let now = Kernel.observe().await.unwrap();
            for old in now.addresses.iter().filter(|old| old.link == far && old.address.to_string().contains(":1/64")) {
                Kernel.apply(&Change::RemoveAddress { link: far.clone(), address: old.address }).await.unwrap();
            }
            for old in now.addresses.iter().filter(|old| old.link == far && old.address.addr().is_ipv4()) {
                Kernel.apply(&Change::RemoveAddress { link: far.clone(), address: old.address }).await.unwrap();
            }
            for address in addresses {
                let address = address.parse().unwrap();
                Kernel.apply(&Change::AddAddress { link: far.clone(), address }).await.unwrap();
            }
            #[expect(clippy::disallowed_methods, reason = "this is the test's own server; it is killed and waited for")]
            let mut command = Command::new(program().unwrap());
            let started = command.args(args).stdin(Stdio::null()).stdout(Stdio::null()).spawn().unwrap();
            say.send(started).unwrap();
        });
        Dnsmasq { child: child.recv().unwrap(), _folder: folder, log }
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        drop(self.jobs.take());
        if let Some(thread) = self.joined.take() {
            let _ = thread.join();
        }
    }
}

/// A running dnsmasq; it ends with this.
pub(super) struct Dnsmasq {
    child: Child,
    _folder: tempfile::TempDir,
    log: PathBuf,
}

impl Dnsmasq {
    /// What it said so far.
    pub(super) fn log(&self) -> String {
        std::fs::read_to_string(&self.log).unwrap_or_default()
    }
}

impl Drop for Dnsmasq {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
        if std::thread::panicking() {
            eprintln!("dnsmasq said:\n{}", self.log());
        }
    }
}
