//! What a program writes, line by line as it comes.

use std::io::{BufRead, BufReader, Read};
use std::sync::{Arc, Condvar, Mutex};
use std::time::{Duration, Instant};

use crate::patience;

/// What came out of a pipe so far.
#[derive(Clone, Debug, Default)]
pub struct Output {
    shared: Arc<(Mutex<Text>, Condvar)>,
}

#[derive(Debug, Default)]
struct Text {
    text: String,
    ended: bool,
}

impl Output {
    /// Reads from now on until the end, on a thread of its own.
    pub fn of(pipe: impl Read + Send + 'static) -> Output {
        let output = Output::default();
        let shared = Arc::clone(&output.shared);
        std::thread::spawn(move || {
            let mut reader = BufReader::new(pipe);
            let mut line = Vec::new();
            loop {
                line.clear();
                let ended = reader.read_until(b'\n', &mut line).map_or(true, |count| count == 0);
                let mut text = shared.0.lock().unwrap();
                text.text.push_str(&String::from_utf8_lossy(&line));
                text.ended = ended;
                shared.1.notify_all();
                if ended {
                    return;
                }
            }
        });
        output
    }

    /// Everything so far.
    pub fn text(&self) -> String {
        self.shared.0.lock().unwrap().text.clone()
    }

    /// Waits until something is in it; everything so far, then.
    pub fn wait(&self, part: &str, patience: Duration) -> String {
        self.wait_until(&format!("says `{part}`"), patience, |text| text.contains(part))
    }

    /// Waits until what is in it is so (`what` says how); everything so far, then.
    pub fn wait_until(&self, what: &str, patience: Duration, so: impl Fn(&str) -> bool) -> String {
        self.until(patience, |text| so(&text.text))
            .unwrap_or_else(|text| panic!("within {patience:?} nothing {what}:\n{text}"))
    }

    /// Waits until nobody holds its other end any more; whether that came.
    pub fn closed_within(&self, patience: Duration) -> bool {
        self.until(patience, |text| text.ended).is_ok()
    }

    fn until(&self, patience: Duration, what: impl Fn(&Text) -> bool) -> Result<String, String> {
        let deadline = Instant::now() + patience::here(patience);
        let mut text = self.shared.0.lock().unwrap();
        while !what(&text) {
            let left = deadline.saturating_duration_since(Instant::now());
            if left.is_zero() || text.ended {
                return Err(text.text.clone());
            }
            text = self.shared.1.wait_timeout(text, left).unwrap().0;
        }
        Ok(text.text.clone())
    }
}
