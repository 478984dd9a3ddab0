//! What a brain is shown of a plan: arguments, wiring, handles.

use verger_engine::Engine;
use verger_engine::image::{HandleView, Image, ServiceView, SourceView};
use verger_engine::proxy::Name;
use verger_wire::lines::event;

/// What is told of arguments and of wiring at most, so that a line of it always finds room.
const BYTES: usize = 900;

/// What an event shows of a service's arguments: as many of the words as have room, without what would end a field.
pub(super) fn arguments(view: &ServiceView<'_>, into: &mut Vec<u8>) {
    for word in view.argv() {
        let word = word.strip_suffix(b"\0").unwrap_or(word);
        if into.len() + word.len() > BYTES {
            into.extend_from_slice(b"...");
            return;
        }
        let plain = |byte: &u8| if matches!(byte, b'\t' | b'\n') { b' ' } else { *byte };
        into.extend(word.iter().map(plain));
        into.push(b'\t');
    }
    into.pop();
}

/// What sits on a service's descriptors, from 0 on, as `service.fds` names it.
pub(super) fn wiring(engine: &Engine, slot: u32, view: &ServiceView<'_>, into: &mut Vec<u8>) {
    let image = image_of(engine, slot);
    let mut next = 0;
    for (number, source) in view.descriptors() {
        let name = match source {
            SourceView::Null => "null".to_owned(),
            SourceView::Inherit => "inherit".to_owned(),
            SourceView::File(_) => "file".to_owned(),
            SourceView::Lines(lines) => lines.word().to_owned(),
            SourceView::Handle { handle, end } => {
                let Some((name, kind)) = image.map(|image| image.handle(handle)) else { continue };
                match (kind, end) {
                    (HandleView::Pipe, 0) => format!("{name}.r"),
                    (HandleView::Pipe, _) => format!("{name}.w"),
                    (HandleView::File(_) | HandleView::Memory | HandleView::Listen(_), _) => name.to_owned(),
                }
            }
        };
        let closed = (number as usize).saturating_sub(next);
        if into.len() + 2 * closed + name.len() > BYTES {
            break;
        }
        into.extend((0..closed).flat_map(|_| *b"-\t"));
        into.extend_from_slice(name.as_bytes());
        into.push(b'\t');
        next = number as usize + 1;
    }
    into.pop();
}

/// The image that the service in a slot is described in.
fn image_of(engine: &Engine, slot: u32) -> Option<&Image> {
    engine.home(slot).and_then(|home| engine.images().get(home.image))
}

/// Puts the event of the plan's handle whose name comes after this one into a line; its name. A pipe is two of them. Handles whose
/// names are none to a brain are left out.
pub(super) fn handle_after(engine: &Engine, slot: u32, after: Option<&Name>, line: &mut Vec<u8>) -> Option<Name> {
    let image = image_of(engine, slot)?;
    let ends = (0..image.handle_count()).flat_map(|at| {
        let (name, view) = image.handle(at);
        let ends: &[&str] = if matches!(view, HandleView::Pipe) { &[".r", ".w"] } else { &[""] };
        ends.iter().filter_map(move |end| Some((Name::new(format!("{name}{end}").as_bytes()).ok()?, name, view)))
    });
    let later = ends.filter(|(name, ..)| after.is_none_or(|after| name.as_bytes() > after.as_bytes()));
    let (name, bare, view) = later.min_by(|a, b| a.0.as_bytes().cmp(b.0.as_bytes()))?;
    match view {
        HandleView::Memory => event::handle(line, &name, "memory", "write", b""),
        HandleView::File(path) => event::handle(line, &name, "file", "write,append,create", path.as_bytes()),
        HandleView::Listen(listen) => {
            event::handle(line, &name, "socket", "bind,listen", listen.address.to_string().as_bytes())
        }
        HandleView::Pipe if name.as_bytes().ends_with(b".r") => {
            event::handle(line, &name, "pipe", "read", format!("{bare}.w").as_bytes());
        }
        HandleView::Pipe => event::handle(line, &name, "pipe", "write", format!("{bare}.r").as_bytes()),
    }
    Some(name)
}
