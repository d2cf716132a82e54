//! The terminal: entered, drawn on, and left as it was, however that comes about.

use std::io;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use ratatui::DefaultTerminal;
use ratatui::crossterm::event::{self, Event, KeyEventKind};

use super::draw::Screen;
use super::{Choice, Picture, State};
use crate::terminal;

/// How often something new is looked for.
const PERIOD: Duration = Duration::from_millis(250);

/// How many periods a line of the log is shown: ten seconds, less where keys are pressed.
const NOTED: u32 = 40;

/// What was on the screen when it ended.
#[derive(Debug)]
pub struct Shown {
    /// The last picture.
    pub picture: Picture,
    /// What the person had chosen.
    pub state: State,
}

/// Shows what `look` takes until a key or `stop` ends it. `entered` is called once the terminal is
/// open, for what must come before a sandbox.
///
/// # Errors
///
/// There is no terminal, or it cannot be read or written any more.
pub fn show(
    stop: &AtomicBool,
    mut state: State,
    entered: impl FnOnce() -> io::Result<()>,
    mut look: impl FnMut(&Choice) -> Picture,
) -> io::Result<Shown> {
    let mut open = Open::enter()?;
    entered()?;
    let mut picture = look(state.choice());
    let mut asked = state.choice().clone();
    let mut note: Option<(String, u32)> = None;
    while !stop.load(Ordering::Relaxed) {
        if let Some(line) = terminal::last_held_line() {
            note = Some((line, NOTED));
        }
        note = note.filter(|(_, left)| *left > 0).map(|(line, left)| (line, left - 1));
        let screen = Screen {
            picture: &picture,
            state: &state,
            note: note.as_ref().map(|it| it.0.as_str()),
        };
        open.terminal.draw(|frame| frame.render_widget(&screen, frame.area()))?;
        let goes_on = take_keys(&mut state, &picture)?;
        if !state.is_paused() {
            picture = look(state.choice());
        } else if asked != *state.choice() {
            picture.take_chosen(look(state.choice()));
        }
        asked.clone_from(state.choice());
        if !goes_on {
            break;
        }
    }
    drop(open);
    Ok(Shown { picture, state })
}

/// Waits for keys for a while, and does what they say. `false` ends it.
fn take_keys(state: &mut State, picture: &Picture) -> io::Result<bool> {
    let mut patience = PERIOD;
    while event::poll(patience)? {
        patience = Duration::ZERO;
        match event::read()? {
            Event::Key(key) if key.kind != KeyEventKind::Release && !state.press(key, picture) => {
                return Ok(false);
            }
            _ => {}
        }
    }
    Ok(true)
}

/// The terminal while it is ours. Dropped, it is as it was; also after a panic.
struct Open {
    terminal: DefaultTerminal,
}

impl Open {
    fn enter() -> io::Result<Self> {
        terminal::hold_log();
        let opened = ratatui::try_init().and_then(|terminal| {
            let open = Self { terminal };
            // Opens what keys are read from.
            event::poll(Duration::ZERO)?;
            Ok(open)
        });
        if opened.is_err() {
            terminal::release_log();
        }
        opened
    }
}

impl Drop for Open {
    fn drop(&mut self) {
        let _ = self.terminal.show_cursor();
        let _ = ratatui::try_restore();
        terminal::release_log();
    }
}
