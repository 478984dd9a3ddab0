//! What an AOS configuration may hold: each key with its type, how two mentions merge, and what verger does with it.
//!
//! From `aos-starter`'s description of the format; the newest generation's keys are included. Where the starter itself
//! reads, an unknown key is an error as it is there. Inside channels and maps it is passed over: those belong to the
//! messaging library, which knows more keys than a starter needs to.

/// A kind of object and its keys.
pub(super) struct Shape {
    /// What one of them is called; empty for the whole file.
    pub(super) what: &'static str,
    /// Whether an unknown key is an error.
    pub(super) strict: bool,
    pub(super) fields: &'static [Field],
}

/// One key.
pub(super) struct Field {
    pub(super) name: &'static str,
    pub(super) kind: Kind,
    pub(super) merge: Merge,
    pub(super) used: Used,
}

/// The type of a value.
pub(super) enum Kind {
    Text,
    Flag,
    /// An integer within bounds.
    Whole(i128, i128),
    /// An enum, by word or by number.
    Word(&'static [(&'static str, i128)]),
    List(&'static Kind),
    Object(&'static Shape),
    /// Whatever it is.
    Any,
}

/// What happens when a key is mentioned again.
pub(super) enum Merge {
    /// The last mention wins, whole.
    Last,
    /// Strings of both, sorted, each once.
    Union,
    /// The later after the earlier.
    Append,
    /// Objects with the same values at these keys become one; then sorted by them.
    By(&'static [&'static str]),
}

/// What verger does with a key.
pub(super) enum Used {
    Applied,
    /// Nothing, for this reason.
    Not(&'static str),
}

const fn field(name: &'static str, kind: Kind, merge: Merge, used: Used) -> Field {
    Field { name, kind, merge, used }
}

const INT: Kind = Kind::Whole(i32::MIN as i128, i32::MAX as i128);
const LONG: Kind = Kind::Whole(i64::MIN as i128, i64::MAX as i128);
const TEXTS: Kind = Kind::List(&Kind::Text);

const MESSAGING: Used = Used::Not("messaging is the applications' own; verger carries no messages");
const RENAMES: Used = Used::Not("channels are renamed by the application's own library");
const OWN_LOOP: Used = Used::Not("the application's own event loop applies it, as it does under starterd");
const ONE_MACHINE: Used = Used::Not("verger supervises one machine, and runs every application on it");

/// The whole file.
pub(super) static CONFIGURATION: Shape = Shape {
    what: "",
    strict: true,
    fields: &[
        field("imports", TEXTS, Merge::Last, Used::Applied),
        field("applications", Kind::List(&Kind::Object(&APPLICATION)), Merge::By(&["name"]), Used::Applied),
        field("nodes", Kind::List(&Kind::Object(&NODE)), Merge::By(&["name"]), ONE_MACHINE),
        field("channels", Kind::List(&Kind::Object(&CHANNEL)), Merge::By(&["name", "type"]), MESSAGING),
        field("maps", Kind::List(&Kind::Object(&MAP)), Merge::Append, MESSAGING),
        field("channel_storage_duration", LONG, Merge::Last, MESSAGING),
    ],
};

static APPLICATION: Shape = Shape {
    what: "application",
    strict: true,
    fields: &[
        field("name", Kind::Text, Merge::Last, Used::Applied),
        field("executable_name", Kind::Text, Merge::Last, Used::Applied),
        field("args", TEXTS, Merge::Last, Used::Applied),
        field("user", Kind::Text, Merge::Last, Used::Applied),
        field("autostart", Kind::Flag, Merge::Last, Used::Applied),
        field("autorestart", Kind::Flag, Merge::Last, Used::Applied),
        field("stop_time", Kind::Whole(0, i64::MAX as i128), Merge::Last, Used::Applied),
        field("nodes", TEXTS, Merge::Union, ONE_MACHINE),
        field("maps", Kind::List(&Kind::Object(&MAP)), Merge::Append, RENAMES),
        field(
            "memory_limit",
            Kind::Whole(0, u64::MAX as i128),
            Merge::Last,
            Used::Not("verger does not limit memory by cgroup"),
        ),
        field("cpu_affinity", Kind::List(&INT), Merge::Last, OWN_LOOP),
        field("scheduling_policy", POLICY, Merge::Last, OWN_LOOP),
        field("priority", INT, Merge::Last, OWN_LOOP),
        field("threads", Kind::List(&Kind::Object(&THREAD)), Merge::Last, OWN_LOOP),
        field(
            "extra_cgroups",
            Kind::List(&Kind::Object(&CGROUP)),
            Merge::Last,
            Used::Not("verger makes no cgroups for an application's own use"),
        ),
    ],
};

const POLICY: Kind = Kind::Word(&[("SCHEDULER_OTHER", 0), ("SCHEDULER_FIFO", 1), ("SCHEDULER_RR", 2)]);

static THREAD: Shape = Shape {
    what: "thread",
    strict: true,
    fields: &[
        field("name", Kind::Text, Merge::Last, OWN_LOOP),
        field("cpu_affinity", Kind::List(&INT), Merge::Last, OWN_LOOP),
        field("scheduling_policy", POLICY, Merge::Last, OWN_LOOP),
        field("priority", INT, Merge::Last, OWN_LOOP),
    ],
};

static CGROUP: Shape =
    Shape { what: "cgroup", strict: true, fields: &[field("name", Kind::Text, Merge::Last, Used::Applied)] };

static NODE: Shape = Shape {
    what: "node",
    strict: true,
    fields: &[
        field("name", Kind::Text, Merge::Last, ONE_MACHINE),
        field("hostname", Kind::Text, Merge::Last, ONE_MACHINE),
        field("hostnames", TEXTS, Merge::Union, ONE_MACHINE),
        field("port", Kind::Whole(0, u16::MAX as i128), Merge::Last, ONE_MACHINE),
        field("tags", TEXTS, Merge::Union, ONE_MACHINE),
    ],
};

static CHANNEL: Shape = Shape {
    what: "channel",
    strict: false,
    fields: &[
        field("name", Kind::Text, Merge::Last, MESSAGING),
        field("type", Kind::Text, Merge::Last, MESSAGING),
        field("frequency", INT, Merge::Last, MESSAGING),
        field("max_size", INT, Merge::Last, MESSAGING),
        field("num_senders", INT, Merge::Last, MESSAGING),
        field("num_watchers", INT, Merge::Last, MESSAGING),
        field("source_node", Kind::Text, Merge::Last, MESSAGING),
        field("destination_nodes", Kind::List(&Kind::Object(&CONNECTION)), Merge::By(&["name"]), MESSAGING),
    ],
};

static CONNECTION: Shape = Shape {
    what: "destination node",
    strict: false,
    fields: &[
        field("name", Kind::Text, Merge::Last, MESSAGING),
        field("priority", Kind::Whole(0, u16::MAX as i128), Merge::Last, MESSAGING),
        field("time_to_live", Kind::Whole(0, u32::MAX as i128), Merge::Last, MESSAGING),
    ],
};

static MAP: Shape = Shape {
    what: "map",
    strict: false,
    fields: &[field("match", Kind::Any, Merge::Last, RENAMES), field("rename", Kind::Any, Merge::Last, RENAMES)],
};

impl Shape {
    pub(super) fn field(&self, name: &str) -> Option<&'static Field> {
        self.fields.iter().find(|field| field.name == name)
    }
}
