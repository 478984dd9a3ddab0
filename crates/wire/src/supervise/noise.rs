//! Noise by seed, for both generations: nothing breaks, cuts do not matter, and sense after noise is heard.

use super::Boundaries;
use super::binary::Orders;
use super::text::Commands;

/// splitmix64: the same numbers for the same seed.
struct Luck(u64);

impl Luck {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    fn below(&mut self, bound: usize) -> usize {
        (self.next() % bound as u64) as usize
    }

    /// Bytes that are near enough to commands to be dangerous.
    fn noise(&mut self) -> Vec<u8> {
        const PIECES: [&[u8]; 12] = [
            b"signal ",
            b"signal",
            b" ",
            b"\n",
            b"1",
            b"64",
            b"65",
            b"0",
            b"-",
            b"\0",
            b"\xff\xfe",
            b"xxxxxxxxxxxxxxxx",
        ];
        let mut noise = Vec::new();
        for _ in 0..self.below(40) {
            match self.below(3) {
                0 => noise.push(self.next() as u8),
                _ => noise.extend_from_slice(PIECES[self.below(PIECES.len())]),
            }
        }
        noise
    }

    /// The same bytes in random pieces.
    fn cut<'b>(&mut self, mut bytes: &'b [u8]) -> Vec<&'b [u8]> {
        let mut pieces = Vec::new();
        while !bytes.is_empty() {
            let (piece, rest) = bytes.split_at(self.below(bytes.len().min(7)) + 1);
            pieces.push(piece);
            bytes = rest;
        }
        pieces
    }
}

/// What a whole text asks for, found the slow and obvious way.
fn obvious(text: &[u8]) -> Vec<u8> {
    let whole = text.split(|byte| *byte == b'\n').rev().skip(1).collect::<Vec<_>>();
    let signal = |line: &&[u8]| -> Option<u8> {
        let line = std::str::from_utf8(line).ok().filter(|line| line.len() <= super::text::COMMAND_BYTES_MAX)?;
        let digits = line.strip_prefix("signal ").filter(|rest| rest.bytes().all(|byte| byte.is_ascii_digit()))?;
        digits.parse().ok().filter(|signal| (1..=64).contains(signal))
    };
    whole.iter().rev().filter_map(signal).collect()
}

#[test]
fn text_noise() {
    for seed in 0..3000 {
        let mut luck = Luck(seed);
        let noise = luck.noise();
        let story = [&noise[..], b"\nsignal 31\n"].concat();
        let mut commands = Commands::new(Boundaries::None);
        let mut heard = Vec::new();
        luck.cut(&story).iter().for_each(|piece| commands.take(piece, |signal| heard.push(signal)));
        assert_eq!(heard, obvious(&story), "seed {seed}: {story:?}");
        assert_eq!(heard.last(), Some(&31), "seed {seed}: {story:?}");
        let mut commands = Commands::new(Boundaries::Messages);
        commands.take(&noise, |signal| assert!((1..=64).contains(&signal)));
        let mut heard = Vec::new();
        commands.take(b"signal 31", |signal| heard.push(signal));
        assert_eq!(heard, [31], "seed {seed}: a message begins anew");
    }
}

#[test]
fn struct_noise() {
    for seed in 0..3000 {
        let mut luck = Luck(seed);
        let noise = luck.noise();
        let hear = |pieces: &[&[u8]]| {
            let mut orders = Orders::new(Boundaries::None);
            let mut heard = Vec::new();
            pieces.iter().for_each(|piece| orders.take(piece, |order| heard.push(order)));
            heard
        };
        let heard = hear(&luck.cut(&noise));
        assert_eq!(heard, hear(&[&noise]), "seed {seed}: {noise:?}");
        assert!(heard.iter().all(|order| order.pid > 0 && (1..=64).contains(&order.signal)), "seed {seed}");
    }
}
