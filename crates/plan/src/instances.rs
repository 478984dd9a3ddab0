//! Templates and their instances: which services a plan has, and the table of each.
//!
//! `[service."camera@"]` is a template, `camera@left` an instance of it. Names come first, all of them, since a service
//! may name one that only this makes; the table of an instance is made when it is read, one at a time, so that a
//! large template with many instances is never there as often as it is used. What is made is bounded ([`Made`]).
//!
//! Nothing after this knows of templates: an instance is a service. Its values keep their places in the template, so
//! what is complained of points there and names the instance.

use std::borrow::Cow;
use std::collections::{BTreeMap, BTreeSet};

use verger_engine::image::{BuildError, IMAGE_BYTES_MAX, SERVICES_MAX};
use verger_engine::names::{NAME_BYTES_MAX, check_name};

use crate::complaint::{Findings, Said, quoted};
use crate::keys::{Names, OF_TEMPLATES, Owner, Reader, listed, no_template, replicas};
use crate::sources::Place;
use crate::tree::{Entry, Node, Table, Value};

/// Tables of which an instance's own entries go over the template's one by one. Everything else is replaced as a whole.
const MERGED: [&str; 3] = ["environment", "limits", "descriptors"];
/// What the values of an instance can hold.
const LOOKS: &str = "%i (the instance), %n (its whole name) or %% (a percent sign)";

/// A service before its keys are read.
pub(crate) struct Draft<'t> {
    pub(crate) name: String,
    /// Where it stands: its own table, else its template's.
    pub(crate) place: Place,
    /// Only because somebody names it is it there.
    pub(crate) is_named_only: bool,
    own: Option<&'t Table>,
    template: Option<&'t Table>,
}

/// What a plan has.
pub(crate) struct Drawn<'t> {
    /// The services, in the order of the text; those that have no table stand where their template does.
    pub(crate) services: Vec<Draft<'t>>,
    /// Templates that nothing is made of, to be read for what is wrong with them.
    pub(crate) unused: Vec<Draft<'t>>,
}

/// How much has been made of templates. An image can hold no more, and whoever asks for it shall not wait for long.
#[derive(Default)]
pub(crate) struct Made(usize);

impl Made {
    fn take(&mut self, text: &str) {
        self.0 = self.0.saturating_add(text.len() + 32);
    }

    pub(crate) fn is_used_up(&self) -> bool {
        self.0 > 4 * IMAGE_BYTES_MAX
    }
}

struct Template<'t> {
    entry: &'t Entry,
    table: &'t Table,
    /// What the names of its instances begin with: `camera@`.
    prefix: String,
    /// The instances that have no table of their own: first those that its keys list, then those that somebody names.
    made: Vec<String>,
    listed: usize,
    /// All its instances.
    all: Vec<String>,
}

struct Templates<'t> {
    all: Vec<Template<'t>>,
    by_prefix: BTreeMap<String, usize>,
}

impl<'t> Templates<'t> {
    /// The template that a name is an instance of.
    fn of(&self, name: &str) -> Option<usize> {
        let (prefix, instance) = split(name)?;
        self.by_prefix.get(prefix).copied().filter(|_| !instance.is_empty())
    }
}

/// What an instance's name begins with, and the instance.
fn split(name: &str) -> Option<(&str, &str)> {
    name.split_at_checked(name.find('@')? + 1)
}

/// What the names of instances begin with, if this is a template.
fn prefix_of(entry: &Entry, table: &Table) -> Option<String> {
    match split(&entry.key) {
        Some((_, "")) => Some(entry.key.clone()),
        Some(_) => None,
        None => table.get("replicas").map(|_| format!("{}@", entry.key)),
    }
}

/// Works out which services there are. Their names are added to those of the plan, templates to its sets.
pub(crate) fn draw<'t>(
    services: &[(&'t Entry, &'t Table)],
    root: &'t Table,
    names: &mut Names,
    made: &mut Made,
    found: &mut Findings,
) -> Drawn<'t> {
    let mut templates = templates(services, found);
    let mut known: BTreeSet<String> = BTreeSet::new();
    let mut next: Vec<String> = Vec::new();
    let mut drawn = Drawn { services: Vec::with_capacity(services.len()), unused: Vec::new() };
    if templates.all.is_empty() {
        // Everything is what it says, and that costs nothing.
        drawn.services.extend(services.iter().map(|(entry, table)| own(entry, table, &templates)));
        return drawn;
    }
    for (entry, table) in services {
        if prefix_of(entry, table).is_some() {
            names.services.remove(&entry.key);
            continue;
        }
        known.insert(entry.key.clone());
        if let Some(template) = templates.of(&entry.key) {
            templates.all[template].all.push(entry.key.clone());
        }
    }
    for template in &mut templates.all {
        list(template, &mut known, found);
    }

    // Whoever is named is there, and names others in turn.
    named_by_targets(root, &mut next);
    for (entry, table) in services.iter().filter(|(entry, table)| prefix_of(entry, table).is_none()) {
        own(entry, table, &templates).named(made, &mut next);
    }
    for template in &templates.all {
        template.made.iter().for_each(|name| template.make(name, false).named(made, &mut next));
    }
    let is_full = |known: &BTreeSet<String>| known.len() > SERVICES_MAX as usize;
    while let Some(name) = next.pop().filter(|_| !is_full(&known) && !made.is_used_up()) {
        let Some(nth) = templates.of(&name) else { continue };
        let template = &mut templates.all[nth];
        // Of `worker` with replicas there are as many as it says, and what has a `:` is a condition's name. What cannot be a
        // name is complained of where it stands.
        let may_be = template.entry.key.ends_with('@') && !name.contains(':') && check_name(&name).is_ok();
        if may_be && known.insert(name.clone()) {
            template.make(&name, true).named(made, &mut next);
            template.all.push(name.clone());
            template.made.push(name);
        }
    }
    if is_full(&known) || made.is_used_up() {
        names.incomplete = true;
        let largest = templates.all.iter().max_by_key(|template| template.all.len());
        if let Some(template) = largest {
            found.error(template.entry.key_place, || {
                let said = match is_full(&known) {
                    true => Said::new(format!("the plan has more than {SERVICES_MAX} services")),
                    false => Said::new(BuildError::TooLarge.to_string()),
                };
                said.hint(format!("this template has {} instances, or more", template.all.len()))
            });
        }
    }

    for (entry, table) in services {
        let Some(prefix) = prefix_of(entry, table) else {
            drawn.services.push(own(entry, table, &templates));
            continue;
        };
        let nth = templates.by_prefix.get(&prefix).copied().unwrap_or_default();
        let template = &templates.all[nth];
        if template.entry.key != entry.key {
            continue;
        }
        let instances = template.made.iter().enumerate();
        drawn.services.extend(instances.map(|(at, name)| template.make(name, at >= template.listed)));
        if template.all.is_empty() {
            drawn.unused.push(Draft { name: entry.key.clone(), ..template.make(&format!("{prefix}1"), false) });
        }
    }
    for draft in &drawn.services {
        names.services.entry(draft.name.clone()).or_insert(draft.place);
    }
    for template in templates.all {
        if !template.entry.key.ends_with('@') {
            names.sets.insert(template.entry.key.clone(), template.all.clone());
        }
        names.sets.insert(template.prefix, template.all);
    }
    drawn
}

fn templates<'t>(services: &[(&'t Entry, &'t Table)], found: &mut Findings) -> Templates<'t> {
    let mut templates = Templates { all: Vec::new(), by_prefix: BTreeMap::new() };
    for (entry, table) in services {
        let Some(prefix) = prefix_of(entry, table) else { continue };
        match templates.by_prefix.get(&prefix) {
            Some(other) => {
                let other = templates.all[*other].entry;
                found.error(entry.key_place, || {
                    let (name, other_name) = (quoted(&entry.key), quoted(&other.key));
                    Said::new(format!("the instances of `{name}` would be called as those of `{other_name}`"))
                        .hint("give one of the two another name")
                        .also(other.key_place, "the other")
                });
            }
            None => {
                templates.by_prefix.insert(prefix.clone(), templates.all.len());
                let (made, all) = (Vec::new(), Vec::new());
                templates.all.push(Template { entry, table, prefix, made, listed: 0, all });
            }
        }
    }
    templates
}

/// Takes the instances that a template's keys list.
fn list(template: &mut Template<'_>, known: &mut BTreeSet<String>, found: &mut Findings) {
    let nobody = Names::default();
    let mut reader = Reader::new(Owner::Service(template.entry.key.clone()), &nobody, found);
    let is_written_so = template.entry.key.ends_with('@');
    let named = match template.table.get("instances") {
        Some(node) if is_written_so => listed(&template.prefix, node, &mut reader),
        Some(node) => {
            no_template("instances", node.place, &mut reader);
            Vec::new()
        }
        None => Vec::new(),
    };
    let count = template.table.get("replicas").map_or(0, |node| replicas(&template.prefix, node, &mut reader));
    if let Some((twice, place)) = named.iter().find(|(name, _)| {
        let number = name.parse::<u32>().ok().filter(|number| number.to_string() == *name);
        number.is_some_and(|number| (1..=count).contains(&number))
    }) {
        reader.found.error(*place, || {
            let (name, owner) = (quoted(twice), &reader.owner);
            Said::new(format!("`instances`{owner} lists `{name}`, which is one of its {count} replicas"))
                .hint("leave it out")
        });
    }
    let instances = named.into_iter().map(|(name, _)| name).chain((1..=count).map(|number| number.to_string()));
    for instance in instances {
        // More than there can be are noticed by whoever counts all.
        if known.len() > SERVICES_MAX as usize {
            break;
        }
        let name = format!("{}{instance}", template.prefix);
        if known.insert(name.clone()) {
            template.all.push(name.clone());
            template.made.push(name);
        }
    }
    template.listed = template.made.len();
}

fn own<'t>(entry: &'t Entry, table: &'t Table, templates: &Templates<'t>) -> Draft<'t> {
    let template = templates.of(&entry.key);
    Draft {
        name: entry.key.clone(),
        place: entry.key_place,
        is_named_only: false,
        own: Some(table),
        template: template.map(|at| templates.all[at].table),
    }
}

impl<'t> Template<'t> {
    fn make(&self, name: &str, is_named_only: bool) -> Draft<'t> {
        let place = self.entry.key_place;
        Draft { name: name.to_owned(), place, is_named_only, own: None, template: Some(self.table) }
    }
}

impl<'t> Draft<'t> {
    /// Whether there is a template behind it.
    pub(crate) fn is_instance(&self) -> bool {
        self.template.is_some()
    }

    /// A value as it is written: its own, else its template's.
    pub(crate) fn get(&self, key: &str) -> Option<&'t Node> {
        let own = self.own.and_then(|table| table.get(key));
        own.or_else(|| self.template.and_then(|table| table.get(key)))
    }

    /// Its table: of an instance the template's with its own over it, all values filled in.
    pub(crate) fn table(&self, made: &mut Made, found: &mut Findings) -> Cow<'t, Table> {
        let Some(template) = self.template else { return self.own.map_or(Cow::default(), Cow::Borrowed) };
        let mut table = Table::default();
        let inherited = template.entries().iter().filter(|entry| !OF_TEMPLATES.contains(&entry.key.as_str()));
        for entry in inherited.chain(self.own.map_or(&[][..], Table::entries)) {
            made.take(&entry.key);
            let node = self.filled(&entry.key, &entry.node, made, found);
            let there = table.entry_mut(&entry.key).filter(|_| MERGED.contains(&entry.key.as_str()));
            match (there.map(|entry| &mut entry.node.value), &node.value) {
                (Some(Value::Table(there)), Value::Table(own)) => {
                    own.entries().iter().for_each(|entry| there.replace(entry.clone()));
                }
                _ => table.replace(Entry { key: entry.key.clone(), key_place: entry.key_place, node }),
            }
        }
        Cow::Owned(table)
    }

    /// A value with what its texts stand for.
    fn filled(&self, key: &str, node: &Node, made: &mut Made, found: &mut Findings) -> Node {
        let value = match &node.value {
            Value::Text(text) => match self.text(text) {
                Ok(text) => {
                    made.take(&text);
                    Value::Text(text.into_owned())
                }
                Err(at) => {
                    let what: String = text.get(at..).unwrap_or("").chars().take(2).collect();
                    found.error(node.place_of(at..at + what.len()), || {
                        let (key, name) = (quoted(key), quoted(&self.name));
                        Said::new(format!(
                            "`{key}` in service `{name}` has `{}`, which stands for nothing",
                            quoted(&what)
                        ))
                        .expected(LOOKS)
                        .hint(format!("write `%{}` for the characters themselves", quoted(&what)))
                    });
                    Value::Text(text.clone())
                }
            },
            Value::Array(items) => Value::Array(items.iter().map(|item| self.filled(key, item, made, found)).collect()),
            Value::Table(inner) => {
                let mut table = Table::default();
                for entry in inner.entries() {
                    made.take(&entry.key);
                    let node = self.filled(key, &entry.node, made, found);
                    table.replace(Entry { key: entry.key.clone(), key_place: entry.key_place, node });
                }
                Value::Table(table)
            }
            other @ (Value::Whole(_) | Value::Number(_) | Value::Flag(_) | Value::Date(_) | Value::Null) => {
                other.clone()
            }
        };
        Node { place: node.place, value }
    }

    /// A name as it is in an instance; `None` where that is none.
    pub(crate) fn name_of(&self, text: &str) -> Option<String> {
        // Two characters stand for one at least: what is longer is no name, however it is filled in.
        let text = Some(text).filter(|text| text.len() <= 2 * NAME_BYTES_MAX)?;
        self.text(text).ok().filter(|name| check_name(name).is_ok()).map(Cow::into_owned)
    }

    /// What a text stands for in an instance; where it stands for nothing, the place in it.
    fn text<'v>(&self, text: &'v str) -> Result<Cow<'v, str>, usize> {
        if self.template.is_none() || !text.contains('%') {
            return Ok(Cow::Borrowed(text));
        }
        let mut filled = String::with_capacity(text.len());
        let mut chars = text.char_indices();
        while let Some((at, c)) = chars.next() {
            match (c, if c == '%' { chars.next() } else { None }) {
                ('%', Some((_, 'i'))) => filled.push_str(split(&self.name).map_or("", |(_, instance)| instance)),
                ('%', Some((_, 'n'))) => filled.push_str(&self.name),
                ('%', Some((_, '%'))) => filled.push('%'),
                ('%', _) => return Err(at),
                (c, _) => filled.push(c),
            }
        }
        Ok(Cow::Owned(filled))
    }

    /// The services that it names and that are to be there because of it. Who only orders or excludes makes nobody.
    fn named(&self, made: &mut Made, next: &mut Vec<String>) {
        let mut name = |node: &Node| {
            let text = node.as_text().and_then(|text| self.text(text).ok());
            if let Some(text) = text.filter(|text| text.contains('@')) {
                made.take(&text);
                next.push(text.strip_prefix("start ").map_or(&*text, str::trim).to_owned());
            }
        };
        self.get("brain").into_iter().for_each(&mut name);
        let needs = ["requires", "wants", "any_of"].into_iter().filter_map(|key| self.get(key));
        for item in needs.filter_map(Node::as_array).flatten() {
            name(item.as_table().and_then(|need| need.get("service")).unwrap_or(item));
        }
        for condition in self.get("conditions").and_then(Node::as_array).unwrap_or(&[]) {
            let starts = |key: &str| condition.as_table().and_then(|table| table.get(key));
            ["on_failure", "on_success"].into_iter().filter_map(starts).for_each(&mut name);
        }
    }
}

/// What the targets of a plan list.
fn named_by_targets(root: &Table, next: &mut Vec<String>) {
    let groups = root.get("group").and_then(Node::as_table).map_or(&[][..], Table::entries);
    let holders = groups.iter().filter_map(|group| group.node.as_table()).chain([root]);
    for targets in holders.filter_map(|holder| holder.get("target")?.as_table()) {
        let targets = targets.entries().iter().filter_map(|target| target.node.as_table());
        for item in targets.filter_map(|target| target.get("services")?.as_array()).flatten() {
            next.extend(item.as_text().filter(|name| name.contains('@')).map(str::to_owned));
        }
    }
}
