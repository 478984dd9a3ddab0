//! Whether a plan can end within its budget, for `check` and for whoever runs it: said before it happens.

use std::sync::Arc;

use serde_json::{Value, json};
use verger_engine::budget::{PlannedStop, percent, planned_end, reserve, usable};
use verger_engine::image::{Image, Plan};
use verger_engine::time::Span;
use verger_plan::{Complaint, Place, Reading, Severity};

use crate::table::{Cell, table};
use crate::terminal::Paint;

/// An end that takes longer than it may.
pub(crate) struct LateEnd {
    budget: Span,
    needed: Span,
    left: Span,
    chain: Vec<Link>,
}

/// One service of the longest chain.
struct Link {
    service: String,
    /// Its graces, as the plan has them, and what is left of them.
    graces: Span,
    share: Span,
    place: Option<Place>,
    /// Where that is.
    file: String,
    line: u32,
    column: u32,
}

/// More names than this are not told in one line.
const NAMED: usize = 4;

impl LateEnd {
    /// Looks whether all of a plan, running, can end within a budget: the given one, or else its own.
    pub(crate) fn of(plan: &Plan, reading: &Reading, budget: Option<Span>) -> Option<LateEnd> {
        let budget = budget.or(plan.shutdown_budget).filter(|budget| *budget != Span::FOREVER)?;
        let image = Image::verify(Arc::new(verger_plan::compile(plan).ok()?)).ok()?;
        let end = planned_end(&image, budget);
        if end.needed <= usable(budget) {
            return None;
        }
        let link = |stop: &PlannedStop| {
            let service = image.service(stop.service);
            let name = service.name().to_owned();
            let place = reading.places.key(&name, "stop").or_else(|| reading.places.service(&name));
            let (origin, line) = (service.origin_file(), service.origin_line());
            let (file, line, column) = match place {
                Some(place) => {
                    let at = reading.sources.line_column(place);
                    (reading.sources.name(place.file), at.line, at.column)
                }
                None => (origin, line, 0),
            };
            Link { service: name, graces: stop.graces, share: stop.share, place, file: file.to_owned(), line, column }
        };
        Some(LateEnd { budget, needed: end.needed, left: end.left, chain: end.chain.iter().map(link).collect() })
    }

    /// The complaint about it, at the service that takes most of the time.
    pub(crate) fn complaint(&self) -> Option<Complaint> {
        let longest = self.chain.iter().rev().max_by_key(|link| link.graces)?;
        let (budget, needed) = (self.budget, self.needed);
        let names: Vec<&str> = self.chain.iter().map(|link| link.service.as_str()).collect();
        let chain = match names.as_slice() {
            [name] => format!("`{name}` may take {needed}"),
            [first, .., last] if names.len() > NAMED => {
                format!("its longest chain, of {} services from `{first}` to `{last}`, may take {needed}", names.len())
            }
            _ => format!("its longest chain, {}, may take {needed}", names.join(" \u{2192} ")),
        };
        let kept = match needed <= budget {
            true => format!(" ({} of the budget are kept for killing what is left)", reserve(budget)),
            false => String::new(),
        };
        let left = percent(self.left, needed);
        Some(Complaint {
            severity: Severity::Warning,
            file: longest.file.clone(),
            span: longest.place.map_or(0..0, |place| place.span()),
            line: longest.line,
            column: longest.column,
            message: format!("the plan cannot end within {budget}: {chain}{kept}"),
            expected: None,
            hint: Some(format!(
                "give it more time (`shutdown_budget`, `--budget`), or its services less (`stop`); as it is, graces of \
                 that chain are cut to {left} % when everything ends"
            )),
            also: None,
        })
    }

    /// The chain, one service a line, the one that ends first first.
    pub(crate) fn table(&self, paint: Paint) -> String {
        let row = |link: &Link| {
            let place = if link.line > 0 { format!("{}:{}", link.file, link.line) } else { link.file.clone() };
            vec![
                Cell::new(&link.service),
                Cell::new(link.graces.to_string()),
                Cell::new(link.share.in_millis().to_string()),
                Cell::new(place),
            ]
        };
        let rows: Vec<Vec<Cell>> = self.chain.iter().map(row).collect();
        table(&["CHAIN", "GRACE", "SHARE", "PLACE"], &rows, paint)
    }

    pub(crate) fn as_json(&self) -> Value {
        let millis = |span: Span| if span == Span::FOREVER { Value::Null } else { json!(span.as_millis()) };
        let link = |link: &Link| {
            json!({
                "service": link.service, "grace_ms": millis(link.graces), "share_ms": millis(link.share),
                "file": link.file, "line": link.line,
            })
        };
        json!({
            "budget_ms": millis(self.budget), "needed_ms": millis(self.needed),
            "chain": self.chain.iter().map(link).collect::<Vec<Value>>(),
        })
    }
}
