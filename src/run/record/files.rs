//! The writing thread's part of a recording: it writes files that only their owner can read.

use std::fs::{self, File, Permissions};
use std::io;
use std::os::fd::AsFd;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::Receiver;

use crate::config::RecordConfig;
use crate::run::Failure;
use crate::run::output::private;
use crate::views::recording::{Block, Encoder, FileWriter, Header, Packed, Record};

/// Bytes reserved for the last block of a file, which says why the file ends.
const END_BYTES: u64 = 256;

/// The files of a recording, made before anything is tapped.
pub(super) struct Files {
    paths: Vec<PathBuf>,
    files: Vec<File>,
    max_bytes: u64,
}

/// The names of files that this recording has made.
pub(super) struct Written(Vec<PathBuf>);

impl Written {
    /// Removes the files. They hold no event, and the next attempt needs their names.
    pub(super) fn discard(self) {
        for path in self.0 {
            let _ = fs::remove_file(path);
        }
    }
}

impl Files {
    /// Creates the files, readable by their owner only.
    ///
    /// # Errors
    ///
    /// A file exists already, or the system refuses.
    pub(super) fn create(config: &RecordConfig) -> Result<Self, Failure> {
        let max_bytes = config.max_bytes;
        if config.is_stdout() {
            let file = File::from(io::stdout().as_fd().try_clone_to_owned()?);
            return Ok(Self { paths: Vec::new(), files: vec![file], max_bytes });
        }
        let paths = match config.parts {
            1 => vec![config.path.clone()],
            parts => (1..=parts).map(|part| numbered(&config.path, part)).collect(),
        };
        let open = |path: &PathBuf| private::create(path, config.force);
        let files = paths.iter().map(open).collect::<Result<_, _>>()?;
        Ok(Self { paths, files, max_bytes })
    }

    /// The names of the files.
    pub(super) fn written(&self) -> Written {
        Written(self.paths.clone())
    }

    /// Writes blocks until no more come, or until the files are full. Logs how it ended, and returns
    /// the number of events written.
    pub(super) fn write(self, header: Header, blocks: &Receiver<Block>, over: &AtomicBool) -> u64 {
        let mut writing = Writing { files: self, header, writer: None, events: 0, bytes: 0 };
        let ended = writing.all(blocks);
        over.store(true, Ordering::Release);
        let (events, kib) = (writing.events, writing.bytes / 1024);
        match ended {
            Ok(why) => tracing::info!("recorded {events} events in {kib} KiB{why}"),
            Err(error) => {
                writing.keep_whole_blocks();
                tracing::error!(
                    "the recording has ended: {error}; {events} events in {kib} KiB are whole"
                );
            }
        }
        events
    }
}

fn numbered(path: &Path, part: u8) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(format!(".{part}"));
    name.into()
}

struct Writing {
    files: Files,
    header: Header,
    writer: Option<FileWriter<File>>,
    events: u64,
    bytes: u64,
}

impl Writing {
    /// Returns the words that say how the recording ended.
    fn all(&mut self, blocks: &Receiver<Block>) -> io::Result<&'static str> {
        self.begin()?;
        while let Ok(block) = blocks.recv() {
            let packed = block.pack()?;
            if !self.has_room(&packed) {
                if self.files.files.len() == 1 {
                    self.say_end("it had reached its largest size")?;
                    return Ok("; it has reached --max-size");
                }
                self.say_end("it goes on in the next file")?;
                self.header.part += 1;
                self.begin()?;
            }
            self.write(&packed)?;
            self.events += block.events;
        }
        Ok("")
    }

    /// Begins the next file of the rotation.
    fn begin(&mut self) -> io::Result<()> {
        let count = self.files.files.len() as u64;
        let file = &self.files.files[((self.header.part - 1) % count) as usize];
        let file = file.try_clone()?;
        if file.metadata()?.is_file() && count > 1 {
            file.set_permissions(Permissions::from_mode(private::MODE))?;
            file.set_len(0)?;
            io::Seek::rewind(&mut &file)?;
        }
        let writer = FileWriter::new(file, &self.header)?;
        self.bytes += writer.written();
        self.writer = Some(writer);
        Ok(())
    }

    fn has_room(&self, packed: &Packed) -> bool {
        let written = self.writer.as_ref().map_or(0, FileWriter::written);
        written + packed.bytes() + END_BYTES <= self.files.max_bytes
    }

    fn write(&mut self, packed: &Packed) -> io::Result<()> {
        let Some(writer) = &mut self.writer else { return Ok(()) };
        writer.block(packed)?;
        self.bytes += packed.bytes();
        Ok(())
    }

    fn say_end(&mut self, why: &str) -> io::Result<()> {
        let mut encoder = Encoder::default();
        encoder.push(&Record::End { why });
        let block = encoder.take().unwrap_or_default();
        self.write(&block.pack()?)
    }

    /// Removes the incomplete block that a full disk leaves. A pipe cannot be cut.
    fn keep_whole_blocks(&self) {
        if let Some(writer) = &self.writer {
            let _ = writer.get_ref().set_len(writer.written());
        }
    }
}
