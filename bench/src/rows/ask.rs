//! What it costs to know the status of one service, by each of the ways.

use std::hint::black_box;
use std::process::{Command, Stdio};
use std::time::Instant;

use super::{Place, absolute, median, plan};
use crate::children::Children;
use crate::daemon::Daemon;
use crate::table::Line;

/// By the board, by the socket, by the tool.
pub(crate) fn status(place: &Place) -> Result<Vec<Line>, String> {
    const COUNT: usize = 1000;
    let keys = format!("command = [\"{}\", \"p\"]", place.floor.child());
    let (mut children, output) = Children::new()?;
    let daemon = Daemon::start(&place.programs, &plan(COUNT, &keys), output, |_| {})?;
    children.all(COUNT)?;
    daemon.wait_until(COUNT, |record| record.ready)?;

    let board = daemon.board()?;
    let name = "s0500";
    let slot = board.find(name).map_err(|why| format!("the board: {why}"))?.ok_or("not on the board")?.slot;
    let mut by_board = Vec::new();
    for _ in 0..50 {
        let begun = Instant::now();
        for _ in 0..20_000 {
            black_box(board.read(black_box(slot)).map_err(|why| format!("the board: {why}"))?);
        }
        by_board.push(begun.elapsed().as_nanos() as f64 / 20_000.0);
    }

    let mut connection = daemon.connect()?;
    let mut by_socket = Vec::new();
    for _ in 0..5000 {
        let begun = Instant::now();
        black_box(connection.list(Some(&[name])).map_err(|why| format!("the socket: {why}"))?);
        by_socket.push(begun.elapsed().as_nanos() as f64 / 1e3);
    }

    let mut by_tool = Vec::new();
    let tool = place.programs.join("verger");
    for _ in 0..200 {
        let mut command = Command::new(&tool);
        command.args(["--instance", "bench", "status", name]).env("VERGER_RUNTIME_DIR", daemon.folder());
        command.stdout(Stdio::null());
        let begun = Instant::now();
        let status = command.status().map_err(|why| format!("verger: {why}"))?;
        by_tool.push(begun.elapsed().as_nanos() as f64 / 1e6);
        if !status.success() {
            return Err(format!("verger status: {status}"));
        }
    }
    daemon.stop()?;
    let (board, socket, tool) = (median(&mut by_board), median(&mut by_socket), median(&mut by_tool));
    Ok(vec![
        absolute("status of one of 1000, by the board", format!("{board:.0} ns"), "< 200 ns", Some(board < 200.0)),
        absolute("status of one of 1000, by the socket", format!("{socket:.1} µs"), "≤ 10 µs", Some(socket <= 10.0)),
        absolute("status of one of 1000, `verger status NAME`", format!("{tool:.2} ms"), "< 2 ms", Some(tool < 2.0)),
    ])
}
