//! What is linked statically into our programs, for the SBOM: crates, and what the compilers of the build machine add.
//!
//! None of it is a file of the image, so nothing else would name it.

pub mod crates;
pub mod toolchain;

/// One package that is inside our programs.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Part {
    /// Name.
    pub name: String,
    /// Version; none when nobody can say which one it is.
    pub version: Option<String>,
    /// SPDX expression.
    pub licence: String,
    /// Who made the package, when it is known.
    pub supplier: Option<String>,
    /// How it came to be, in words.
    pub made: Option<String>,
    /// Package URL.
    pub purl: Option<String>,
}
