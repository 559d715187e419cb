//! The cache as a whole, with a server on loopback and real `qemu-img`.

use super::*;
use crate::desired::chain;
use std::io::{Read, Write};
use std::net::TcpListener;
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicUsize, Ordering};

fn quiet() -> Progress {
    Arc::new(|_| {})
}

fn loopback() -> Allowed {
    Allowed::new(vec!["127.0.0.0/8".parse().unwrap()])
}

fn image(url: &str, checksum: Option<String>) -> DiskImage {
    DiskImage { uuid: "small".into(), url: url.into(), checksum }
}

fn qemu_img(arguments: &[&str]) {
    let status = Command::new("qemu-img").args(arguments).stdout(Stdio::null()).status();
    assert!(status.expect("qemu-img runs").success());
}

fn qcow2(folder: &Path) -> Vec<u8> {
    let path = folder.join("made.qcow2");
    qemu_img(&["create", "-q", "-f", "qcow2", path.to_str().unwrap(), "1M"]);
    std::fs::read(path).unwrap()
}

fn sha256(bytes: &[u8]) -> String {
    use sha2::Digest;
    hex::encode(sha2::Sha256::digest(bytes))
}

/// Files under a folder of the cache, but for its index.
fn files(folder: &Path) -> Vec<String> {
    let mut names = Vec::new();
    for entry in [folder.to_path_buf(), folder.join("partial")] {
        let Ok(entries) = std::fs::read_dir(entry) else { continue };
        let entries = entries.map(Result::unwrap).filter(|entry| entry.path().is_file());
        names.extend(entries.map(|entry| entry.file_name().into_string().unwrap()));
    }
    names
}

/// Serves `content` by ranges. The first answer breaks off after `first` bytes, if given.
struct Server {
    url: String,
    answered: Arc<AtomicUsize>,
}

fn serve(content: Vec<u8>, first: Option<usize>) -> Server {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}/image", listener.local_addr().unwrap());
    let answered = Arc::new(AtomicUsize::new(0));
    let count = Arc::clone(&answered);
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            let mut stream = stream.unwrap();
            let mut request = [0; 4096];
            let length = stream.read(&mut request).unwrap();
            let request = String::from_utf8_lossy(&request[..length]).to_lowercase();
            let start =
                request.split("range: bytes=").nth(1).and_then(|rest| rest.split('-').next());
            let start: usize = start.map_or(0, |text| text.parse().unwrap());
            let rest = &content[start..];
            let status = if start == 0 { "200 OK" } else { "206 Partial Content" };
            let last = content.len() - 1;
            let head = format!(
                "HTTP/1.1 {status}\r\nContent-Length: {}\r\nContent-Range: bytes {start}-{last}/*\r\n\r\n",
                rest.len(),
            );
            stream.write_all(head.as_bytes()).unwrap();
            let sent = match (count.fetch_add(1, Ordering::SeqCst), first) {
                (0, Some(first)) => &rest[..first],
                _ => rest,
            };
            let _ = stream.write_all(sent);
        }
    });
    Server { url, answered }
}

#[tokio::test]
async fn an_image_is_fetched_once_for_all() {
    let folder = tempfile::tempdir().unwrap();
    let content = qcow2(folder.path());
    let server = serve(content.clone(), None);
    let cache = folder.path().join("cache");
    let images = Images::new(&cache, false, loopback());
    let wanted = image(&server.url, Some(sha256(&content)));
    let (one, two) = tokio::join!(images.ensure(&wanted, quiet()), images.ensure(&wanted, quiet()));
    let base = one.unwrap();
    assert_eq!(base, two.unwrap());
    assert_eq!(base.format, Format::Qcow2);
    assert_eq!(std::fs::read(images.path(&base)).unwrap(), content);
    assert_eq!(server.answered.load(Ordering::SeqCst), 1);
    // Another agent's life, another checksum of the same content: still the same file.
    let again = Images::new(&cache, false, loopback());
    assert_eq!(again.ensure(&wanted, quiet()).await.unwrap(), base);
    assert_eq!(again.ensure(&image(&server.url, None), quiet()).await.unwrap(), base);
    assert_eq!(files(&cache), [base.file]);
}

#[tokio::test]
async fn a_broken_transfer_is_gone_on_from_and_never_an_image() {
    let folder = tempfile::tempdir().unwrap();
    let content = qcow2(folder.path());
    let server = serve(content.clone(), Some(1000));
    let cache = folder.path().join("cache");
    let images = Images::new(&cache, false, loopback());
    let wanted = image(&server.url, Some(sha256(&content)));
    let error = images.ensure(&wanted, quiet()).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Transient);
    assert_eq!(files(&cache).len(), 1, "the part, in its own folder");
    assert!(!files(&cache)[0].contains("sha256"));
    let base = images.ensure(&wanted, quiet()).await.unwrap();
    assert_eq!(std::fs::read(images.path(&base)).unwrap(), content);
}

#[tokio::test]
async fn what_is_wrong_leaves_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let cache = folder.path().join("cache");
    let content = qcow2(folder.path());
    let images = Images::new(&cache, true, loopback());

    let server = serve(content.clone(), None);
    let wrong = image(&server.url, Some("0".repeat(64)));
    let error = images.ensure(&wrong, quiet()).await.unwrap_err();
    assert!(error.to_string().contains(&sha256(&content)), "{error}");

    let page = serve(b"<html>no such image</html>".repeat(100), None);
    let error = images.ensure(&image(&page.url, None), quiet()).await.unwrap_err();
    assert!(chain(&error).contains("no boot sector"), "{}", chain(&error));

    let backed = folder.path().join("backed.qcow2");
    let backed = backed.to_str().unwrap();
    qemu_img(&[
        "create",
        "-q",
        "-u",
        "-f",
        "qcow2",
        "-b",
        "/etc/shadow",
        "-F",
        "raw",
        backed,
        "1M",
    ]);
    let error =
        images.ensure(&image(&format!("file://{backed}"), None), quiet()).await.unwrap_err();
    assert!(chain(&error).contains("a backing file"), "{}", chain(&error));
    assert_eq!(error.kind(), ErrorKind::Invalid);

    let data = folder.path().join("data.qcow2");
    let data = data.to_str().unwrap();
    let raw = folder.path().join("data.raw");
    let options = format!("data_file={},data_file_raw=on", raw.display());
    qemu_img(&["create", "-q", "-f", "qcow2", "-o", &options, data, "1M"]);
    let error = images.ensure(&image(&format!("file://{data}"), None), quiet()).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Invalid, "{}", chain(&error));

    assert_eq!(files(&cache), Vec::<String>::new());
}

#[tokio::test]
async fn what_this_host_does_not_allow_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let images = Images::new(&folder.path().join("cache"), false, Allowed::default());
    let file = images.ensure(&image("file:///etc/passwd", None), quiet()).await.unwrap_err();
    assert!(matches!(file, ImageError::FileRefused { .. }));
    let server = serve(b"secret".to_vec(), None);
    let inner = images.ensure(&image(&server.url, None), quiet()).await.unwrap_err();
    assert_eq!(inner.kind(), ErrorKind::Invalid);
    assert_eq!(server.answered.load(Ordering::SeqCst), 0, "not even connected");
    let ftp = images.ensure(&image("ftp://example.com/x", None), quiet()).await.unwrap_err();
    assert_eq!(ftp.kind(), ErrorKind::Invalid);
    let sum = images.ensure(&image(&server.url, Some("xyz".into())), quiet()).await.unwrap_err();
    assert_eq!(sum.kind(), ErrorKind::Invalid);
}
