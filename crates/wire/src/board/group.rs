//! What the board shows of groups: their active target, by name, and what they are about.

use verger_engine::life::GroupPhase;
use verger_engine::time::Moment;

use super::{NAME_WORDS, Name};

/// 64-bit words of a group: its sequence number, codes, since when, its name, its target's name.
pub const GROUP_WORDS: usize = 3 + 2 * NAME_WORDS;

/// What is shown of a group.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct GroupRecord {
    /// Its name; `None` is the group without one.
    pub name: Option<Name>,
    /// The target that is active or being entered.
    pub target: Name,
    /// What it is about.
    pub phase: GroupPhase,
    /// When it entered that phase.
    pub since: Moment,
    /// How often its fallback has failed in a row.
    pub failures: u32,
}

impl GroupRecord {
    /// As words, the sequence number left zero. Codes: bit 0 says that there is a group, then from bit 8 on a byte each for
    /// the phase and the lengths of both names, then from bit 32 on the failures.
    pub(super) fn encode(&self) -> [u64; GROUP_WORDS] {
        let mut words = [0; GROUP_WORDS];
        let lengths =
            u64::from(self.name.map_or(0, |name| name.length())) << 16 | u64::from(self.target.length()) << 24;
        words[1] = 1 | u64::from(self.phase.code()) << 8 | lengths | u64::from(self.failures) << 32;
        words[2] = self.since.0;
        if let Some(name) = self.name {
            words[3..3 + NAME_WORDS].copy_from_slice(&name.words());
        }
        words[3 + NAME_WORDS..].copy_from_slice(&self.target.words());
        words
    }

    /// Reads what was written; the outer `None`: these words are no group.
    pub(super) fn decode(words: &[u64; GROUP_WORDS]) -> Option<Option<GroupRecord>> {
        let codes = words[1];
        if codes == 0 {
            return Some(None);
        }
        let name_at = |at: usize| -> [u64; NAME_WORDS] { core::array::from_fn(|word| words[at + word]) };
        let (name_length, target_length) = ((codes >> 16) as u8, (codes >> 24) as u8);
        let name = match name_length {
            0 => None,
            length => Some(Name::from_words(&name_at(3), length)?),
        };
        let record = GroupRecord {
            name,
            target: Name::from_words(&name_at(3 + NAME_WORDS), target_length)?,
            phase: GroupPhase::from_code((codes >> 8) as u8)?,
            since: Moment(words[2]),
            failures: (codes >> 32) as u32,
        };
        // What does not come back as it was has bits that mean nothing.
        (record.encode()[1..] == words[1..]).then_some(Some(record))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn groups_come_back() {
        for name in [None, Name::new("cameras")] {
            for phase in GroupPhase::ALL {
                let record = GroupRecord {
                    name,
                    target: Name::new("Off").unwrap(),
                    phase: *phase,
                    since: Moment(77),
                    failures: u32::MAX,
                };
                let words = record.encode();
                assert_eq!(GroupRecord::decode(&words), Some(Some(record)));
                let mut strange = words;
                strange[1] |= 2;
                assert_eq!(GroupRecord::decode(&strange), None, "a bit that means nothing");
                strange = words;
                strange[GROUP_WORDS - 1] = 1;
                assert_eq!(GroupRecord::decode(&strange), None, "more than the name");
            }
        }
        assert_eq!(GroupRecord::decode(&[0; GROUP_WORDS]), Some(None));
    }
}
