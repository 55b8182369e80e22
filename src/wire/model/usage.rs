//! Token counters as a model reports them.

use serde::{Deserialize, Serialize};
use serde_json::Value;

/// Tokens of one call. `input` excludes what the cache served or stored.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Usage {
    pub input: u64,
    pub output: u64,
    pub cache_read: u64,
    pub cache_write_5m: u64,
    pub cache_write_1h: u64,
    /// The part of `output` that was thinking.
    pub thinking: u64,
    /// The server gave no numbers; these follow from byte counts.
    pub estimated: bool,
}

impl Usage {
    /// All tokens of the prompt, cached or not.
    pub fn prompt(&self) -> u64 {
        self.input
            .saturating_add(self.cache_read)
            .saturating_add(self.cache_write_5m)
            .saturating_add(self.cache_write_1h)
    }

    /// Overwrites each counter that `reported` carries: the numbers of a stream are cumulative.
    pub(super) fn update(&mut self, reported: &Value) {
        let count = |pointer: &str| reported.pointer(pointer).and_then(Value::as_u64);
        let set = |to: &mut u64, found: Option<u64>| *to = found.unwrap_or(*to);
        set(&mut self.input, count("/input_tokens"));
        set(&mut self.output, count("/output_tokens"));
        set(&mut self.cache_read, count("/cache_read_input_tokens"));
        set(&mut self.thinking, count("/output_tokens_details/thinking_tokens"));
        let hour = count("/cache_creation/ephemeral_1h_input_tokens");
        set(&mut self.cache_write_1h, hour);
        // Without the split, everything written counts as the five-minute kind.
        let five = count("/cache_creation/ephemeral_5m_input_tokens").or_else(|| {
            count("/cache_creation_input_tokens").map(|all| all.saturating_sub(hour.unwrap_or(0)))
        });
        set(&mut self.cache_write_5m, five);
    }
}

/// Tokens of `bytes` of text when nobody counted them: 3.5 bytes a token, rounded up.
pub fn estimated_tokens(bytes: usize) -> u64 {
    (bytes as u64).saturating_mul(2).div_ceil(7)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn later_numbers_overwrite_and_absent_ones_stay() {
        let mut usage = Usage::default();
        usage.update(&json!({"input_tokens": 25, "output_tokens": 1, "cache_creation_input_tokens": 30, "cache_read_input_tokens": 7,
            "cache_creation": {"ephemeral_5m_input_tokens": 10, "ephemeral_1h_input_tokens": 20}}));
        usage.update(&json!({"output_tokens": 90, "output_tokens_details": {"thinking_tokens": 40}}));
        let expected = Usage {
            input: 25,
            output: 90,
            cache_read: 7,
            cache_write_5m: 10,
            cache_write_1h: 20,
            thinking: 40,
            estimated: false,
        };
        assert_eq!(usage, expected);
        assert_eq!(usage.prompt(), 62);
    }

    #[test]
    fn hostile_numbers_neither_wrap_nor_stop_the_stream() {
        let mut usage = Usage::default();
        usage.update(&json!({"input_tokens": u64::MAX, "cache_read_input_tokens": u64::MAX, "output_tokens": -4, "cache_creation": "no"}));
        assert_eq!((usage.prompt(), usage.output), (u64::MAX, 0));
    }

    #[test]
    fn an_estimate_is_three_and_a_half_bytes_a_token() {
        assert_eq!([0, 1, 7, 8].map(estimated_tokens), [0, 1, 2, 3]);
    }
}
