//! Plans every ELF image below some folders and prints which have a TLS library:
//! `cargo run --release -p wstap-symbols --example survey -- FOLDER...`

#![allow(clippy::disallowed_methods, reason = "it measures how long planning takes")]

use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};
use std::{env, fs, io};

use wstap_symbols::{Evidence, Options, Plan, Work, plan_counted};

/// Totals.
#[derive(Default)]
struct Survey {
    images: u64,
    bytes: u64,
    planning: Duration,
    slowest: Duration,
    slowest_path: PathBuf,
    libraries: u64,
    tappable: u64,
    /// The largest part of what [`Work::bound`] permits that an image needed, in percent.
    most_work: u64,
}

fn main() {
    let mut survey = Survey::default();
    for folder in env::args_os().skip(1) {
        if let Err(error) = survey.folder(Path::new(&folder)) {
            eprintln!("{}: {error}", folder.to_string_lossy());
        }
    }
    println!(
        "{} images of {} MB planned in {:.1} s, the slowest in {} ms ({}); {} TLS libraries, {} of \
         them tappable; no image took more than {} % of the work that is permitted",
        survey.images,
        survey.bytes >> 20,
        survey.planning.as_secs_f64(),
        survey.slowest.as_millis(),
        survey.slowest_path.display(),
        survey.libraries,
        survey.tappable,
        survey.most_work
    );
}

impl Survey {
    /// Everything below; symbolic links are not followed.
    fn folder(&mut self, folder: &Path) -> io::Result<()> {
        let mut entries: Vec<fs::DirEntry> = fs::read_dir(folder)?.collect::<io::Result<_>>()?;
        entries.sort_by_key(fs::DirEntry::path);
        for entry in entries {
            let (path, kind) = (entry.path(), entry.file_type()?);
            let looked = match (kind.is_dir(), kind.is_file()) {
                (true, _) => self.folder(&path),
                (_, true) => self.file(&path),
                _ => Ok(()),
            };
            if let Err(error) = looked {
                eprintln!("{}: {error}", path.display());
            }
        }
        Ok(())
    }

    fn file(&mut self, path: &Path) -> io::Result<()> {
        let mut magic = [0; 4];
        let read = io::Read::read(&mut fs::File::open(path)?, &mut magic)?;
        if read < magic.len() || magic != *b"\x7fELF" {
            return Ok(());
        }
        let bytes = fs::read(path)?;
        let began = Instant::now();
        let (planned, work) = plan_counted(&bytes, Evidence::default(), &Options::default());
        let took = began.elapsed();
        self.note(&work, bytes.len() as u64);
        if let Err(error) = &planned
            && error.is_refusal()
        {
            println!("refused: {error}: {}", path.display());
        }
        self.images += 1;
        self.bytes += bytes.len() as u64;
        self.planning += took;
        if took > self.slowest {
            (self.slowest, self.slowest_path) = (took, path.to_owned());
        }
        planned.iter().for_each(|plan| self.print(path, plan));
        Ok(())
    }

    fn note(&mut self, work: &Work, file_bytes: u64) {
        let bound = Work::bound(file_bytes);
        let parts = [
            100 * work.bytes / bound.bytes,
            100 * work.entries / bound.entries,
            100 * work.steps / bound.steps,
        ];
        self.most_work = parts.into_iter().fold(self.most_work, u64::max);
    }

    fn print(&mut self, path: &Path, plan: &Plan) {
        for library in &plan.libraries {
            self.libraries += 1;
            self.tappable += u64::from(library.is_tappable());
            println!(
                "{:9} {:12} {:6} {:8} {:44} {}",
                library.stack.as_str(),
                library.version.as_deref().unwrap_or("-"),
                library.linkage.as_str(),
                library.symbols.as_str(),
                library.refusal().unwrap_or_else(|| library.verdict.as_str().to_owned()),
                path.display()
            );
        }
    }
}
