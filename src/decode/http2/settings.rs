//! The payload of SETTINGS (RFC 9113, section 6.5.1), as far as it matters here.

/// RFC 8441, section 3: the sender takes requests that begin a WebSocket.
const ENABLE_CONNECT_PROTOCOL: u16 = 0x8;

/// RFC 9113, section 6.5.2: payload bytes of the longest frame that the sender takes.
const MAX_FRAME_SIZE: u16 = 0x5;

/// What it is where nothing is said.
const DEFAULT_FRAME_BYTES: u32 = 1 << 14;

/// Bytes of one setting.
const SETTING_BYTES: usize = 6;

/// Reads the settings of one direction as they come.
#[derive(Debug)]
pub(super) struct Settings {
    partial: [u8; SETTING_BYTES],
    have: usize,
    /// Extended CONNECT is allowed by this side.
    pub(super) allows_connect: bool,
    /// The most payload bytes of a frame that this side has ever taken.
    pub(super) frame_bytes: u32,
}

impl Default for Settings {
    fn default() -> Self {
        let frame_bytes = DEFAULT_FRAME_BYTES;
        Self { partial: [0; SETTING_BYTES], have: 0, allows_connect: false, frame_bytes }
    }
}

impl Settings {
    /// A frame begins.
    pub(super) fn begin(&mut self) {
        self.have = 0;
    }

    /// Its payload goes on.
    pub(super) fn push(&mut self, bytes: &[u8]) {
        for &byte in bytes {
            self.partial[self.have] = byte;
            self.have += 1;
            if self.have == SETTING_BYTES {
                self.have = 0;
                self.take();
            }
        }
    }

    fn take(&mut self) {
        let [a, b, value @ ..] = self.partial;
        let value = u32::from_be_bytes(value);
        match u16::from_be_bytes([a, b]) {
            // It cannot be taken back (RFC 8441, section 3).
            ENABLE_CONNECT_PROTOCOL => self.allows_connect |= value == 1,
            MAX_FRAME_SIZE => self.frame_bytes = self.frame_bytes.max(value),
            _ => {}
        }
    }

    /// Some of it was not seen: any length may have been allowed.
    pub(super) fn miss(&mut self) {
        self.frame_bytes = u32::MAX;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn extended_connect_is_found_among_other_settings_in_any_cutting() {
        let bytes = [[0, 3, 0, 0, 0, 100], [0, 8, 0, 0, 0, 1], [0, 8, 0, 0, 0, 0]].concat();
        for size in 1..bytes.len() {
            let mut settings = Settings::default();
            settings.begin();
            bytes.chunks(size).for_each(|piece| settings.push(piece));
            assert!(settings.allows_connect);
        }
        let mut settings = Settings::default();
        settings.push(&bytes[..6]);
        assert!(!settings.allows_connect);
        assert_eq!(settings.frame_bytes, DEFAULT_FRAME_BYTES);
        settings.push(&[0, 5, 0, 1, 0, 0]);
        assert_eq!(settings.frame_bytes, 1 << 16);
    }
}
