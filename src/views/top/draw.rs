//! How it looks: a sentence, a line of figures, two tables (or the messages of a connection), the keys.

use ratatui::buffer::Buffer;
use ratatui::layout::{Alignment, Constraint, Layout, Rect};
use ratatui::style::{Color, Modifier, Style};
use ratatui::text::{Line, Text};
use ratatui::widgets::{Cell, Paragraph, Row, StatefulWidget, Table, TableState, Widget, Wrap};

use super::Picture;
use super::columns::{Column, Listed};
use super::figures::{rate, seconds};
use super::state::{Focus, Look, State, selected};
use crate::export::live::FeedRow;
use crate::terminal::Escaped;

/// All of it, as a widget.
pub(super) struct Screen<'a> {
    pub(super) picture: &'a Picture,
    pub(super) state: &'a State,
    /// The last line of the log, if there is one that is new.
    pub(super) note: Option<&'a str>,
}

const KEYS: &str = "q quit  ? help  tab table  enter messages  s sort  / filter  o origin  p pause  w window  r reverse  ↑↓ row";

const HELP: [&str; 14] = [
    "q, ctrl-c   end; the last table stays",
    "tab         the keys go to the other table",
    "↑ ↓ j k     mark another row; also page up, page down, home, end",
    "enter       the last messages of the marked connection, without payload",
    "esc         back; clears the filter and the origin",
    "s           order by the next column, then again as at first: failures first",
    "r           the other way round",
    "/           show only rows that hold a text; enter keeps it, esc clears it",
    "o           only requests of this process, only those of the peer, or both",
    "w           the window of the methods: 1, 5 or 15 minutes",
    "p, space    stand still, and go on",
    "",
    "ASKED BY process: the time is the network's and the peer's.",
    "ASKED BY peer: the time is the service time of this process.",
];

impl Widget for &Screen<'_> {
    fn render(self, area: Rect, buffer: &mut Buffer) {
        let sentence = height(&self.picture.sentence, area.width);
        let [head, figures, body, keys] = Layout::vertical([
            Constraint::Length(sentence),
            Constraint::Length(1),
            Constraint::Fill(1),
            Constraint::Length(1),
        ])
        .areas(area);
        sentence_of(self.picture).render(head, buffer);
        self.figures(area.width).render(figures, buffer);
        self.body(body, buffer);
        self.keys().render(keys, buffer);
    }
}

fn sentence_of(picture: &Picture) -> Paragraph<'static> {
    let text = Escaped(&picture.sentence).to_string();
    Paragraph::new(text).style(Style::new().add_modifier(Modifier::BOLD)).wrap(Wrap { trim: true })
}

/// Lines that a sentence takes; words that do not fit leave room behind.
fn height(sentence: &str, width: u16) -> u16 {
    let mut lines = 1;
    let mut column = 0;
    for word in sentence.split(' ') {
        let length = word.chars().count();
        if column > 0 && column + 1 + length > usize::from(width) {
            lines += 1;
            column = 0;
        }
        column += length + usize::from(column > 0);
    }
    lines.min(4)
}

impl Screen<'_> {
    fn figures(&self, width: u16) -> Line<'static> {
        let (picture, state) = (self.picture, self.state);
        let mut text = String::new();
        if let Some(last) = picture.points.last() {
            let failed = last.errors + last.unanswered;
            text = format!(
                "Now {}/s answered, p50 {}, p99 {}, {failed}/s failed.",
                rate(last.answered as f64),
                seconds(last.p50),
                seconds(last.p99),
            );
        }
        if state.is_paused {
            text = format!("PAUSED. {text}");
        }
        let mut about = vec![format!("last {} min", state.choice.seconds / 60)];
        about.extend(state.origin.map(|origin| match origin {
            "local" => "asked by the process".to_owned(),
            _ => "asked by the peer".to_owned(),
        }));
        if !state.filter.is_empty() {
            about.push(format!("with \"{}\"", state.filter));
        }
        let about = shortened(&about.join(", "), usize::from(width) / 2);
        let room = usize::from(width).saturating_sub(about.chars().count() + 1);
        let text = shortened(&text, room);
        Line::from(format!("{text:room$} {about}"))
    }

    fn body(&self, area: Rect, buffer: &mut Buffer) {
        let state = self.state;
        if state.shows_help {
            Paragraph::new(Text::from_iter(HELP)).wrap(Wrap { trim: false }).render(area, buffer);
            return;
        }
        if let Some(conn) = &state.choice.conn {
            self.messages(conn, area, buffer);
            return;
        }
        let methods = state.methods(self.picture);
        let connections = state.connections(self.picture);
        let feeds = state.feeds(self.picture);
        let [area, rest] = Layout::vertical([
            Constraint::Fill(1),
            Constraint::Length(feeds_height(feeds.len(), area.height)),
        ])
        .areas(area);
        let [above, below] = split(area, methods.len(), connections.len());
        self.feeds(&feeds, rest, buffer);
        self.list("Methods", "No request ended in the window.", &methods, above, buffer);
        self.list("Connections", "No WebSocket connection is open.", &connections, below, buffer);
    }

    /// What passes without being asked for. The keys do not go there.
    fn feeds(&self, rows: &[&FeedRow], area: Rect, buffer: &mut Buffer) {
        if area.height == 0 {
            return;
        }
        let [head, body] =
            Layout::vertical([Constraint::Length(1), Constraint::Fill(1)]).areas(area);
        let style = Style::new().add_modifier(Modifier::BOLD);
        Line::styled(format!("  Feeds ({})", rows.len()), style).render(head, buffer);
        let widget = self.widget(rows, &Look::default(), area.width);
        Widget::render(widget, body, buffer);
    }

    /// A title, and a table or a word on why there is none.
    fn list<R: Listed>(
        &self,
        title: &str,
        empty: &str,
        rows: &[&R],
        area: Rect,
        buffer: &mut Buffer,
    ) {
        let is_methods = title == "Methods";
        let is_focused = (self.state.focus == Focus::Methods) == is_methods;
        let look = if is_methods { &self.state.methods } else { &self.state.connections };
        let [head, body] =
            Layout::vertical([Constraint::Length(1), Constraint::Fill(1)]).areas(area);
        let mark = if is_focused { "▶" } else { " " };
        let style = Style::new().add_modifier(Modifier::BOLD);
        Line::styled(format!("{mark} {title} ({})", rows.len()), style).render(head, buffer);
        if rows.is_empty() {
            let empty = match self.state.filter.is_empty() && self.state.origin.is_none() {
                true => empty,
                false => "Nothing matches; esc shows everything.",
            };
            Line::from(format!("  {empty}")).render(body, buffer);
            return;
        }
        let mut place = TableState::default();
        if is_focused {
            place.select(Some(selected(look, rows)));
        }
        let widget = self.widget(rows, look, area.width);
        StatefulWidget::render(widget, body, buffer, &mut place);
    }

    fn widget<R: Listed>(&self, rows: &[&R], look: &Look, width: u16) -> Table<'static> {
        let now = self.picture.time;
        let shown = || R::COLUMNS.iter().enumerate().filter(|(_, it)| width >= it.from_width);
        let heads = shown().map(|(at, column)| {
            let sign = match look.order {
                Some((by, is_backwards)) if by == at => {
                    if is_backwards {
                        "▲"
                    } else {
                        "▼"
                    }
                }
                _ => "",
            };
            cell(column, format!("{}{sign}", column.head))
        });
        let heads = Row::new(heads).style(self.faint().add_modifier(Modifier::UNDERLINED));
        let lines = rows.iter().map(|row| {
            Row::new(shown().map(|(_, column)| {
                let is_bad = (column.is_bad)(row);
                let style = if is_bad { self.bad() } else { Style::new() };
                cell(column, (column.text)(row, now)).style(style)
            }))
        });
        let others = shown().map(|(_, column)| column.width + 1).sum::<u16>();
        let longest = |column: &Column<R>| {
            let texts = rows.iter().map(|row| (column.text)(row, now).chars().count());
            let longest = texts.chain([column.head.len() + 1]).max().unwrap_or(0);
            u16::try_from(longest).unwrap_or(u16::MAX).min(width.saturating_sub(others))
        };
        let widths = shown().map(|(_, column)| match column.width {
            0 => Constraint::Length(longest(column)),
            width => Constraint::Length(width),
        });
        Table::new(lines, widths.collect::<Vec<_>>())
            .header(heads)
            .row_highlight_style(Style::new().add_modifier(Modifier::REVERSED))
    }

    fn messages(&self, conn: &str, area: Rect, buffer: &mut Buffer) {
        let [head, body] =
            Layout::vertical([Constraint::Length(1), Constraint::Fill(1)]).areas(area);
        let style = Style::new().add_modifier(Modifier::BOLD);
        let title = format!("Last messages of {conn}, without their payload (esc goes back)");
        Line::styled(title, style).render(head, buffer);
        let Some(messages) = self.picture.messages.as_deref().filter(|it| !it.is_empty()) else {
            let row = self.picture.connections.iter().find(|row| row.conn == conn);
            let why = if row.is_some() { "No message yet." } else { "It is not open any more." };
            Line::from(format!("  {why}")).render(body, buffer);
            return;
        };
        let last = messages.last().map_or(0, |message| message.at_ns);
        let rows = messages.iter().rev().map(|message| {
            let before = last.saturating_sub(message.at_ns) as f64 / 1e9;
            let text = |text: &str| Cell::from(Escaped(text).to_string());
            let number = |text: String| Cell::from(Line::from(text).alignment(Alignment::Right));
            Row::new([
                number(seconds(Some(before))),
                text(message.direction),
                text(message.r#type),
                number(message.length.to_string()),
                text(message.kind.unwrap_or("-")),
                text(message.method.as_deref().unwrap_or("-")),
            ])
        });
        let heads = ["BEFORE", "DIRECTION", "TYPE", "BYTES", "KIND", "METHOD"];
        let style = self.faint().add_modifier(Modifier::UNDERLINED);
        let widths = [8, 9, 6, 9, 12].map(Constraint::Length);
        let widths = widths.into_iter().chain([Constraint::Fill(1)]);
        let table = Table::new(rows, widths).header(Row::new(heads).style(style));
        Widget::render(table, body, buffer);
    }

    fn keys(&self) -> Line<'static> {
        if self.state.is_typing {
            return Line::from(format!("/{}█  enter keeps it, esc clears it", self.state.filter));
        }
        match self.note {
            Some(note) => Line::styled(Escaped(note).to_string(), self.bad()),
            None => Line::styled(KEYS, self.faint()),
        }
    }

    fn faint(&self) -> Style {
        Style::new().add_modifier(Modifier::DIM)
    }

    fn bad(&self) -> Style {
        if self.state.color {
            Style::new().fg(Color::Red)
        } else {
            Style::new().add_modifier(Modifier::BOLD)
        }
    }
}

fn cell<R>(column: &Column<R>, text: String) -> Cell<'static> {
    let side = if column.is_number { Alignment::Right } else { Alignment::Left };
    Cell::from(Line::from(text).alignment(side))
}

/// The beginning, with a sign that something is missing.
fn shortened(text: &str, width: usize) -> String {
    if text.chars().count() <= width {
        return text.to_owned();
    }
    text.chars().take(width.saturating_sub(1)).chain(['…']).collect()
}

/// A title and a head stand above the rows of a table.
const ABOVE: usize = 2;

/// Feeds take a third of the height at most, and no line where there is none.
fn feeds_height(feeds: usize, height: u16) -> u16 {
    let wanted = if feeds == 0 { 0 } else { feeds + ABOVE };
    u16::try_from(wanted).unwrap_or(u16::MAX).min(height / 3)
}

/// Both tables as high as they need, or each as high as it fairly can be.
fn split(area: Rect, methods: usize, connections: usize) -> [Rect; 2] {
    let height = usize::from(area.height);
    let (above, below) = (methods.max(1) + ABOVE, connections.max(1) + ABOVE);
    let above = match above + below <= height {
        true => above,
        false => above.min((height / 2).max(height.saturating_sub(below))),
    };
    let above = u16::try_from(above).unwrap_or(u16::MAX);
    Layout::vertical([Constraint::Length(above), Constraint::Fill(1)]).areas(area)
}

/// Rows of each table that are printed.
const PRINTED_MAX: usize = 30;

/// The last table, as text: what stays when it has ended, and what `--once` prints.
#[must_use]
pub fn table(picture: &Picture, state: &State, width: usize) -> String {
    let mut picture = picture.clone();
    let mut state = State { color: false, ..state.clone() };
    (state.choice.conn, state.shows_help, state.is_paused) = (None, false, false);
    let (methods, connections) = (picture.window.methods.len(), picture.connections.len());
    picture.window.methods.truncate(PRINTED_MAX);
    picture.connections.truncate(PRINTED_MAX);
    let width = u16::try_from(width).unwrap_or(u16::MAX).clamp(20, 1_000);
    let rows = [state.methods(&picture).len(), state.connections(&picture).len()];
    let body: usize = rows.iter().map(|&rows| rows.max(1) + ABOVE).sum();
    // As high as the third that feeds take then.
    let feeds = state.feeds(&picture).len().min(PRINTED_MAX);
    let body = if feeds == 0 { body } else { (body + feeds + ABOVE).max(3 * (feeds + ABOVE)) };
    let height = height(&picture.sentence, width) + 1 + u16::try_from(body).unwrap_or(u16::MAX);
    let screen = Screen { picture: &picture, state: &state, note: None };
    let mut buffer = Buffer::empty(Rect::new(0, 0, width, height + 1));
    screen.render(buffer.area, &mut buffer);
    let mut text = String::new();
    for y in 0..height {
        let line: String = (0..width).map(|x| buffer[(x, y)].symbol()).collect();
        let line = line.replace('▶', " ");
        // Between tables that do not fill their share of the height.
        if !line.trim_end().is_empty() {
            text += line.trim_end();
            text.push('\n');
        }
    }
    for (all, what) in [(methods, "methods"), (connections, "connections")] {
        if let Some(more) = all.checked_sub(PRINTED_MAX).filter(|&more| more > 0) {
            text += &format!("and {more} more {what}\n");
        }
    }
    text
}
