//! The blocks of the file, and its end of writing.

use std::borrow::Cow;
use std::collections::HashMap;
use std::io::{self, Write};
use std::time::Duration;

use pcap_file::pcapng::blocks::enhanced_packet::{EnhancedPacketBlock, EnhancedPacketOption};
use pcap_file::pcapng::blocks::interface_description::{
    InterfaceDescriptionBlock, InterfaceDescriptionOption,
};
use pcap_file::pcapng::blocks::section_header::{SectionHeaderBlock, SectionHeaderOption};
use pcap_file::pcapng::{PcapNgBlock, PcapNgWriter};
use pcap_file::{DataLink, PcapError};

use crate::event::Direction;
use crate::views::Process;

/// Times are nanoseconds (10 to the power of -9).
const NANOSECONDS: u8 = 9;

/// A file that is being written.
pub(super) struct File<W: Write> {
    out: W,
    /// Makes blocks; `None` before the first one.
    blocks: Option<PcapNgWriter<Vec<u8>>>,
    /// The number of each process's interface, and the name that it was given. Processes of
    /// several recordings are told apart by the offset of their clock.
    interfaces: HashMap<(i128, u32), (u32, String)>,
    interfaces_made: u32,
    /// Messages that were left out since the last packet.
    dropped: u64,
    error: Option<io::Error>,
}

/// A packet as the file has it.
pub(super) struct Packet<'a> {
    pub(super) interface: u32,
    /// Nanoseconds since 1970.
    pub(super) wall_ns: i128,
    /// As the process of the interface sees it.
    pub(super) direction: Direction,
    /// From the header of IP on; less than 64 KiB.
    pub(super) bytes: Vec<u8>,
    /// None where it is empty.
    pub(super) comment: &'a str,
}

impl<W: Write> File<W> {
    /// Has written nothing yet.
    pub(super) fn new(out: W) -> Self {
        Self {
            out,
            blocks: None,
            interfaces: HashMap::new(),
            interfaces_made: 0,
            dropped: 0,
            error: None,
        }
    }

    /// A message is left out: the next packet says how many there were.
    pub(super) fn drop_one(&mut self) {
        self.dropped += 1;
    }

    /// Writes the header, unless that has been done.
    pub(super) fn begin(&mut self) {
        if self.blocks.is_some() || self.error.is_some() {
            return;
        }
        let program = format!("wstap {}", env!("CARGO_PKG_VERSION"));
        let about = "TCP/IP is made up around the messages: see the comments of the packets";
        let options = vec![
            SectionHeaderOption::UserApplication(Cow::Owned(program)),
            SectionHeaderOption::Comment(Cow::Borrowed(about)),
        ];
        let header = SectionHeaderBlock { options, ..SectionHeaderBlock::default() };
        match PcapNgWriter::with_section_header(Vec::new(), header) {
            Ok(blocks) => {
                self.blocks = Some(blocks);
                self.pass_on();
            }
            Err(error) => self.error = Some(io_error(error)),
        }
    }

    /// The interface that stands for a process.
    pub(super) fn interface(&mut self, wall_offset_ns: i128, process: Process<'_>) -> u32 {
        let key = (wall_offset_ns, process.pid);
        if let Some((number, name)) = self.interfaces.get(&key)
            && name == process.comm
        {
            return *number;
        }
        let number = self.interfaces_made;
        let name = format!("{} ({})", process.comm.escape_default(), process.pid);
        self.block(InterfaceDescriptionBlock {
            linktype: DataLink::RAW,
            snaplen: 0,
            options: vec![
                InterfaceDescriptionOption::IfName(Cow::Owned(name)),
                InterfaceDescriptionOption::IfTsResol(NANOSECONDS),
            ],
        });
        self.interfaces_made += 1;
        self.interfaces.insert(key, (number, process.comm.to_owned()));
        number
    }

    /// Writes a packet.
    pub(super) fn packet(&mut self, packet: Packet<'_>) {
        let way = match packet.direction {
            Direction::Received => 1,
            Direction::Sent => 2,
        };
        let mut options = vec![EnhancedPacketOption::Flags(way)];
        if let dropped @ 1.. = std::mem::take(&mut self.dropped) {
            options.push(EnhancedPacketOption::DropCount(dropped));
        }
        if !packet.comment.is_empty() {
            options.push(EnhancedPacketOption::Comment(Cow::Borrowed(packet.comment)));
        }
        self.block(EnhancedPacketBlock {
            interface_id: packet.interface,
            timestamp: Duration::from_nanos(
                u64::try_from(packet.wall_ns.max(0)).unwrap_or(u64::MAX),
            ),
            original_len: packet.bytes.len() as u32,
            data: Cow::Owned(packet.bytes),
            options,
        });
    }

    /// Shows what was written so far.
    pub(super) fn flush(&mut self) {
        if self.error.is_none() {
            self.error = self.out.flush().err();
        }
    }

    /// Nothing can be written any more.
    pub(super) fn has_failed(&self) -> bool {
        self.error.is_some()
    }

    /// Why nothing could be written any more.
    pub(super) fn into_error(self) -> Option<io::Error> {
        self.error
    }

    fn block<'b>(&mut self, block: impl PcapNgBlock<'b>) {
        let Some(blocks) = &mut self.blocks else { return };
        if self.error.is_some() {
            return;
        }
        match blocks.write_pcapng_block(block) {
            Ok(_) => self.pass_on(),
            Err(error) => self.error = Some(io_error(error)),
        }
    }

    /// Writes what the last block has left.
    fn pass_on(&mut self) {
        let Some(blocks) = &mut self.blocks else { return };
        let bytes = blocks.get_mut();
        self.error = self.out.write_all(bytes).err();
        bytes.clear();
    }
}

fn io_error(error: PcapError) -> io::Error {
    match error {
        PcapError::IoError(error) => error,
        other => io::Error::other(other),
    }
}
