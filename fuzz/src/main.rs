//! Mutates the corpus at random and lets it loose on the targets: fuzzing with a stable compiler.
//!
//! `mutate [--seconds N] [--inputs N] [--seed N] [--corpus DIR] [TARGET]...`
//!
//! The seed makes the inputs, so a run with `--inputs` can be repeated. An input whose outcome is
//! of a new kind is mutated further. One that breaks a promise is written to
//! `fuzz/artifacts/TARGET`, and the run ends with exit code 1.
#![allow(clippy::disallowed_methods, reason = "time is a limit here, not a value")]

mod mutation;

use std::collections::HashSet;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::{Duration, Instant};
use std::{env, fs};

use anyhow::{Context, Result, bail};
use fastrand::Rng;
use wstap_fuzz::{TARGETS, Target};

/// Inputs that are kept to be mutated, at most.
const POPULATION: usize = 4096;
/// Longer inputs are cut: they only cost time.
const INPUT_BYTES: usize = 64 << 10;

struct Options {
    /// For each target.
    duration: Duration,
    inputs: u64,
    seed: u64,
    corpus: PathBuf,
    targets: Vec<String>,
}

fn main() -> Result<ExitCode> {
    let options = options()?;
    for (name, target) in TARGETS {
        let is_wanted = options.targets.is_empty() || options.targets.iter().any(|it| it == name);
        if is_wanted && !run(name, target, &options)? {
            return Ok(ExitCode::FAILURE);
        }
    }
    Ok(ExitCode::SUCCESS)
}

fn options() -> Result<Options> {
    let here = Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut seconds = None;
    let mut inputs = None;
    let mut options = Options {
        duration: Duration::MAX,
        inputs: u64::MAX,
        seed: 1,
        corpus: here.join("corpus"),
        targets: Vec::new(),
    };
    let mut arguments = env::args().skip(1);
    while let Some(argument) = arguments.next() {
        let mut value = || arguments.next().with_context(|| format!("{argument} needs a value"));
        match argument.as_str() {
            "--seconds" => seconds = Some(value()?.parse::<u64>()?),
            "--inputs" => inputs = Some(value()?.parse::<u64>()?),
            "--seed" => options.seed = value()?.parse()?,
            "--corpus" => options.corpus = value()?.into(),
            name if TARGETS.iter().any(|(known, _)| *known == name) => {
                options.targets.push(argument)
            }
            _ => bail!("{argument} is neither an option nor a target"),
        }
    }
    let count = if options.targets.is_empty() { TARGETS.len() } else { options.targets.len() };
    if seconds.is_none() && inputs.is_none() {
        seconds = Some(60);
    }
    if let Some(seconds) = seconds {
        options.duration = Duration::from_secs(seconds) / u32::try_from(count)?;
    }
    options.inputs = inputs.map_or(u64::MAX, |inputs| inputs / count as u64);
    Ok(options)
}

/// Whether the target kept all its promises.
fn run(name: &str, target: Target, options: &Options) -> Result<bool> {
    let mut random = Rng::with_seed(options.seed);
    let mut population = corpus(&options.corpus.join(name))?;
    let seeds = population.len();
    let mut known = HashSet::new();
    let (began, mut tried, mut slowest) = (Instant::now(), 0_u64, Duration::ZERO);
    while tried < options.inputs && began.elapsed() < options.duration {
        // The corpus itself comes first.
        let input = match population.get(usize::try_from(tried)?) {
            Some(seed) if tried < seeds as u64 => seed.clone(),
            _ => mutation::mutated(&population, INPUT_BYTES, &mut random),
        };
        let started = Instant::now();
        let Ok(trace) = catch_unwind(AssertUnwindSafe(|| target(&input))) else {
            let path = artifact(name, options.seed, tried, &input)?;
            eprintln!("{name}: input {tried} of seed {} broke a promise: {path:?}", options.seed);
            return Ok(false);
        };
        slowest = slowest.max(started.elapsed());
        tried += 1;
        if known.insert(trace) && population.len() < POPULATION {
            population.push(input);
        }
    }
    println!(
        "{name}: {tried} inputs in {:.1} s, {} kinds of outcome, slowest {slowest:.1?}",
        began.elapsed().as_secs_f64(),
        known.len(),
    );
    Ok(true)
}

/// The files in and below a folder in the order of their paths, and an empty input if there are
/// none.
fn corpus(folder: &Path) -> Result<Vec<Vec<u8>>> {
    let mut files = files_below(folder)?;
    files.sort();
    let mut inputs = files.iter().map(fs::read).collect::<Result<Vec<_>, _>>()?;
    if inputs.is_empty() {
        inputs.push(Vec::new());
    }
    Ok(inputs)
}

fn files_below(folder: &Path) -> Result<Vec<PathBuf>> {
    let mut files = Vec::new();
    for entry in fs::read_dir(folder).with_context(|| format!("no corpus in {folder:?}"))? {
        let path = entry?.path();
        if path.is_dir() {
            files.extend(files_below(&path)?);
        } else {
            files.push(path);
        }
    }
    Ok(files)
}

fn artifact(target: &str, seed: u64, number: u64, input: &[u8]) -> Result<PathBuf> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("artifacts").join(target);
    fs::create_dir_all(&folder)?;
    let path = folder.join(format!("seed-{seed}-input-{number}"));
    fs::write(&path, input)?;
    Ok(path)
}
