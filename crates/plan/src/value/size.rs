//! Amounts of memory: a number of bytes, or a number and a unit of 1024 bytes or a power of that.

/// The units: a letter as the kernel and systemd have it, or with `iB` after it.
const UNITS: [(char, u32); 4] = [('K', 10), ('M', 20), ('G', 30), ('T', 40)];

/// Reads a size. `None`: it is none, or does not fit into 64 bits.
pub(crate) fn parse(text: &str) -> Option<u64> {
    let digits = text.find(|it: char| !it.is_ascii_digit()).unwrap_or(text.len());
    let (number, unit) = text.split_at(digits);
    let number: u64 = number.parse().ok()?;
    let unit = unit.strip_suffix("iB").unwrap_or(unit);
    let shift = match unit {
        "" => 0,
        _ => UNITS.iter().find(|(letter, _)| unit.chars().eq([*letter]))?.1,
    };
    number.checked_mul(1 << shift)
}

/// A size in the largest unit that says it exactly.
pub(crate) fn shown(bytes: u64) -> String {
    let fits = |(_, shift): &&(char, u32)| bytes != 0 && bytes.trailing_zeros() >= *shift;
    match UNITS.iter().rev().find(fits) {
        Some((letter, shift)) => format!("{}{letter}", bytes >> shift),
        None => bytes.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes() {
        for (text, bytes) in
            [("0", 0), ("4096", 4096), ("64K", 64 << 10), ("512M", 512 << 20), ("2GiB", 2 << 30), ("1T", 1 << 40)]
        {
            assert_eq!(parse(text), Some(bytes), "{text}");
        }
        for text in ["", "M", "512m", "512MB", "1.5G", "-1", "1 G", "99999999999T", "18446744073709551616", "iB", "1KK"]
        {
            assert_eq!(parse(text), None, "{text}");
        }
        for (bytes, text) in
            [(0, "0"), (4097, "4097"), (1024, "1K"), (1536, "1536"), (3 << 29, "1536M"), (1 << 40, "1T")]
        {
            assert_eq!(shown(bytes), text);
            assert_eq!(parse(text), Some(bytes));
        }
    }
}
