//! `?wait=30s[&for=running]`: answers once a resource has settled, instead of being polled.

use super::handle::Context;
use super::page::last;
use crate::core::View;
use serde_json::Value;
use std::time::Duration;

/// Longest wait.
const LONGEST: Duration = Duration::from_secs(60);

/// The resource when it is in the state that `for` names, or without that in no transition any
/// more; as it is then, when the time is over or the server ends.
pub async fn settled(context: &Context, view: View) -> View {
    let query = &context.request.query;
    let Some(time) = last(query, "wait").and_then(duration) else { return view };
    let wanted = last(query, "for");
    let mut ending = context.ending.clone();
    let reached = tokio::select! {
        reached = reached(context, &view, wanted) => Some(reached),
        () = tokio::time::sleep(time) => None,
        _ = ending.wait_for(|ending| *ending) => None,
    };
    let now = || context.core.get(&context.caller, view.kind, &view.id);
    reached.or_else(now).unwrap_or(view)
}

async fn reached(context: &Context, first: &View, wanted: Option<&str>) -> View {
    let mut changed = context.core.changed();
    loop {
        changed.mark_unchanged();
        let now = context.core.get(&context.caller, first.kind, &first.id);
        match now {
            Some(view) if !is_reached(&view, wanted) => {}
            Some(view) => return view,
            None => return first.clone(),
        }
        if changed.changed().await.is_err() {
            return first.clone();
        }
    }
}

/// A failed transition never reaches the wanted state, so it ends the wait too.
fn is_reached(view: &View, wanted: Option<&str>) -> bool {
    let text = |name: &str| view.fields.get(name).and_then(Value::as_str);
    match (text("transitioning"), wanted) {
        (Some("error"), _) => true,
        (_, Some(wanted)) => text("state") == Some(wanted),
        (transitioning, None) => transitioning != Some("yes"),
    }
}

/// `30s`, `500ms`, `1m` or seconds alone, at most [`LONGEST`].
fn duration(text: &str) -> Option<Duration> {
    let split = text.find(|letter: char| !letter.is_ascii_digit()).unwrap_or(text.len());
    let (digits, unit) = text.split_at(split);
    let number: u64 = digits.parse().ok()?;
    let time = match unit {
        "ms" => Duration::from_millis(number),
        "" | "s" => Duration::from_secs(number),
        "m" => Duration::from_secs(number.saturating_mul(60)),
        _ => return None,
    };
    Some(time.min(LONGEST))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_are_read_and_capped() {
        assert_eq!(duration("30s"), Some(Duration::from_secs(30)));
        assert_eq!(duration("7"), Some(Duration::from_secs(7)));
        assert_eq!(duration("250ms"), Some(Duration::from_millis(250)));
        assert_eq!(duration("99999999999m"), Some(LONGEST));
        for wrong in ["", "s", "-1s", "1h", "x", "1s1", "99999999999999999999"] {
            assert_eq!(duration(wrong), None, "{wrong}");
        }
    }
}
