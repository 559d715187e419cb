//! Reading the path of a request, which may be anything.

use percent_encoding::percent_decode_str;

/// The parts of a path between its slashes, decoded one by one; `None` when it is no path. A slash
/// at the end leaves an empty last part.
pub(crate) fn parts(target: &str) -> Option<Vec<String>> {
    let path = target.split_once('?').map_or(target, |(path, _)| path);
    let decode = |part| Some(percent_decode_str(part).decode_utf8().ok()?.into_owned());
    path.strip_prefix('/')?.split('/').map(decode).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parts_are_decoded_after_they_are_split() {
        let read = |path| parts(path).map(|parts| parts.join("|"));
        assert_eq!(read("/").as_deref(), Some(""));
        assert_eq!(read("/latest/meta-data/").as_deref(), Some("latest|meta-data|"));
        assert_eq!(read("/macs/02%3A00/x?y=/z").as_deref(), Some("macs|02:00|x"));
        assert_eq!(read("/a%2Fb").as_deref(), Some("a/b"));
        for wrong in ["", "latest", "/%ff", "*"] {
            assert_eq!(read(wrong), None, "{wrong}");
        }
    }
}
