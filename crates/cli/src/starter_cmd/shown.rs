//! What the AOS tools print of an application: one line of JSON, or a row of a table.

use std::cmp::Reverse;

use verger_engine::life;
use verger_engine::runs::StartFailure;
use verger_engine::time::Moment;
use verger_engine::views::aos;
use verger_wire::message::{OrderKind, Service};
use verger_wire::view::micros;

use super::is_stopped;
use super::line::Sort;

/// The status of an application as one line of JSON, as the original writes flat tables; `{  }` for one that is not known.
///
/// `pid` is left out when there is no process: the original kept the last one, which may be somebody else's by then.
pub(super) fn json(service: Option<&Service>) -> String {
    let fields: Vec<String> = service.map(fields).unwrap_or_default();
    format!("{{ {} }}\n", fields.join(", "))
}

fn fields(service: &Service) -> Vec<String> {
    let number = |name: &str, value: u64| format!("\"{name}\": {value}");
    let word = |name: &str, value: String| format!("\"{name}\": \"{value}\"");
    let start = service.start_us;
    let mut fields = vec![
        word("name", service.name.clone()),
        word("state", aos::state(service.phase).to_string()),
        number("last_exit_code", u64::from(exit_code(service).unwrap_or(0))),
    ];
    fields.extend(service.pid.map(|pid| number("pid", u64::from(pid))));
    fields.extend(start.map(|_| number("id", service.run)));
    fields.push(number("last_start_time", start.unwrap_or(0).saturating_mul(1_000)));
    fields.push(word("last_stop_reason", aos::last_stop_reason(last_order(service)).to_string()));
    fields
}

fn exit_code(service: &Service) -> Option<u8> {
    aos::last_exit_code(service.last_exit.as_ref().map(|exit| exit.fact()).as_ref())
}

fn last_order(service: &Service) -> life::LastOrder {
    let order = &service.last_order;
    match (order.kind, order.step) {
        (OrderKind::Restart, _) => life::LastOrder::Restart,
        (OrderKind::Shutdown, _) => life::LastOrder::Shutdown,
        (OrderKind::StartFailed, Some(step)) => {
            life::LastOrder::StartFailed(StartFailure { step, errno: order.errno.unwrap_or(0) })
        }
        (OrderKind::Stop, _) | (OrderKind::StartFailed, None) => life::LastOrder::Stop,
    }
}

/// The table of `aos_starter status`.
pub(super) fn table(mut services: Vec<&Service>, sort: &Sort, now: Moment) -> String {
    let start = |service: &Service| service.start_us.unwrap_or(0);
    services.sort_by_key(|service| service.name.clone());
    // What is stopped has neither pid nor uptime, and stands last.
    match sort {
        Sort::Name => {}
        Sort::State => services.sort_by_key(|service| aos::state(service.phase).to_string()),
        Sort::Pid => services.sort_by_key(|service| (is_stopped(service.phase), service.pid.unwrap_or(0))),
        Sort::Uptime => services.sort_by_key(|service| (is_stopped(service.phase), Reverse(age(start(service), now)))),
    }
    let mut text = row(["Name", "Node", "State", "PID", "Uptime", "Last Exit Code"]);
    for service in services {
        let state = aos::state(service.phase).to_string();
        let is_up = !is_stopped(service.phase);
        let pid = service.pid.filter(|_| is_up).map_or_else(String::new, |pid| pid.to_string());
        let uptime = service.start_us.filter(|_| is_up);
        let uptime = uptime.map_or_else(String::new, |start| format!("{}s", age(start, now) / 1_000_000));
        let code = exit_code(service).map_or_else(|| "-".to_owned(), |code| code.to_string());
        text.push_str(&row([&service.name, "none", &state, &pid, &uptime, &code]));
    }
    text
}

fn age(start_us: u64, now: Moment) -> u64 {
    micros(now).saturating_sub(start_us)
}

fn row([name, node, state, pid, uptime, code]: [&str; 6]) -> String {
    format!("{name:<30} {node:<10} {state:<8} {pid:<6} {uptime:<9} {code:<13}\n")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::words::samples::{exited, web};
    use verger_engine::life::PhaseKind;
    use verger_engine::runs::Step;
    use verger_wire::message::LastOrder;

    #[test]
    fn a_status_is_one_line_of_json() {
        let never = Service { run: 0, start_us: None, ..web(PhaseKind::Down) };
        let refused = LastOrder { kind: OrderKind::StartFailed, step: Some(Step::Exec), errno: Some(2) };
        let crashed = Service { last_exit: Some(exited(7)), last_order: refused, ..web(PhaseKind::Resting) };
        for (service, line) in [
            (None, "{  }\n"),
            (
                Some(web(PhaseKind::Running)),
                "{ \"name\": \"web\", \"state\": \"RUNNING\", \"last_exit_code\": 0, \"pid\": 4711, \"id\": 5, \
                 \"last_start_time\": 900000000, \"last_stop_reason\": \"STOP_REQUESTED\" }\n",
            ),
            (
                Some(never),
                "{ \"name\": \"web\", \"state\": \"STOPPED\", \"last_exit_code\": 0, \"last_start_time\": 0, \
                 \"last_stop_reason\": \"STOP_REQUESTED\" }\n",
            ),
            (
                Some(crashed),
                "{ \"name\": \"web\", \"state\": \"WAITING\", \"last_exit_code\": 7, \"id\": 5, \
                 \"last_start_time\": 900000000, \"last_stop_reason\": \"EXECV_ERR\" }\n",
            ),
        ] {
            let text = json(service.as_ref());
            assert_eq!(text, line);
            let _is_json: serde_json::Value = serde_json::from_str(&text).unwrap();
        }
    }

    #[test]
    fn the_table_has_the_columns_of_the_original() {
        let named = |name: &str, phase| Service { name: name.to_owned(), ..web(phase) };
        let young = Service { start_us: Some(4_000_000), pid: Some(9), ..named("b", PhaseKind::Running) };
        let stopped = Service { last_exit: Some(exited(1)), ..named("c", PhaseKind::Failed) };
        let services = [named("a", PhaseKind::Starting), young, stopped];
        let text = |sort| table(services.iter().collect(), &sort, Moment(5_000_000_000));
        assert_eq!(
            text(Sort::Name),
            "Name                           Node       State    PID    Uptime    Last Exit Code\n\
             a                              none       STARTING 4711   4s        -            \n\
             b                              none       RUNNING  9      1s        -            \n\
             c                              none       STOPPED                   1            \n"
        );
        let names = |sort| text(sort).lines().skip(1).map(|line| line[..1].to_owned()).collect::<Vec<_>>().concat();
        assert_eq!(names(Sort::State), "bac");
        assert_eq!(names(Sort::Pid), "bac");
        assert_eq!(names(Sort::Uptime), "abc");
    }
}
