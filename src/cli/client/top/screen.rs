//! The terminal: taken, drawn on, and given back as it was, however this ends.
//!
//! ratatui draws what has changed and gives the terminal back also in a panic; crossterm tells keys and new sizes.

use std::io;

use crossterm::event::{Event, EventStream, KeyCode, KeyEvent, KeyModifiers};
use futures::StreamExt as _;
use ratatui::{Frame, widgets::Paragraph};
use tokio::{
    signal::unix::{SignalKind, signal},
    sync::mpsc::Receiver,
};

use super::{super::super::failure::Failure, TopSample, view::View};

/// Shows answers until `q`, Ctrl-C or a signal.
pub(super) async fn show(view: &mut View, answers: &mut Receiver<Result<TopSample, Failure>>) -> io::Result<()> {
    let mut ended = signal(SignalKind::terminate())?;
    let mut terminal = ratatui::try_init()?;
    let mut events = EventStream::new();
    let shown = loop {
        if let Err(error) = terminal.draw(|frame| draw(view, frame)) {
            break Err(error);
        }
        tokio::select! {
            answer = answers.recv() => match answer {
                Some(answer) => view.learn(answer),
                None => break Ok(()),
            },
            event = events.next() => match event {
                Some(Ok(event)) if !is_end(&event) => {}
                Some(Err(error)) => break Err(error),
                Some(Ok(_)) | None => break Ok(()),
            },
            _ = ended.recv() => break Ok(()),
        }
    };
    // Also on the way out of a failure: it is told on the terminal as it was.
    ratatui::try_restore()?;
    shown
}

fn draw(view: &View, frame: &mut Frame<'_>) {
    frame.render_widget(Paragraph::new(view.lines()), frame.area());
}

/// In raw mode Ctrl-C is a key like others.
fn is_end(event: &Event) -> bool {
    let Event::Key(KeyEvent { code, modifiers, .. }) = event else { return false };
    match code {
        KeyCode::Char('q') => true,
        KeyCode::Char('c') => modifiers.contains(KeyModifiers::CONTROL),
        _ => false,
    }
}

#[cfg(test)]
pub(super) fn drawn(view: &View, width: u16, height: u16) -> String {
    let mut terminal = ratatui::Terminal::new(ratatui::backend::TestBackend::new(width, height)).expect("in memory");
    terminal.draw(|frame| draw(view, frame)).expect("in memory");
    let buffer = terminal.backend().buffer();
    let rows = buffer.content().chunks(usize::from(width));
    let rows = rows.map(|row| row.iter().map(|cell| cell.symbol()).collect::<String>().trim_end().to_owned());
    rows.collect::<Vec<_>>().join("\n")
}
