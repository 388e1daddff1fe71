//! The terminal's own sixteen colours, so that every theme keeps its contrast; without colours only weight and inversion.

use ratatui::style::{Color, Modifier, Style};

#[derive(Clone, Copy)]
pub(super) struct Palette {
    pub(super) title: Style,
    pub(super) header: Style,
    pub(super) good: Style,
    pub(super) bad: Style,
    pub(super) busy: Style,
    pub(super) dim: Style,
    pub(super) key: Style,
    pub(super) selected: Style,
    pub(super) spark: Style,
    pub(super) found: Style,
    pub(super) frame: Style,
    pub(super) focused: Style,
}

impl Palette {
    pub(super) fn new(colour: bool) -> Palette {
        let plain = Style::new();
        let paint = |style: Style, colour_of: Color| if colour { style.fg(colour_of) } else { style };
        let bold = plain.add_modifier(Modifier::BOLD);
        Palette {
            title: bold.add_modifier(Modifier::REVERSED),
            header: paint(bold, Color::Cyan),
            good: paint(plain, Color::Green),
            bad: paint(bold, Color::Red),
            busy: paint(plain, Color::Yellow),
            dim: if colour { plain.fg(Color::DarkGray) } else { plain },
            key: paint(bold, Color::Cyan),
            selected: plain.add_modifier(Modifier::REVERSED),
            spark: paint(plain, Color::Cyan),
            found: if colour {
                plain.fg(Color::Black).bg(Color::Yellow)
            } else {
                plain.add_modifier(Modifier::REVERSED)
            },
            frame: if colour { plain.fg(Color::DarkGray) } else { plain },
            focused: paint(plain, Color::Cyan),
        }
    }

    /// The colour of a status.
    pub(super) fn status(self, status: &str) -> Style {
        match status {
            "online" => self.good,
            "launching" | "stopping" | "waiting restart" | "one-launch-status" => self.busy,
            "stopped" => self.dim,
            _ => self.bad,
        }
    }

    pub(super) fn border(self, focused: bool) -> Style {
        if focused { self.focused } else { self.frame }
    }
}
