//! Session tokens (IMDSv2): who can send a PUT may read; a request that somebody else makes a guest
//! send cannot.
//!
//! Nothing is stored per token: it carries its end and a keyed hash over that and the instance, so
//! guests cannot use up memory by asking for many. The key lives as long as the service; guests ask
//! for a new token when an old one is refused.

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use std::time::Duration;
use zeroize::Zeroizing;

/// The longest and the shortest life of a token. In seconds.
pub(crate) const LONGEST_LIFE: u32 = 21_600;
pub(crate) const SHORTEST_LIFE: u32 = 1;
/// The end of its life, in seconds on the service's clock, at the beginning of a token.
const END: usize = 8;

/// No randomness for a key.
#[derive(Debug, thiserror::Error)]
#[error("cannot make a key for session tokens")]
pub struct KeyError {
    #[source]
    source: getrandom::Error,
}

/// Makes tokens and knows its own again.
pub struct Tokens {
    key: Zeroizing<[u8; 32]>,
}

impl Tokens {
    /// Tokens under a new random key.
    ///
    /// # Errors
    /// When the system has no randomness.
    pub fn new() -> Result<Self, KeyError> {
        let mut key = Zeroizing::new([0; 32]);
        getrandom::fill(&mut *key).map_err(|source| KeyError { source })?;
        Ok(Self { key })
    }

    /// A token for the instance with `uuid` that dies `life` seconds after `now`. `now` is any
    /// clock that never goes back.
    pub(crate) fn issue(&self, uuid: &str, life: u32, now: Duration) -> String {
        let end = now.as_secs().saturating_add(life.into()).to_be_bytes();
        let mark = self.mark(uuid, end);
        URL_SAFE_NO_PAD.encode([&end[..], mark.as_bytes()].concat())
    }

    /// Whether `token` was issued for the instance with `uuid` and is alive.
    pub(crate) fn is_valid(&self, uuid: &str, token: &str, now: Duration) -> bool {
        let Ok(bytes) = URL_SAFE_NO_PAD.decode(token) else { return false };
        let Some((end, mark)) = bytes.split_first_chunk::<END>() else { return false };
        let Ok(mark) = <[u8; blake3::OUT_LEN]>::try_from(mark) else { return false };
        // The library compares hashes in constant time.
        self.mark(uuid, *end) == blake3::Hash::from(mark)
            && now.as_secs() < u64::from_be_bytes(*end)
    }

    fn mark(&self, uuid: &str, end: [u8; END]) -> blake3::Hash {
        blake3::keyed_hash(&self.key, &[&end[..], uuid.as_bytes()].concat())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const START: Duration = Duration::from_secs(1000);

    #[test]
    fn a_token_is_good_for_its_instance_and_its_time() {
        let tokens = Tokens::new().unwrap();
        let token = tokens.issue("a", 60, START);
        let after = |seconds| START + Duration::from_secs(seconds);
        assert!(tokens.is_valid("a", &token, START));
        assert!(tokens.is_valid("a", &token, after(59)));
        assert!(!tokens.is_valid("a", &token, after(60)));
        assert!(!tokens.is_valid("b", &token, START));
        assert!(!Tokens::new().unwrap().is_valid("a", &token, START));
    }

    #[test]
    fn a_changed_token_is_refused() {
        let tokens = Tokens::new().unwrap();
        let token = tokens.issue("a", 60, START);
        for position in 0..token.len() {
            let mut bytes = token.clone().into_bytes();
            bytes[position] = if bytes[position] == b'A' { b'B' } else { b'A' };
            let changed = String::from_utf8(bytes).unwrap();
            assert!(!tokens.is_valid("a", &changed, START), "{position}");
        }
        for other in ["", "x", "TOKEN==", &token[1..]] {
            assert!(!tokens.is_valid("a", other, START), "{other}");
        }
    }
}
