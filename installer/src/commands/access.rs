//! Which image a command is about, and how its registry is reached: the words common to `push`, `sign` and `verify`.

use std::path::{Path, PathBuf};

use anyhow::{Context, bail};
use config::image::pull::{Auth, Endpoint, Login, Proxy};
use config::image::{Place, Reference};

/// How a registry is reached.
#[derive(Debug, clap::Args)]
pub struct Access {
    /// Authority to trust besides the public ones (PEM)
    #[arg(long, value_name = "FILE")]
    ca: Vec<PathBuf>,
    /// User of the registry
    #[arg(long, requires = "password_file")]
    user: Option<String>,
    /// File with the password of --user, in its first line
    #[arg(long, value_name = "FILE", requires = "user")]
    password_file: Option<PathBuf>,
    /// File with a token that the registry takes, in its first line
    #[arg(long, value_name = "FILE", conflicts_with = "user")]
    token_file: Option<PathBuf>,
    /// The way there: http://HOST:PORT or https://HOST:PORT
    #[arg(long, value_name = "URL")]
    proxy: Option<String>,
    /// Speak HTTP without TLS
    #[arg(long)]
    plain_http: bool,
}

impl Access {
    /// The endpoint of a registry.
    ///
    /// # Errors
    /// When a file cannot be read.
    pub fn endpoint(&self, host: &str) -> anyhow::Result<Endpoint> {
        let ca = self.ca.iter().map(|path| text(path)).collect::<Result<_, _>>()?;
        let line = |path: &Path| anyhow::Ok(text(path)?.lines().next().unwrap_or_default().to_owned());
        let auth = match (&self.user, &self.password_file, &self.token_file) {
            (Some(user), Some(path), _) => {
                Some(Auth::Login(Login { user: user.clone(), password: line(path)?.into() }))
            }
            (_, _, Some(path)) => Some(Auth::Token(line(path)?.into())),
            _ => None,
        };
        let proxy = self.proxy.clone().map(|url| Proxy { url, login: None });
        let scheme = if self.plain_http { "http" } else { "https" };
        Ok(Endpoint { url: format!("{scheme}://{host}"), ca, auth, proxy })
    }

    /// The endpoints of an image: one, or none for a layout.
    ///
    /// # Errors
    /// When a file cannot be read.
    pub fn endpoints(&self, image: &Reference) -> anyhow::Result<Vec<Endpoint>> {
        match &image.place {
            Place::Registry { host, .. } => Ok(vec![self.endpoint(host)?]),
            Place::Layout { .. } => Ok(Vec::new()),
        }
    }
}

/// A file as text.
///
/// # Errors
/// When it cannot be read.
pub fn text(path: &Path) -> anyhow::Result<String> {
    std::fs::read_to_string(path).with_context(|| format!("cannot read {}", path.display()))
}

/// The image that a word names: a folder with a layout, `oci:/path[:tag]`, or a reference of a registry.
///
/// # Errors
/// When it is none of these.
pub fn image(word: &str) -> anyhow::Result<Reference> {
    let path = Path::new(word);
    if path.join("index.json").is_file() {
        let path = path.canonicalize().with_context(|| format!("cannot find {word}"))?;
        let Some(path) = path.to_str() else { bail!("{word} is not UTF-8") };
        return Ok(Reference { place: Place::Layout { path: path.to_owned() }, tag: None, digest: None });
    }
    word.parse().map_err(|why| anyhow::anyhow!("{word} is neither a folder with an OCI layout nor an image: {why}"))
}

/// Runs what waits for the network.
///
/// # Errors
/// When it cannot be started, and what `work` says.
pub fn run<T>(work: impl Future<Output = anyhow::Result<T>>) -> anyhow::Result<T> {
    tokio::runtime::Builder::new_current_thread().enable_all().build()?.block_on(work)
}
