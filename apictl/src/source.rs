//! Documents on the operator's side: files, folders and standard input, parsed before anything is sent.
//!
//! Invariant: what is sent is what was written, byte for byte and with its comments, without the secrets that may stand
//! among the documents; and every problem, found here or by a node, is shown at the operator's own line.

mod show;

use std::{
    fs,
    io::{self, Read},
    path::{Path, PathBuf},
};

use config::{Documents, Problem, Problems, Secrets};

use crate::exit::{Failure, Result};

/// What was given, and what it means.
#[derive(Debug)]
pub(crate) struct Source {
    files: Vec<File>,
    /// Parsed and checked.
    pub(crate) documents: Documents,
    /// Those that stood among the documents.
    pub(crate) secrets: Option<Secrets>,
    /// What is sent.
    pub(crate) text: String,
    /// Of each line of it: which file, which line there.
    lines: Vec<Option<(usize, u64)>>,
}

/// A text and where it is from.
#[derive(Clone)]
pub(crate) struct File {
    pub(crate) name: String,
    pub(crate) text: String,
}

impl std::fmt::Debug for File {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "File({})", self.name)
    }
}

impl Source {
    /// Reads and parses; `-` is standard input, a folder stands for the .yaml and .yml files in it.
    pub(crate) fn load(paths: &[PathBuf]) -> Result<Self> {
        Self::of(read(paths)?)
    }

    /// Parses texts.
    pub(crate) fn of(files: Vec<File>) -> Result<Self> {
        let texts: Vec<_> = files.iter().map(|file| (file.name.clone(), file.text.clone())).collect();
        let stream = config::parse_files(&texts).map_err(|problems| show::failures(&files, &problems))?;
        let mut source = Self {
            files,
            documents: stream.documents,
            secrets: stream.secrets,
            text: String::new(),
            lines: Vec::new(),
        };
        source.assemble();
        match config::parse(&source.text) {
            // What is not recognised as secrets must not leave the workstation.
            Ok(again) if again.secrets.is_some() => Err(Failure::usage(
                "the secrets among the documents cannot be taken out of them",
                "write them as YAML with a line `kind: Secrets`, or into a file of their own: --secrets FILE",
            )),
            Ok(again) if again.documents == source.documents => Ok(source),
            // %YAML and %TAG belong to the one file that has them.
            _ => Err(Failure::usage(
                "the files cannot be put one after the other",
                "leave out lines that begin with % or ...; between documents stands a line ---",
            )),
        }
    }

    /// Whether a machine can be configured with it.
    pub(crate) fn check_complete(&self) -> Result {
        config::complete(&self.documents).map_err(|problems| show::failures(&self.files, &problems))
    }

    /// Problems that a node found in what was sent, shown here.
    pub(crate) fn failures(&self, problems: Vec<api::v1::Problem>) -> Failure {
        let here = |problem: api::v1::Problem| {
            let at = usize::try_from(problem.line).ok().and_then(|line| line.checked_sub(1));
            let place = at.and_then(|at| *self.lines.get(at)?);
            let file = place.and_then(|(file, _)| self.files.get(file)).map(|file| file.name.clone());
            Problem {
                file: file.unwrap_or_default(),
                document: 0,
                path: problem.path,
                line: place.map_or(0, |(_, line)| line),
                column: problem.column,
                message: problem.message,
            }
        };
        show::failures(&self.files, &Problems(problems.into_iter().map(here).collect()))
    }

    fn assemble(&mut self) {
        for (at, file) in self.files.iter().enumerate() {
            if !self.text.is_empty() && !file.text.starts_with("---") {
                self.text.push_str("---\n");
                self.lines.push(None);
            }
            for chunk in chunks(&file.text).filter(|chunk| !chunk.is_secret()) {
                for (line, text) in chunk.lines {
                    self.text.push_str(text);
                    self.text.push_str(if text.ends_with('\n') { "" } else { "\n" });
                    self.lines.push(Some((at, line)));
                }
            }
        }
    }
}

/// A document of a text, with the separator before it.
struct Chunk<'a> {
    lines: Vec<(u64, &'a str)>,
}

impl Chunk<'_> {
    /// Whether it is `kind: Secrets`; rather once too often.
    fn is_secret(&self) -> bool {
        let kind = |line: &str| {
            let value = line.trim_start().strip_prefix("kind:").map(str::trim_start);
            value.is_some_and(|value| value.trim_start_matches(['"', '\'']).starts_with(Secrets::KIND))
        };
        self.lines.iter().any(|(_, line)| kind(line))
    }
}

/// A line `---` begins a document wherever it stands: YAML allows it inside of nothing.
fn chunks(text: &str) -> impl Iterator<Item = Chunk<'_>> {
    let mut chunks = vec![Chunk { lines: Vec::new() }];
    for (number, line) in (1..).zip(text.split_inclusive('\n')) {
        let separator =
            line.strip_prefix("---").is_some_and(|rest| rest.is_empty() || rest.starts_with(char::is_whitespace));
        if separator && !chunks.last().is_some_and(|chunk| chunk.lines.is_empty()) {
            chunks.push(Chunk { lines: Vec::new() });
        }
        if let Some(chunk) = chunks.last_mut() {
            chunk.lines.push((number, line));
        }
    }
    chunks.into_iter()
}

/// Texts as they are: of files, of the .yaml and .yml files of folders, of standard input.
pub(crate) fn read(paths: &[PathBuf]) -> Result<Vec<File>> {
    let mut files = Vec::new();
    paths.iter().try_for_each(|path| add(path, &mut files))?;
    Ok(files)
}

fn add(path: &Path, files: &mut Vec<File>) -> Result {
    let failed = |path: &Path, error: io::Error| Failure::usage(format!("reading {}: {error}", path.display()), "");
    if path == Path::new("-") {
        let mut text = String::new();
        io::stdin().read_to_string(&mut text).map_err(|error| failed(Path::new("standard input"), error))?;
        files.push(File { name: "<stdin>".into(), text });
        return Ok(());
    }
    if !path.is_dir() {
        let text = fs::read_to_string(path).map_err(|error| failed(path, error))?;
        files.push(File { name: path.display().to_string(), text });
        return Ok(());
    }
    let yaml = |path: &PathBuf| {
        let hidden = path.file_name().is_some_and(|name| name.as_encoded_bytes().starts_with(b"."));
        !hidden && path.is_file() && path.extension().is_some_and(|end| end == "yaml" || end == "yml")
    };
    let entries = fs::read_dir(path).and_then(|all| all.map(|entry| entry.map(|entry| entry.path())).collect());
    let mut found: Vec<PathBuf> = entries.map_err(|error| failed(path, error))?;
    found.retain(yaml);
    found.sort();
    if found.is_empty() {
        return Err(Failure::usage(format!("{} holds no file .yaml or .yml", path.display()), ""));
    }
    found.iter().try_for_each(|path| add(path, files))
}

#[cfg(test)]
mod tests;
