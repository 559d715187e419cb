//! Bodies: JSON whatever the content type says, and the two kinds of forms.

use super::fault::Fault;
use bytes::{Buf, BytesMut};
use futures_util::{Stream, StreamExt};
use http::HeaderMap;
use http::header::{CONTENT_LENGTH, CONTENT_TYPE};
use serde_json::{Map, Value};
use std::time::Duration;

/// Largest body, in bytes.
pub const LIMIT: usize = 1 << 20;

/// A larger body is still read up to here, so that its sender sees the answer rather than a reset.
const DRAINED: usize = 16 << 20;

/// How long a body may take.
const DEADLINE: Duration = Duration::from_secs(10);

/// Names and values in order, as in a query or a form.
pub type Parameters = Vec<(String, String)>;

/// Reads a body.
///
/// # Errors
/// When it is too large, too slow, or breaks off.
pub async fn collect<S, B, E>(headers: &HeaderMap, body: S) -> Result<BytesMut, Fault>
where
    S: Stream<Item = Result<B, E>>,
    B: Buf,
{
    let announced = headers
        .get(CONTENT_LENGTH)
        .and_then(|length| length.to_str().ok()?.parse::<usize>().ok())
        .unwrap_or(0);
    if announced > DRAINED {
        return Err(Fault::TooLarge { limit: LIMIT });
    }
    tokio::time::timeout(DEADLINE, gather(body))
        .await
        .map_err(|_| Fault::TooSlow { seconds: DEADLINE.as_secs() })?
}

async fn gather<S, B, E>(body: S) -> Result<BytesMut, Fault>
where
    S: Stream<Item = Result<B, E>>,
    B: Buf,
{
    let mut bytes = BytesMut::new();
    let mut length = 0;
    let mut body = std::pin::pin!(body);
    while let Some(part) = body.next().await {
        let mut part = part.map_err(|_| Fault::Body("it breaks off".into()))?;
        length += part.remaining();
        if length > DRAINED {
            break;
        }
        while length <= LIMIT && part.has_remaining() {
            let chunk = part.chunk();
            bytes.extend_from_slice(chunk);
            let taken = chunk.len();
            part.advance(taken);
        }
    }
    if length > LIMIT { Err(Fault::TooLarge { limit: LIMIT }) } else { Ok(bytes) }
}

/// The fields of a body. Forms are known by their content type, everything else is JSON; so is a
/// form that begins like an object, since `curl -d` calls anything a form.
///
/// # Errors
/// When it is none of these.
pub async fn read(headers: &HeaderMap, bytes: BytesMut) -> Result<Map<String, Value>, Fault> {
    let kind = headers.get(CONTENT_TYPE).and_then(|kind| kind.to_str().ok()).unwrap_or("");
    let object = bytes.trim_ascii_start().starts_with(b"{");
    if kind.starts_with("application/x-www-form-urlencoded") && !object {
        return Ok(merge(urlencoded(&bytes)?));
    }
    if kind.starts_with("multipart/form-data") {
        return multipart(kind, bytes).await.map(merge);
    }
    json(&bytes)
}

fn json(bytes: &[u8]) -> Result<Map<String, Value>, Fault> {
    if bytes.trim_ascii().is_empty() {
        return Ok(Map::new());
    }
    match serde_json::from_slice(bytes) {
        Ok(Value::Object(map)) => Ok(map),
        Ok(_) => Err(Fault::Body("send an object in JSON".into())),
        Err(error) => Err(Fault::Body(format!("send JSON ({error})"))),
    }
}

fn urlencoded(bytes: &[u8]) -> Result<Parameters, Fault> {
    serde_urlencoded::from_bytes(bytes).map_err(|error| Fault::Body(format!("not a form: {error}")))
}

async fn multipart(kind: &str, bytes: BytesMut) -> Result<Parameters, Fault> {
    let fault = |error: multer::Error| Fault::Body(format!("not a form: {error}"));
    let boundary = multer::parse_boundary(kind).map_err(fault)?;
    let whole = futures_util::stream::iter([Ok::<_, std::io::Error>(bytes.freeze())]);
    let mut form = multer::Multipart::new(whole, boundary);
    let mut parameters = Vec::new();
    while let Some(part) = form.next_field().await.map_err(fault)? {
        let name = part.name().unwrap_or("").to_owned();
        parameters.push((name, part.text().await.map_err(fault)?));
    }
    Ok(parameters)
}

/// A query's names and values. Bytes that are not UTF-8 become replacement characters, since a
/// query is never a reason to refuse a request.
#[must_use]
pub fn query(text: &str) -> Parameters {
    serde_urlencoded::from_str(text).unwrap_or_default()
}

/// Fields from parameters: a name that stands several times holds a list.
#[must_use]
pub fn merge(parameters: Parameters) -> Map<String, Value> {
    let mut fields = Map::new();
    for (name, value) in parameters {
        match fields.get_mut(&name) {
            Some(Value::Array(values)) => values.push(value.into()),
            Some(first) => *first = Value::Array(vec![first.take(), value.into()]),
            None => {
                fields.insert(name, value.into());
            }
        }
    }
    fields
}

#[cfg(test)]
mod tests {
    use super::*;
    use http::HeaderValue;
    use proptest::prelude::*;
    use serde_json::json;

    fn with_type(kind: &'static str) -> HeaderMap {
        HeaderMap::from_iter([(CONTENT_TYPE, HeaderValue::from_static(kind))])
    }

    async fn read_as(kind: &'static str, body: &str) -> Result<Value, Fault> {
        read(&with_type(kind), BytesMut::from(body)).await.map(Value::Object)
    }

    #[tokio::test]
    async fn json_needs_no_content_type() {
        assert_eq!(read(&HeaderMap::new(), BytesMut::from("{\"a\":1}")).await.unwrap()["a"], 1);
        assert_eq!(read_as("text/plain", "{\"a\":1}").await.unwrap(), json!({"a": 1}));
        assert_eq!(read_as("text/plain", " ").await.unwrap(), json!({}));
        for bad in ["{", "[1]", "nonsense", "{\"a\":1}}", "\"x\""] {
            assert!(matches!(read_as("application/json", bad).await, Err(Fault::Body(_))), "{bad}");
        }
    }

    #[tokio::test]
    async fn forms_repeat_names_for_lists() {
        let urlencoded = "application/x-www-form-urlencoded";
        let form = read_as(urlencoded, "name=a+b&x=1&x=2&x=3").await.unwrap();
        assert_eq!(form, json!({"name": "a b", "x": ["1", "2", "3"]}));
        assert_eq!(read_as(urlencoded, "{\"a\":1}").await.unwrap(), json!({"a": 1}));
        let multipart =
            "--B\r\nContent-Disposition: form-data; name=\"name\"\r\n\r\nweb\r\n--B--\r\n";
        let form = read_as("multipart/form-data; boundary=B", multipart).await.unwrap();
        assert_eq!(form, json!({"name": "web"}));
    }

    #[tokio::test]
    async fn a_body_beyond_the_limit_is_refused_however_it_comes() {
        let part = || Ok::<_, std::io::Error>(bytes::Bytes::from(vec![b'x'; 400_000]));
        let parts = futures_util::stream::iter([part(), part(), part()]);
        let refused = collect(&HeaderMap::new(), parts).await.unwrap_err();
        assert_eq!(refused, Fault::TooLarge { limit: LIMIT });
        let headers = HeaderMap::from_iter([(CONTENT_LENGTH, HeaderValue::from(1_u64 << 40))]);
        let nothing = futures_util::stream::iter([part()]);
        assert!(collect(&headers, nothing).await.is_err());
    }

    proptest! {
        #[test]
        fn any_bytes_are_read_or_refused(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
            let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
            for kind in ["", "application/x-www-form-urlencoded", "multipart/form-data; boundary=B"] {
                let _ = runtime.block_on(read(&with_type(kind), BytesMut::from(bytes.as_slice())));
            }
        }
    }
}
