//! Where the built things are: the results of `make image` and `make test-image`.

use std::{
    env,
    path::{Path, PathBuf},
};

use anyhow::{Context, Result, ensure};

/// The repository's root.
pub fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().map(Path::to_path_buf).unwrap_or_default()
}

/// The folder of results, `_out/` unless `STELE_OUT` says otherwise.
pub fn out() -> PathBuf {
    env::var_os("STELE_OUT").map_or_else(|| root().join("_out"), PathBuf::from)
}

/// The image that the stories boot: the product's plus services that misbehave on purpose.
pub fn test_image() -> Image {
    Image { stem: out().join("test/stele-test") }
}

/// The test image with the kernel for any hardware.
pub fn generic_test_image() -> Image {
    Image { stem: out().join("test/stele-test-metal") }
}

/// Another version of the test image; it has no raw disk.
pub fn next_test_image() -> Image {
    Image { stem: out().join("test/stele-test-next") }
}

/// Another version of the product's image with the cloud kernel; it has no raw disk.
pub fn next_product_image() -> Image {
    Image { stem: out().join("test/stele-next") }
}

/// The bare baseline of the figures for a kernel, `cloud` or `generic`.
pub fn baseline_image(kernel: &str) -> Image {
    Image { stem: out().join(if kernel == "generic" { "test/baseline-metal" } else { "test/baseline" }) }
}

/// The product's image for a kernel, `cloud` or `generic`.
pub fn product_image(kernel: &str) -> Image {
    Image { stem: out().join(if kernel == "generic" { "stele-metal-amd64" } else { "stele-amd64" }) }
}

/// The client under test.
pub fn apictl() -> PathBuf {
    out().join("apictl")
}

/// The image builder; the Makefile says where it is.
pub fn imager() -> PathBuf {
    env::var_os("STELE_IMAGER").map_or_else(|| "imager".into(), PathBuf::from)
}

/// The folder of the node's programs, which `make` keeps beside imager.
pub fn binaries() -> PathBuf {
    let imager = imager();
    let target = imager.parent().and_then(Path::parent).unwrap_or(Path::new(""));
    target.join("x86_64-unknown-linux-gnu/image")
}

/// The certificate of this user's development key, which signed the images.
pub fn certificate() -> PathBuf {
    xdg("XDG_CONFIG_HOME", ".config").join("keys/dev-secureboot.crt")
}

/// A folder of this user by its XDG variable, as imager finds it.
pub fn xdg(variable: &str, fallback: &str) -> PathBuf {
    let given = env::var_os(variable).filter(|value| !value.is_empty());
    let base = given.map_or_else(
        || PathBuf::from(env::var_os("HOME").unwrap_or_else(|| "/root".into())).join(fallback),
        PathBuf::from,
    );
    base.join("stele")
}

/// An image in all the forms a machine can start from.
#[derive(Clone, Debug)]
pub struct Image {
    stem: PathBuf,
}

impl Image {
    /// The UKI.
    pub fn uki(&self) -> Result<PathBuf> {
        self.part("efi")
    }

    /// The recovery system, a UKI as well.
    pub fn recovery(&self) -> Result<PathBuf> {
        self.part("recovery.efi")
    }

    /// The loader in front of both.
    pub fn loader(&self) -> Result<PathBuf> {
        self.part("loader.efi")
    }

    /// The raw disk image.
    pub fn raw(&self) -> Result<PathBuf> {
        self.part("raw")
    }

    /// The kernel alone, for `-kernel`.
    pub fn kernel(&self) -> Result<PathBuf> {
        self.part("vmlinuz")
    }

    /// The initramfs alone, for `-initrd`.
    pub fn initrd(&self) -> Result<PathBuf> {
        self.part("initrd")
    }

    /// The kernel command line inside the UKI, for `-append`.
    pub fn cmdline(&self) -> Result<String> {
        let path = self.part("cmdline")?;
        let text = std::fs::read_to_string(&path).with_context(|| format!("reading {}", path.display()))?;
        Ok(text.trim_end_matches(['\0', '\n']).to_owned())
    }

    fn part(&self, extension: &str) -> Result<PathBuf> {
        let path = self.stem.with_extension(extension);
        ensure!(path.exists(), "{} is not there: run `make test-image`", path.display());
        Ok(path)
    }
}
