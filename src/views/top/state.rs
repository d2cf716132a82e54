//! What the person has chosen, and what each key does. Nothing in here reads the terminal.

use ratatui::crossterm::event::{KeyCode, KeyEvent, KeyModifiers};

use super::Picture;
use super::columns::{Column, Listed};
use crate::export::live::{ConnectionRow, FeedRow, MethodRow};

/// What is asked of those who keep the data.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Choice {
    /// Length of the window in seconds.
    pub seconds: u64,
    /// The connection whose messages are shown.
    pub conn: Option<String>,
}

/// The windows that there are, in seconds: those of the page.
const WINDOWS: [u64; 3] = [60, 300, 900];

/// Which table the keys go to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Focus {
    Methods,
    Connections,
}

/// How one table is looked at.
#[derive(Clone, Debug, Default)]
pub(super) struct Look {
    /// The column that orders it and whether backwards; `None` leaves the order of the page.
    pub(super) order: Option<(usize, bool)>,
    /// The key of the row that is marked; the first row where it is not there.
    pub(super) selected: Option<String>,
}

/// What the person has chosen.
#[derive(Clone, Debug)]
pub struct State {
    pub(super) focus: Focus,
    pub(super) methods: Look,
    pub(super) connections: Look,
    pub(super) filter: String,
    /// Keys go into the filter.
    pub(super) is_typing: bool,
    /// Only requests of `local` or `remote` origin.
    pub(super) origin: Option<&'static str>,
    pub(super) is_paused: bool,
    pub(super) shows_help: bool,
    /// Colours are shown.
    pub(super) color: bool,
    pub(super) choice: Choice,
}

/// Rows that a page key moves by.
const PAGE: isize = 10;

impl State {
    /// The last 15 minutes, as the page begins.
    #[must_use]
    pub fn new(color: bool) -> Self {
        Self {
            focus: Focus::Methods,
            methods: Look::default(),
            connections: Look::default(),
            filter: String::new(),
            is_typing: false,
            origin: None,
            is_paused: false,
            shows_help: false,
            color,
            choice: Choice { seconds: WINDOWS[2], conn: None },
        }
    }

    /// What is asked for.
    #[must_use]
    pub fn choice(&self) -> &Choice {
        &self.choice
    }

    /// Whether what is shown stands still.
    #[must_use]
    pub fn is_paused(&self) -> bool {
        self.is_paused
    }

    /// Does what a key says to what is shown. `false` ends it.
    pub fn press(&mut self, key: KeyEvent, picture: &Picture) -> bool {
        if key.modifiers.contains(KeyModifiers::CONTROL) {
            return !matches!(key.code, KeyCode::Char('c' | 'd'));
        }
        if self.is_typing {
            self.type_into_filter(key.code);
            return true;
        }
        if std::mem::take(&mut self.shows_help) {
            return key.code != KeyCode::Char('q');
        }
        match key.code {
            KeyCode::Char('q') => return false,
            KeyCode::Char('?' | 'h') => self.shows_help = true,
            KeyCode::Char('/') => self.is_typing = true,
            KeyCode::Char('p' | ' ') => self.is_paused = !self.is_paused,
            KeyCode::Char('o') => self.next_origin(),
            KeyCode::Char('w') => self.next_window(),
            KeyCode::Char('s') => self.next_order(),
            KeyCode::Char('r') => self.reverse(),
            KeyCode::Esc => self.go_back(),
            KeyCode::Tab | KeyCode::BackTab => {
                self.focus = match self.focus {
                    Focus::Methods => Focus::Connections,
                    Focus::Connections => Focus::Methods,
                };
            }
            KeyCode::Enter => self.look_into(picture),
            KeyCode::Down | KeyCode::Char('j') => self.go(picture, 1),
            KeyCode::Up | KeyCode::Char('k') => self.go(picture, -1),
            KeyCode::PageDown => self.go(picture, PAGE),
            KeyCode::PageUp => self.go(picture, -PAGE),
            KeyCode::Home => self.go(picture, isize::MIN),
            KeyCode::End => self.go(picture, isize::MAX),
            _ => {}
        }
        true
    }

    fn type_into_filter(&mut self, code: KeyCode) {
        match code {
            KeyCode::Enter => self.is_typing = false,
            KeyCode::Esc => {
                self.is_typing = false;
                self.filter.clear();
            }
            KeyCode::Backspace => drop(self.filter.pop()),
            KeyCode::Char(c) if !c.is_control() => self.filter.push(c),
            _ => {}
        }
    }

    /// Out of a connection, else out of a filter.
    fn go_back(&mut self) {
        if self.choice.conn.take().is_none() {
            self.filter.clear();
            self.origin = None;
        }
    }

    fn next_origin(&mut self) {
        self.origin = match self.origin {
            None => Some("local"),
            Some("local") => Some("remote"),
            Some(_) => None,
        };
    }

    fn next_window(&mut self) {
        let at = WINDOWS.iter().position(|&seconds| seconds == self.choice.seconds);
        self.choice.seconds = WINDOWS[at.map_or(0, |at| (at + 1) % WINDOWS.len())];
    }

    fn look(&mut self) -> (&mut Look, usize) {
        match self.focus {
            Focus::Methods => (&mut self.methods, MethodRow::COLUMNS.len()),
            Focus::Connections => (&mut self.connections, ConnectionRow::COLUMNS.len()),
        }
    }

    fn next_order(&mut self) {
        let (look, columns) = self.look();
        let next = look.order.map_or(0, |(column, _)| column + 1);
        look.order = (next < columns).then_some((next, false));
    }

    fn reverse(&mut self) {
        let (look, _) = self.look();
        if let Some((_, is_backwards)) = &mut look.order {
            *is_backwards = !*is_backwards;
        }
    }

    fn look_into(&mut self, picture: &Picture) {
        match self.focus {
            Focus::Methods => self.focus = Focus::Connections,
            Focus::Connections => {
                let rows = self.connections(picture);
                let at = selected(&self.connections, &rows);
                self.choice.conn = rows.get(at).map(|row| row.conn.clone());
            }
        }
    }

    fn go(&mut self, picture: &Picture, by: isize) {
        let next = |look: &Look, keys: Vec<String>| {
            let at = look.selected.as_ref().and_then(|key| keys.iter().position(|it| it == key));
            let at = at.unwrap_or(0).saturating_add_signed(by).min(keys.len().saturating_sub(1));
            keys.into_iter().nth(at)
        };
        match self.focus {
            Focus::Methods => {
                let keys = self.methods(picture).iter().map(|row| row.key()).collect();
                self.methods.selected = next(&self.methods, keys);
            }
            Focus::Connections => {
                let keys = self.connections(picture).iter().map(|row| row.key()).collect();
                self.connections.selected = next(&self.connections, keys);
            }
        }
    }

    /// The methods that are shown, in their order.
    pub(super) fn methods<'a>(&self, picture: &'a Picture) -> Vec<&'a MethodRow> {
        let is_asked_for = |row: &&MethodRow| self.origin.is_none_or(|it| it == row.origin());
        let rows = picture.window.methods.iter().filter(is_asked_for).collect();
        self.arranged(rows, &self.methods)
    }

    /// The connections that are shown, in their order.
    pub(super) fn connections<'a>(&self, picture: &'a Picture) -> Vec<&'a ConnectionRow> {
        self.arranged(picture.connections.iter().collect(), &self.connections)
    }

    /// The feeds that are shown: always in the order of the page.
    pub(super) fn feeds<'a>(&self, picture: &'a Picture) -> Vec<&'a FeedRow> {
        self.arranged(picture.feeds.iter().collect(), &Look::default())
    }

    fn arranged<'a, R: Listed>(&self, mut rows: Vec<&'a R>, look: &Look) -> Vec<&'a R> {
        let wanted = self.filter.to_lowercase();
        rows.retain(|row| row.haystack().contains(&wanted));
        if let Some((column, is_backwards)) = look.order {
            let order = R::COLUMNS.get(column).map(|Column { order, .. }| order);
            if let Some(order) = order {
                rows.sort_by(|a, b| if is_backwards { order(b, a) } else { order(a, b) });
            }
        }
        rows
    }
}

/// The place of the marked row.
pub(super) fn selected<R: Listed>(look: &Look, rows: &[&R]) -> usize {
    let Some(key) = &look.selected else { return 0 };
    rows.iter().position(|row| row.key() == *key).unwrap_or(0)
}
