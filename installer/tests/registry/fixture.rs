//! An installer image with everything that a real one has, only smaller, and the programs that deal with it.

use std::collections::BTreeMap;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Output, Stdio};
use std::sync::LazyLock;

use config::image::pull::{
    Check, Endpoint, Key, Limits, Line, Node, Progress, Pulled, Refusal, Request, Verify, Warning,
};
use installer::keys::{self, ImageKey};
use installer::lock::{Lock, Use};
use installer::tools::Tools;
use installer::tree::Node as Entry;
use installer::{deb, fetch, host, sign, uki};

/// Bytes of the initramfs: some cuts, and no wait.
const INITRD: usize = 3_000_000;

fn source() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

static LOCK: LazyLock<Lock> = LazyLock::new(|| {
    let lock = Lock::load(source()).unwrap();
    fetch::ensure(lock.uses(Use::Test).chain(lock.uses(Use::Stub))).unwrap();
    lock
});

/// A stock program.
pub(crate) fn stock(name: &str) -> host::Program {
    static TOOLS: LazyLock<Tools> = LazyLock::new(|| Tools::unpack(&LOCK, Use::Test).unwrap());
    TOOLS.program(name)
}

/// `imager`, run in the installer folder.
pub(crate) fn imager<S: AsRef<std::ffi::OsStr>>(args: impl IntoIterator<Item = S>) -> Result<String, String> {
    let mut program = host::program(env!("CARGO_BIN_EXE_imager"), "").args(args);
    program.command.current_dir(source());
    let output = program.run().map_err(|error| error.to_string())?;
    Ok(String::from_utf8_lossy(&output.stdout).into_owned())
}

/// One image in a folder of its own.
pub(crate) struct Image {
    pub(crate) work: tempfile::TempDir,
    pub(crate) key: ImageKey,
}

impl Image {
    /// Built, and not signed.
    pub(crate) fn unsigned() -> Self {
        Self::version("1.2.0")
    }

    /// Built and signed.
    pub(crate) fn signed() -> Self {
        let image = Self::unsigned();
        image.sign(&image.key);
        image
    }

    fn version(version: &str) -> Self {
        let work = tempfile::tempdir().unwrap();
        let folder = work.path();
        let release = format!("IMAGE_VERSION={version}\nBUILD_ID=0123456789ab\n");
        // nothing that compresses, and the same in every run
        let mut state = 1u32;
        let noise = std::iter::repeat_with(|| {
            state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            state.to_be_bytes()[0]
        });
        let initrd: Vec<u8> = noise.take(INITRD).collect();
        let sections = [
            (uki::OSREL, release.as_bytes()),
            (uki::CMDLINE, b"panic=-1"),
            (uki::UNAME, b"6.12.0"),
            (uki::INITRD, &initrd),
            (uki::LINUX, b"a kernel"),
        ];
        let secure_boot = keys::make(folder, "secure-boot").unwrap();
        let program = sign::sign(&uki::assemble(&stub(), &sections).unwrap(), &secure_boot).unwrap();
        std::fs::write(folder.join("stele-test.efi"), program).unwrap();
        std::fs::write(folder.join("installer"), b"a program").unwrap();
        let key = keys::make_image(folder, "release").unwrap();
        let image = Self { work, key };
        image.build(&[]);
        image
    }

    /// Makes the layout anew, with these words besides.
    pub(crate) fn build(&self, more: &[&str]) {
        let path = |name: &str| self.work.path().join(name).display().to_string();
        let (uki, installer, layout) = (path("stele-test.efi"), path("installer"), path("image.oci"));
        let args = ["oci", "--uki", &uki, "--installer", &installer, "-o", &layout];
        imager(args.iter().chain(more)).unwrap();
    }

    pub(crate) fn sign(&self, key: &ImageKey) {
        imager(["sign".as_ref(), self.layout().as_os_str(), "--key".as_ref(), key.key.as_os_str()]).unwrap();
    }

    pub(crate) fn another_key(&self) -> ImageKey {
        keys::make_image(self.work.path(), "another").unwrap()
    }

    pub(crate) fn layout(&self) -> PathBuf {
        self.work.path().join("image.oci")
    }

    /// The digest of its index.
    pub(crate) fn digest(&self) -> String {
        let index = std::fs::read(self.layout().join("index.json")).unwrap();
        let index: serde_json::Value = serde_json::from_slice(&index).unwrap();
        index["manifests"][0]["digest"].as_str().unwrap().to_owned()
    }

    pub(crate) fn push(&self, to: &str, more: &[&str]) -> Result<String, String> {
        let layout = self.layout().display().to_string();
        imager(["push", to, "--layout", &layout].iter().chain(more))
    }

    /// A request for this image that a machine of the same version would make.
    pub(crate) fn request(&self, image: &str, endpoints: Vec<Endpoint>) -> Request {
        let folder = self.work.path().join("pulled");
        std::fs::create_dir_all(&folder).unwrap();
        Request {
            image: image.parse().unwrap(),
            endpoints,
            verify: Verify::Require,
            keys: vec![self.trusted(&self.key)],
            limits: Limits { bytes: 100 << 20, seconds: 60, stall: 5 },
            node: Node {
                architecture: "amd64".into(),
                version: "1.2.0".parse().unwrap(),
                floor: None,
                allow_downgrade: false,
                schema: Some("stele/v1".into()),
                formats: BTreeMap::from([("meta".into(), 1)]),
            },
            folder: folder.display().to_string(),
            free: 0,
            have: Vec::new(),
        }
    }

    pub(crate) fn trusted(&self, key: &ImageKey) -> Key {
        Key { name: "release".into(), pem: std::fs::read_to_string(&key.public).unwrap() }
    }

    /// Bytes of what a pull brings.
    pub(crate) fn size(&self) -> u64 {
        let len = |name: &str| std::fs::metadata(self.work.path().join(name)).unwrap().len();
        len("stele-test.efi") + len("installer")
    }

    /// What was pulled is what went in.
    pub(crate) fn compare(&self, pulled: &Pulled) {
        assert_eq!(pulled.digest.to_string(), self.digest());
        for (file, name) in pulled.files.iter().zip(["stele-test.efi", "installer"]) {
            let same = std::fs::read(&file.path).unwrap() == std::fs::read(self.work.path().join(name)).unwrap();
            assert!(same, "{name}");
        }
        assert_eq!(pulled.files.len(), 2);
    }
}

/// systemd's own.
fn stub() -> Vec<u8> {
    let package = LOCK.uses(Use::Stub).next().unwrap();
    let files = deb::read(package, |path| path.ends_with("linuxx64.efi.stub")).unwrap();
    let found = files.into_iter().find_map(|(_, entry)| match entry {
        Entry::File { bytes, .. } => Some(bytes),
        _ => None,
    });
    found.unwrap()
}

/// What a pull said.
pub(crate) struct Said {
    pub(crate) progress: Vec<Progress>,
    pub(crate) warnings: Vec<Warning>,
    pub(crate) end: Result<Pulled, Refusal>,
}

impl Said {
    /// It was refused for this, with these words.
    pub(crate) fn refused(self, check: Check, words: &str) -> Refusal {
        let refusal = self.end.expect_err("it was pulled");
        assert_eq!(refusal.check, check, "{refusal:?}");
        assert!(refusal.message.contains(words), "{} wants {words}", refusal.message);
        assert!(!refusal.remedy.is_empty() && !refusal.message.contains(PASSWORD), "{refusal:?}");
        refusal
    }
}

/// In the registry's htpasswd.
pub(crate) const PASSWORD: &str = "steel and stone";

/// Runs `installer pull` to its end.
pub(crate) fn pull(request: &Request) -> Said {
    let output = told(&serde_json::to_vec(request).unwrap());
    let mut said = Said { progress: Vec::new(), warnings: Vec::new(), end: Err(nothing()) };
    let text = String::from_utf8(output.stdout).unwrap();
    let mut lines = text.lines().map(|line| serde_json::from_str(line).unwrap()).peekable();
    while let Some(line) = lines.next() {
        match line {
            Line::Progress(progress) => said.progress.push(progress),
            Line::Warning(warning) => said.warnings.push(warning),
            Line::Pulled(pulled) => said.end = Ok(*pulled),
            Line::Refused(refusal) => said.end = Err(refusal),
        }
        let ended = said.end.as_ref().err() != Some(&nothing());
        assert_eq!(ended, lines.peek().is_none(), "the end is the last line: {text}");
    }
    assert_eq!(output.status.code(), Some(i32::from(said.end.is_err())), "{text}");
    assert!(output.stderr.is_empty(), "{}", String::from_utf8_lossy(&output.stderr));
    said
}

fn nothing() -> Refusal {
    Refusal { check: Check::Request, message: "it said nothing".into(), remedy: String::new(), again: false }
}

/// Runs `installer pull` with this on its standard input.
pub(crate) fn told(input: &[u8]) -> Output {
    let mut program = host::program(env!("CARGO_BIN_EXE_installer"), "").args(["pull"]);
    let pipes = program.command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = pipes.spawn().unwrap();
    // it may refuse before it has read all
    let _ = child.stdin.take().unwrap().write_all(input);
    child.wait_with_output().unwrap()
}

/// An endpoint at this address.
pub(crate) fn at(url: impl Into<String>) -> Endpoint {
    Endpoint { url: url.into(), ca: Vec::new(), auth: None, proxy: None }
}
