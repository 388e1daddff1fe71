//! Whole screens, drawn into memory, after messages as the sources send them.

use crate::process::{Process, sample};
use crate::tui::logs::{Line, Side, Subject};
use crate::tui::model::{Action, Command, Model};
use crate::tui::update::{Effect, Message};
use ratatui::Terminal;
use ratatui::backend::TestBackend;
use ratatui::buffer::Cell;
use ratatui::crossterm::event::{
    Event, KeyCode, KeyEvent, KeyModifiers, MouseButton, MouseEvent, MouseEventKind,
};
use serde_json::json;

struct Desk {
    model: Model,
    terminal: Terminal<TestBackend>,
}

fn app(id: u32, name: &str, status: &str, cpu: f64) -> Process {
    let mut process = sample(
        id,
        name,
        json!({ "status": status, "pm_uptime": 0, "exec_mode": "fork_mode", "restart_time": id,
            "pm_exec_path": format!("/srv/apps/{name}/server.js"), "pm_out_log_path": format!("/logs/{name}.log"),
            "axm_monitor": { "Event Loop Latency": { "value": "0.42", "unit": "ms" } },
            "axm_actions": [{ "action_name": "clear cache", "action_type": "custom" }] }),
    );
    process.cpu = cpu;
    process
}

impl Desk {
    fn new(width: u16, height: u16) -> Desk {
        let mut model = Model::new(false);
        model.now_ms = 61_000;
        Desk {
            model,
            terminal: Terminal::new(TestBackend::new(width, height)).unwrap(),
        }
    }

    fn with(width: u16, height: u16, processes: Vec<Process>) -> Desk {
        let mut desk = Desk::new(width, height);
        desk.tell(Message::List(Ok((
            processes,
            Some("host metrics | cpu: 3%".into()),
        ))));
        desk.screen();
        desk
    }

    fn tell(&mut self, message: Message) -> Vec<Effect> {
        self.model.update(message)
    }

    fn press(&mut self, code: KeyCode) -> Vec<Effect> {
        self.tell(Message::Terminal(Event::Key(KeyEvent::new(
            code,
            KeyModifiers::NONE,
        ))))
    }

    fn write(&mut self, text: &str) {
        for c in text.chars() {
            self.press(KeyCode::Char(c));
        }
    }

    fn mouse(&mut self, kind: MouseEventKind, column: u16, row: u16) -> Vec<Effect> {
        let event = MouseEvent {
            kind,
            column,
            row,
            modifiers: KeyModifiers::NONE,
        };
        self.tell(Message::Terminal(Event::Mouse(event)))
    }

    fn say(&mut self, id: u32, text: &str) {
        self.tell(Message::Line(Line::new(Some(id), "api", Side::Out, text)));
    }

    fn screen(&mut self) -> String {
        let model = &mut self.model;
        self.terminal.draw(|frame| super::draw(frame, model)).unwrap();
        let buffer = self.terminal.backend().buffer();
        let width = usize::from(buffer.area.width);
        let cells: Vec<&str> = buffer.content().iter().map(Cell::symbol).collect();
        cells
            .chunks(width)
            .map(|row| row.concat().trim_end().to_owned() + "\n")
            .collect()
    }

    fn selected(&self) -> &str {
        &self.model.current().unwrap().name
    }
}

fn three() -> Vec<Process> {
    vec![
        app(0, "api", "online", 12.5),
        app(1, "worker", "errored", 0.0),
        app(2, "mailer", "stopped", 3.0),
    ]
}

#[test]
fn a_wide_screen() {
    let mut desk = Desk::with(110, 24, three());
    desk.say(0, "listening on 3000");
    desk.say(1, "not shown: another process");
    insta::assert_snapshot!(desk.screen());
}

#[test]
fn a_narrow_screen_and_a_tiny_one() {
    insta::assert_snapshot!(Desk::with(60, 16, three()).screen());
    for (width, height) in [(1, 1), (5, 2), (20, 5), (30, 8), (300, 3)] {
        Desk::with(width, height, three()).screen();
    }
}

#[test]
fn nothing_runs_and_nobody_answers() {
    let mut desk = Desk::with(80, 12, Vec::new());
    assert!(desk.screen().contains("Nothing runs yet"));
    desk.press(KeyCode::Char('r'));
    desk.press(KeyCode::Char('+'));
    assert!(desk.model.overlay.is_none(), "there is nothing to act on");
    desk.tell(Message::List(Err("no daemon listens".into())));
    assert!(desk.screen().contains("! no daemon listens"));
    desk.tell(Message::List(Ok((three(), None))));
    assert!(!desk.screen().contains("no daemon listens"));
}

#[test]
fn keys_select_and_the_logs_follow() {
    let mut desk = Desk::with(110, 24, three());
    assert_eq!(desk.selected(), "api");
    let effects = desk.press(KeyCode::Down);
    assert_eq!(desk.selected(), "mailer", "sorted by name");
    let [Effect::Tail(wish)] = effects.as_slice() else {
        panic!("{effects:?}")
    };
    assert_eq!(wish.subject, Subject::One(2));
    assert_eq!(wish.files[0].2.as_deref(), Some("/logs/mailer.log"));
    desk.press(KeyCode::End);
    assert_eq!(desk.selected(), "worker");
    desk.press(KeyCode::Down);
    assert_eq!(desk.selected(), "worker");
    desk.press(KeyCode::Home);
    assert_eq!(desk.selected(), "api");
    // The past of somebody who is not looked at any more is not shown.
    desk.tell(Message::Past(
        Subject::One(2),
        vec![Line::new(Some(2), "mailer", Side::Out, "old mail")],
    ));
    assert!(!desk.screen().contains("old mail"));
    desk.tell(Message::Past(
        Subject::One(0),
        vec![Line::new(Some(0), "api", Side::Out, "old api")],
    ));
    assert!(desk.screen().contains("old api"));
}

#[test]
fn an_action_is_asked_for_first_and_its_result_told() {
    let mut desk = Desk::with(110, 24, three());
    desk.press(KeyCode::Char('r'));
    assert!(desk.screen().contains("Restart api (0)?"));
    assert_eq!(desk.press(KeyCode::Char('x')), [], "neither yes nor no");
    assert_eq!(desk.press(KeyCode::Esc), []);
    assert!(!desk.screen().contains("Restart api (0)?"));
    desk.press(KeyCode::Char('s'));
    assert!(desk.screen().contains("Stop api (0)?"));
    let command = Command {
        action: Action::Stop,
        id: 0,
        name: "api".into(),
    };
    assert_eq!(desk.press(KeyCode::Char('y')), [Effect::Run(command.clone())]);
    let effects = desk.tell(Message::Done(command.clone(), Ok(())));
    assert_eq!(effects, [Effect::Poll]);
    assert!(desk.screen().contains("Stop api (0): done"));
    desk.tell(Message::Done(command, Err("process 0 not found".into())));
    assert!(desk.screen().contains("Stop api (0): process 0 not found"));
    // What does not run can be started.
    desk.press(KeyCode::Down);
    desk.press(KeyCode::Char('s'));
    assert!(desk.screen().contains("Start mailer (2)?"));
}

#[test]
fn scaling_counts_the_instances_and_never_goes_to_none() {
    let mut desk = Desk::with(
        110,
        24,
        vec![app(0, "api", "online", 0.0), app(1, "api", "online", 0.0)],
    );
    desk.press(KeyCode::Char('+'));
    assert!(desk.screen().contains("Scale api to 3?"));
    desk.press(KeyCode::Esc);
    desk.press(KeyCode::Char('-'));
    assert!(desk.screen().contains("Scale api to 1?"));
    desk.press(KeyCode::Esc);
    let mut desk = Desk::with(110, 24, vec![app(0, "api", "online", 0.0)]);
    desk.press(KeyCode::Char('-'));
    assert!(desk.screen().contains("one instance left"));
}

#[test]
fn filter_and_sort() {
    let mut desk = Desk::with(110, 24, three());
    desk.press(KeyCode::Char('/'));
    desk.write("ER");
    assert!(desk.screen().contains("show only: ER"));
    assert_eq!(desk.model.shown.len(), 2, "worker and mailer");
    desk.press(KeyCode::Enter);
    assert_eq!(desk.selected(), "mailer", "the nearest that is left");
    assert!(desk.screen().contains("2 of 3 processes: ER"));
    desk.press(KeyCode::Esc);
    assert_eq!(desk.model.shown.len(), 3);
    assert_eq!(desk.selected(), "mailer");
    desk.press(KeyCode::Char('o'));
    desk.press(KeyCode::Home);
    assert_eq!(desk.selected(), "api", "most CPU first");
    desk.press(KeyCode::Char('O'));
    desk.press(KeyCode::Home);
    assert_eq!(desk.selected(), "worker");
}

#[test]
fn search_in_the_logs() {
    let mut desk = Desk::with(80, 24, three());
    for n in 0..50 {
        desk.say(0, &format!("line {n}{}", if n == 7 { " Failed" } else { "" }));
    }
    assert!(desk.screen().contains("line 49"));
    desk.press(KeyCode::Tab);
    desk.press(KeyCode::Char('/'));
    desk.write("failed");
    desk.press(KeyCode::Enter);
    let screen = desk.screen();
    assert!(
        screen.contains("line 7 Failed") && !screen.contains("line 49"),
        "{screen}"
    );
    assert!(screen.contains("\"failed\": 1"));
    desk.press(KeyCode::Char('n'));
    assert!(desk.screen().contains("no more \"failed\" above"));
    desk.press(KeyCode::End);
    assert!(desk.screen().contains("line 49"));
}

#[test]
fn the_mouse_selects_sorts_and_scrolls() {
    let mut desk = Desk::with(110, 24, three());
    let rows = desk.model.areas.rows;
    desk.mouse(MouseEventKind::Down(MouseButton::Left), rows.x + 3, rows.y + 2);
    assert_eq!(desk.selected(), "worker");
    desk.mouse(
        MouseEventKind::Down(MouseButton::Left),
        rows.x + 3,
        rows.y + rows.height + 50,
    );
    assert_eq!(desk.selected(), "worker", "a click beside everything is nothing");
    let (header, _) = desk.model.areas.header[0];
    desk.mouse(MouseEventKind::Down(MouseButton::Left), header.x, header.y);
    desk.screen();
    desk.mouse(MouseEventKind::ScrollUp, rows.x, rows.y);
    assert_eq!(desk.selected(), "api", "sorted by id now");
    for n in 0..50 {
        desk.say(0, &n.to_string());
    }
    let logs = desk.model.areas.logs;
    desk.mouse(MouseEventKind::ScrollUp, logs.x, logs.y);
    assert_eq!(desk.model.logs.back, 3);
    desk.mouse(MouseEventKind::ScrollDown, logs.x, logs.y);
    assert_eq!(desk.model.logs.back, 0);
}

#[test]
fn the_selection_stays_on_the_screen_among_thousands() {
    let many = (0..3_000)
        .map(|id| app(id, &format!("app-{id:04}"), "online", 0.0))
        .collect();
    let mut desk = Desk::with(110, 30, many);
    desk.press(KeyCode::End);
    assert!(desk.screen().contains("app-2999"));
    desk.press(KeyCode::PageUp);
    desk.press(KeyCode::Home);
    assert!(desk.screen().contains("app-0000"));
    // The selected one goes away: its neighbour takes over.
    desk.press(KeyCode::End);
    let rest = (0..10)
        .map(|id| app(id, &format!("app-{id:04}"), "online", 0.0))
        .collect();
    desk.tell(Message::List(Ok((rest, None))));
    assert_eq!(desk.selected(), "app-0009");
    assert!(desk.screen().contains("app-0009"));
}

#[test]
fn help_and_the_way_out() {
    let mut desk = Desk::with(110, 30, three());
    desk.press(KeyCode::Char('?'));
    insta::assert_snapshot!(desk.screen());
    assert_eq!(desk.press(KeyCode::Char('q')), [], "closes the help only");
    assert_eq!(desk.press(KeyCode::Char('q')), [Effect::Quit]);
    let control = KeyEvent::new(KeyCode::Char('c'), KeyModifiers::CONTROL);
    desk.press(KeyCode::Char('r'));
    assert_eq!(desk.tell(Message::Terminal(Event::Key(control))), [Effect::Quit]);
}
