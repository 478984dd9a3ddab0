//! What a security module (AppArmor, SELinux) calls a profile or a context.

use verger_engine::image::SECURITY_LABEL_BYTES_MAX;

/// What is expected where a label stands.
pub(crate) const EXPECTED: &str = "1 to 255 bytes without control characters";

/// Whether a text can be one.
pub(crate) fn is_label(text: &str) -> bool {
    (1..=SECURITY_LABEL_BYTES_MAX).contains(&text.len()) && !text.contains(char::is_control)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn labels_have_a_length_and_no_control_characters() {
        let longest = "x".repeat(SECURITY_LABEL_BYTES_MAX);
        assert!(EXPECTED.contains(&SECURITY_LABEL_BYTES_MAX.to_string()));
        assert!([&longest, "robot//camera", "/usr/bin/cam era", "u:r:t:s0:c1,c2"].into_iter().all(is_label));
        assert!(![&format!("{longest}x"), "", "a\nb", "a\0"].into_iter().any(is_label));
    }
}
