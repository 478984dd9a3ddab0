//! The interface texts and the Rust types say the same, both ways, as somebody else's reader of such texts sees it.
//!
//! A struct is held against its type by values: one with everything in it must have every field of the text, of the type
//! said there, and no other; one with nothing that may be absent must lack exactly the fields marked `?`; and reading
//! must insist on exactly the others. An enum must have the same words in the same order.

#![forbid(unsafe_code)]
#![expect(clippy::unwrap_used, reason = "a test ends where it does not find what it needs")]

mod samples;

use std::collections::{BTreeMap, BTreeSet};

use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::{Map, Value, json};
use verger_engine::image::{Edit, PartKind, Right};
use verger_engine::life::{FaultKind, GroupPhase, PhaseKind, Resource, RollBackReason, TrialStage, Verb, Want};
use verger_engine::preview::Act;
use verger_engine::runs::{Containment, Step};
use verger_wire::Word;
use verger_wire::frame::write_call;
use verger_wire::interface::{CONTROL, CONTROL_TEXT, DEBUG, DEBUG_TEXT, Offer, SERVICE, SERVICE_TEXT};
use verger_wire::message::*;
use zlink_idl::{CustomType, Interface, Type};

/// Fields of an object, an error or one side of a method.
type Shape<'i> = BTreeMap<String, Type<'i>>;

/// An interface text, and which of its parts have been held against something.
struct Text<'i> {
    interface: &'i Interface<'i>,
    seen: BTreeSet<String>,
}

fn shape<'i>(fields: impl Iterator<Item = &'i zlink_idl::Field<'i>>) -> Shape<'i> {
    fields.map(|field| (field.name().to_string(), field.ty().clone())).collect()
}

impl<'i> Text<'i> {
    fn new(interface: &'i Interface<'i>) -> Text<'i> {
        Text { interface, seen: BTreeSet::new() }
    }

    fn custom(&self, name: &str) -> &'i CustomType<'i> {
        let found = self.interface.custom_types().find(|custom| custom.name().as_ref() == name);
        found.unwrap_or_else(|| panic!("the text has no type {name}"))
    }

    fn words<W: Word>(&mut self, name: &str) {
        let custom = self.custom(name).as_enum().unwrap_or_else(|| panic!("{name} is no enum"));
        let written: Vec<String> = custom.variants().map(|variant| variant.name().to_string()).collect();
        let said: Vec<String> = W::ALL.iter().map(|word| word.spoken().to_string()).collect();
        assert_eq!(written, said, "{name}");
        self.seen.insert(format!("type {name}"));
    }

    fn object<T: Serialize + DeserializeOwned>(&mut self, name: &str, full: &T, bare: &T) {
        let custom = self.custom(name).as_object().unwrap_or_else(|| panic!("{name} is no object"));
        self.hold(name, &shape(custom.fields()), full, bare);
        self.seen.insert(format!("type {name}"));
    }

    fn outputs<T: Serialize + DeserializeOwned>(&mut self, method: &str, full: &T, bare: &T) {
        let found = self.interface.methods().find(|it| it.name().as_ref() == method);
        let outputs = shape(found.unwrap_or_else(|| panic!("no method {method}")).outputs());
        self.hold(method, &outputs, full, bare);
        self.seen.insert(format!("reply of {method}"));
    }

    /// Holds what a call writes, and what its reader knows, against the method's parameters.
    fn inputs(&mut self, full: &Call, bare: &Call) {
        let (interface, method) = full.method().rsplit_once('.').unwrap();
        assert_eq!(interface, self.interface.name().as_ref());
        let found = self.interface.methods().find(|it| it.name().as_ref() == method);
        let inputs = shape(found.unwrap_or_else(|| panic!("no method {method}")).inputs());
        for (call, all) in [(full, true), (bare, false)] {
            let mut message = Vec::new();
            write_call(&mut message, call, false);
            message.pop();
            let written: Value = serde_json::from_slice(&message).unwrap();
            let wanted =
                inputs.iter().filter(|(_, ty)| all || ty.as_optional().is_none()).map(|(name, _)| name.as_str());
            let parameters = written["parameters"].as_object().unwrap();
            assert_eq!(keys(parameters), wanted.collect::<BTreeSet<_>>(), "{method}");
            parameters.iter().for_each(|(name, value)| self.fits(value, &inputs[name], &format!("{method}.{name}")));
            assert_eq!(read_call(&message, Offer { debug: true }).unwrap().call, *call);
        }
        let stranger = json!({ "method": full.method(), "parameters": { "no-such": 1 } }).to_string();
        let refused = read_call(stranger.as_bytes(), Offer { debug: true });
        let known = match refused {
            Err(Unreadable::Refused { error: Error::Invalid { field, expected }, .. }) if field == "no-such" => {
                expected
            }
            Err(Unreadable::Refused { error: Error::InvalidParameter { .. }, .. }) => String::new(),
            other => panic!("{other:?}"),
        };
        if let Some(list) = known.strip_prefix("one of: ") {
            assert_eq!(
                list.split(", ").collect::<BTreeSet<_>>(),
                inputs.keys().map(String::as_str).collect(),
                "{method}"
            );
        } else {
            assert!(inputs.is_empty() || interface == SERVICE, "{method}: {known}");
        }
        self.seen.insert(format!("call of {method}"));
    }

    fn error(&mut self, full: &Error, bare: &Error) {
        let found = self.interface.errors().find(|it| it.name().as_ref() == full.word());
        let fields = shape(found.unwrap_or_else(|| panic!("no error {}", full.word())).fields());
        let name = format!("{}.{}", self.interface.name(), full.word());
        for (error, all) in [(full, true), (bare, false)] {
            let said = serde_json::to_value(error).unwrap();
            assert_eq!(said["error"], name);
            // An error without parameters has none, not even empty ones: some clients insist on that.
            assert_eq!(said.get("parameters").is_none(), fields.is_empty(), "{name}");
            let parameters = &said.get("parameters").map_or(Map::new(), |it| it.as_object().unwrap().clone());
            let wanted =
                fields.iter().filter(|(_, ty)| all || ty.as_optional().is_none()).map(|(name, _)| name.as_str());
            assert_eq!(keys(parameters), wanted.collect::<BTreeSet<_>>(), "{name}");
            parameters.iter().for_each(|(field, value)| self.fits(value, &fields[field], &format!("{name}.{field}")));
            assert_eq!(serde_json::from_value::<Error>(said).unwrap(), *error);
        }
        self.seen.insert(format!("error {}", full.word()));
    }

    fn hold<T: Serialize + DeserializeOwned>(&self, what: &str, fields: &Shape<'_>, full: &T, bare: &T) {
        let object = |value: &T| serde_json::to_value(value).unwrap().as_object().unwrap().clone();
        let (full, bare) = (object(full), object(bare));
        assert_eq!(keys(&full), fields.keys().map(String::as_str).collect(), "{what}, with everything");
        let required = fields.iter().filter(|(_, ty)| ty.as_optional().is_none()).map(|(name, _)| name.as_str());
        assert_eq!(keys(&bare), required.collect(), "{what}, with only what must be there");
        for (name, ty) in fields {
            let place = format!("{what}.{name}");
            self.fits(&full[name], ty, &place);
            let reads =
                |object: &Map<String, Value>| serde_json::from_value::<T>(Value::Object(object.clone())).is_ok();
            let mut without = full.clone();
            without.remove(name);
            assert_eq!(reads(&without), ty.as_optional().is_some(), "{place} left out");
            let mut foreign = full.clone();
            foreign.insert(name.clone(), json!({ "x": [1.5] }));
            assert!(!reads(&foreign), "{place} of a foreign type");
            let mut grown = full.clone();
            grown.insert("a_field_of_tomorrow".to_owned(), json!([]));
            assert!(reads(&grown), "{what} with a new field");
        }
    }

    /// Says whether a value is of a type of the text.
    fn fits(&self, value: &Value, ty: &Type<'_>, place: &str) {
        match ty {
            Type::Bool => assert!(value.is_boolean(), "{place}: {value} is no bool"),
            Type::Int => assert!(value.as_i64().is_some(), "{place}: {value} is no int"),
            Type::String => assert!(value.is_string(), "{place}: {value} is no string"),
            Type::Optional(inner) => self.fits(value, inner.inner(), place),
            Type::Array(inner) => {
                let entries = value.as_array().unwrap_or_else(|| panic!("{place}: {value} is no array"));
                assert!(!entries.is_empty(), "{place}: an empty sample shows nothing");
                entries.iter().for_each(|entry| self.fits(entry, inner.inner(), place));
            }
            Type::Custom(name) => match self.custom(name.as_ref()) {
                CustomType::Enum(words) => {
                    let word = value.as_str().unwrap_or_else(|| panic!("{place}: {value} is no word"));
                    assert!(words.variants().any(|it| it.name().as_ref() == word), "{place}: no {word} in {name}");
                }
                CustomType::Object(object) => {
                    let fields = shape(object.fields());
                    let members = value.as_object().unwrap_or_else(|| panic!("{place}: {value} is no object"));
                    for (member, value) in members {
                        let ty = fields.get(member).unwrap_or_else(|| panic!("{place}: no {member} in {name}"));
                        self.fits(value, ty, &format!("{place}.{member}"));
                    }
                }
            },
            Type::Float | Type::ForeignObject | Type::Any | Type::Map(_) | Type::Enum(_) | Type::Object(_) => {
                panic!("{place}: such a type is not used here")
            }
        }
    }

    /// Everything in the text has been held against something.
    fn all_seen(&self) {
        let types = self.interface.custom_types().map(|it| format!("type {}", it.name()));
        let calls = self.interface.methods().map(|it| format!("call of {}", it.name()));
        let replies = self.interface.methods().map(|it| format!("reply of {}", it.name()));
        let errors = self.interface.errors().map(|it| format!("error {}", it.name()));
        let written: BTreeSet<String> = types.chain(calls).chain(replies).chain(errors).collect();
        assert_eq!(written, self.seen);
    }
}

fn keys(object: &Map<String, Value>) -> BTreeSet<&str> {
    object.keys().map(String::as_str).collect()
}

fn order(full: bool) -> Order {
    let (timeout_ms, key) = if full { (Some(5), Some("k".to_owned())) } else { (None, None) };
    Order { name: "web".to_owned(), timeout_ms, key }
}

#[test]
fn the_control_interface_says_what_the_types_say() {
    let interface = Interface::try_from(CONTROL_TEXT).unwrap();
    assert_eq!(interface.name().as_ref(), CONTROL);
    let mut text = Text::new(&interface);

    text.words::<Want>("Want");
    text.words::<PhaseKind>("Phase");
    text.words::<Containment>("Containment");
    text.words::<Step>("Step");
    text.words::<FaultKind>("Fault");
    text.words::<FailureKind>("FailureKind");
    text.words::<OrderKind>("OrderKind");
    text.words::<CauseKind>("CauseKind");
    text.words::<Resource>("Resource");
    text.words::<Verb>("Verb");
    text.words::<OriginKind>("OriginKind");
    text.words::<StopReason>("StopReason");
    text.words::<StopStepKind>("StopStepKind");
    text.words::<EndKnown>("EndKnown");
    text.words::<State>("State");
    text.words::<Level>("Level");
    text.words::<Right>("Right");
    text.words::<Obstacle>("Obstacle");

    text.object("Exit", &samples::exit(true), &samples::exit(false));
    text.object("Failure", &samples::failure(true), &samples::failure(false));
    text.object("LastOrder", &samples::last_order(true), &samples::last_order(false));
    text.object("Service", &samples::service(true), &samples::service(false));
    text.object("Cause", &samples::cause(true), &samples::cause(false));
    text.object("Actor", &samples::actor(true), &samples::actor(false));
    text.object("Origin", &samples::origin(true), &samples::origin(false));
    text.object("Root", &samples::root(true), &samples::root(false));
    text.object("Transition", &samples::transition(true), &samples::transition(false));
    text.object("Need", &samples::need(), &samples::need());
    let pressure = samples::pressure();
    text.object("PressureLimit", &pressure, &pressure);
    text.words::<LookKind>("LookKind");
    text.object("LastLook", &samples::last_look(true), &samples::last_look(false));
    let wanted = |full| Wanted { cause: samples::cause(full), root: samples::root(full) };
    text.object("Wanted", &wanted(true), &wanted(false));
    text.object("Ending", &samples::ending(true), &samples::ending(false));
    text.object("StopStep", &samples::stop_step(true), &samples::stop_step(false));
    text.object("SeenProcess", &samples::seen_process(true), &samples::seen_process(false));
    text.object("StopReceipt", &samples::receipt(true), &samples::receipt(false));
    text.object("ReceiptInShort", &samples::receipt_in_short(), &samples::receipt_in_short());
    text.words::<GroupPhase>("GroupPhase");
    text.object("Target", &samples::target(), &samples::target());
    text.object("Group", &samples::group(true), &samples::group(false));
    text.words::<TargetFailureKind>("TargetFailureKind");
    text.object("TargetFailure", &samples::target_failure(true), &samples::target_failure(false));
    text.words::<Act>("Act");
    text.words::<PartKind>("PartKind");
    text.words::<Edit>("Edit");
    text.words::<VerdictKind>("VerdictKind");
    text.words::<RollBackReason>("RollBackReason");
    text.words::<TrialStage>("TrialStage");
    text.object("Change", &samples::change(true), &samples::change(false));
    text.object("PartChange", &samples::part_change(true), &samples::part_change(false));
    text.object("TargetChange", &samples::target_change(true), &samples::target_change(false));
    text.object("Verdict", &samples::verdict(true), &samples::verdict(false));
    text.object("LastTrial", &samples::last_trial(), &samples::last_trial());
    text.object("Trial", &samples::trial(true), &samples::trial(false));
    text.object("Plan", &samples::plan(), &samples::plan());
    text.object("Finding", &samples::finding(true), &samples::finding(false));

    let names = || Some(vec!["web".to_owned()]);
    text.inputs(&Call::Describe, &Call::Describe);
    text.outputs("Describe", &samples::description(true), &samples::description(false));
    text.inputs(&Call::List { names: names() }, &Call::List { names: None });
    let listed = |full| Services { services: vec![samples::service(full)] };
    text.outputs("List", &listed(true), &listed(false));
    for (method, call) in [
        ("Start", Call::Start as fn(Order) -> Call),
        ("Stop", Call::Stop),
        ("Restart", Call::Restart),
        ("Ignore", Call::Ignore),
        ("Heed", Call::Heed),
        ("Set", Call::Set),
        ("Clear", Call::Clear),
    ] {
        text.inputs(&call(order(true)), &call(order(false)));
        text.outputs(method, &Done { run: Some(7) }, &Done { run: None });
    }
    let adopt = |full: bool| Call::Adopt { name: "web".to_owned(), pid: 4711, timeout_ms: full.then_some(2500) };
    text.inputs(&adopt(true), &adopt(false));
    text.outputs("Adopt", &Done { run: Some(7) }, &Done { run: None });
    text.inputs(&Call::Switch(order(true)), &Call::Switch(order(false)));
    let lacks = |full| if full { vec!["camera".to_owned()] } else { Vec::new() };
    let switched = |full| Switched { target: "web".to_owned(), already: true, lacks: lacks(full) };
    text.outputs("Switch", &switched(true), &switched(false));
    text.inputs(&Call::Groups, &Call::Groups);
    let groups = |full| Groups { groups: vec![samples::group(full)] };
    text.outputs("Groups", &groups(true), &groups(false));
    text.inputs(&Call::Preview { from: Some(7) }, &Call::Preview { from: None });
    text.outputs("Preview", &samples::changes(true), &samples::changes(false));
    text.inputs(
        &Call::Apply { from: Some(7), within_ms: Some(1), confirm_ms: Some(2) },
        &Call::Apply { from: None, within_ms: None, confirm_ms: None },
    );
    text.outputs("Apply", &samples::verdict(true), &samples::verdict(false));
    let decide = Call::Decide { keep: true };
    text.inputs(&decide, &decide);
    text.outputs("Decide", &samples::verdict(true), &samples::verdict(false));
    let signal = Call::Signal { name: "web".to_owned(), signal: 15 };
    text.inputs(&signal, &signal);
    text.outputs("Signal", &Done { run: Some(7) }, &Done { run: None });
    let why = Call::Why { name: "web".to_owned() };
    text.inputs(&why, &why);
    text.outputs("Why", &samples::why(true), &samples::why(false));
    let receipt = |run| Call::Receipt { name: "web".to_owned(), run };
    text.inputs(&receipt(Some(7)), &receipt(None));
    let reply = |full| ReceiptReply { receipt: samples::receipt(full) };
    text.outputs("Receipt", &reply(true), &reply(true));
    text.inputs(&Call::Watch { names: names() }, &Call::Watch { names: None });
    text.outputs("Watch", &samples::watch(), &WatchReply::default());
    let shutdown = |hasty, budget_ms| Call::Shutdown { hasty, budget_ms };
    text.inputs(&shutdown(true, Some(2_500)), &shutdown(false, None));
    text.outputs("Shutdown", &Nothing {}, &Nothing {});
    text.inputs(&Call::Reexec { program: Some("/x".to_owned()) }, &Call::Reexec { program: None });
    let replaced = || Replaced { program: "/x".to_owned(), version: "0.1.0".to_owned() };
    text.outputs("Reexec", &replaced(), &replaced());

    for (full, bare) in samples::errors(true).iter().zip(&samples::errors(false)) {
        text.error(full, bare);
    }
    text.all_seen();
}

#[test]
fn the_debug_interface_says_what_the_types_say() {
    let interface = Interface::try_from(DEBUG_TEXT).unwrap();
    assert_eq!(interface.name().as_ref(), DEBUG);
    let mut text = Text::new(&interface);
    text.words::<Breakage>("Kind");
    let inject = |name: Option<&str>| Call::Inject { kind: Breakage::Panic, name: name.map(str::to_owned) };
    text.inputs(&inject(Some("web")), &inject(None));
    text.outputs("Inject", &Nothing {}, &Nothing {});
    text.all_seen();
}

#[test]
fn varlinks_own_interface_says_what_the_types_say() {
    let interface = Interface::try_from(SERVICE_TEXT).unwrap();
    assert_eq!(interface.name().as_ref(), SERVICE);
    let mut text = Text::new(&interface);
    text.inputs(&Call::GetInfo, &Call::GetInfo);
    text.outputs("GetInfo", &samples::info(), &samples::info());
    let description = Call::GetInterfaceDescription { interface: CONTROL.to_owned() };
    text.inputs(&description, &description);
    let reply = InterfaceDescription { description: "interface a.b".to_owned() };
    text.outputs("GetInterfaceDescription", &reply, &reply);
    for error in samples::varlinks_errors() {
        text.error(&error, &error);
    }
    text.all_seen();
}

#[test]
fn every_part_is_documented_and_plain() {
    for text in [CONTROL_TEXT, DEBUG_TEXT, SERVICE_TEXT] {
        assert!(text.is_ascii() && text.ends_with('\n') && text.lines().all(|line| line.len() <= 120));
        let interface = Interface::try_from(text).unwrap();
        assert!(interface.methods().all(|it| it.comments().count() > 0));
        assert!(interface.errors().all(|it| it.comments().count() > 0));
    }
}
