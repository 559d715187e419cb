//! A private host for tests with a real libvirtd: a thread with its own network and mount
//! namespaces, a libvirtd started in them, and a runtime whose threads inherit them.
//!
//! libvirtd gets private folders by bind mounts, so that it meets no other one. It runs QEMU as
//! root, because with a `/dev/kvm` that only root may open the probe user finds no KVM while the
//! daemon does, and libvirt then asks QEMU for its abilities again at every call, 7 s each time. (For
//! the same reason nothing may be mounted over `/dev/kvm`.) Everything ends with the test, also after
//! a panic: domains are killed by the ids in their pid files, the mounts vanish with their namespace.

use std::ffi::CString;
use std::fs;
use std::future::Future;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use nix::mount::{MsFlags, mount};
use nix::sched::{CloneFlags, unshare};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

/// A running private libvirtd.
pub struct PrivateHost {
    daemon: Child,
    folder: tempfile::TempDir,
}

/// Runs `test` on a private host. Fails without root.
pub fn on_private_host<F: Future<Output = ()>>(test: impl FnOnce(PrivateHost) -> F + Send) {
    assert!(nix::unistd::geteuid().is_root(), "this test needs root");
    // While there is a network: building it may fetch a package.
    guest_image();
    std::thread::scope(|scope| {
        let thread = scope.spawn(|| {
            unshare(CloneFlags::CLONE_NEWNET | CloneFlags::CLONE_NEWNS).expect("new namespaces");
            run(&["ip", "link", "set", "lo", "up"]);
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
            let host = PrivateHost::start();
            runtime.expect("a runtime").block_on(test(host));
        });
        if let Err(panic) = thread.join() {
            std::panic::resume_unwind(panic);
        }
    });
}

impl PrivateHost {
    fn start() -> Self {
        let folder = tempfile::Builder::new().prefix("libvirt-").tempdir().expect("a folder");
        let root = folder.path();
        isolate_mounts(root);
        let conf = format!(
            "unix_sock_dir = \"{0}/sock\"\nauth_unix_rw = \"none\"\nauth_unix_ro = \"none\"\n",
            root.display()
        );
        fs::write(root.join("libvirtd.conf"), conf).expect("write libvirtd.conf");
        fs::create_dir(root.join("sock")).expect("make the socket's folder");
        let log = fs::File::create(root.join("libvirtd.log")).expect("make the log");
        let daemon = Command::new("libvirtd")
            .arg("--config")
            .arg(root.join("libvirtd.conf"))
            .arg("--pid-file")
            .arg(root.join("libvirtd.pid"))
            .args(["--timeout", "0"])
            .stdin(Stdio::null())
            .stdout(log.try_clone().expect("share the log"))
            .stderr(log)
            .spawn()
            .expect("start libvirtd");
        let host = Self { daemon, folder };
        host.await_socket();
        host
    }

    /// libvirtd listens before its drivers are up, and lets a caller wait for them.
    fn await_socket(&self) {
        let socket = self.folder.path().join("sock/libvirt-sock");
        let deadline = Instant::now() + Duration::from_secs(30);
        while std::os::unix::net::UnixStream::connect(&socket).is_err() {
            let log = fs::read_to_string(self.folder.path().join("libvirtd.log"));
            assert!(Instant::now() < deadline, "libvirtd did not come up: {log:?}");
            std::thread::sleep(Duration::from_millis(20));
        }
    }

    /// Networks' namespaces are mounts below the folder, which could not be removed with them.
    fn unmount_namespaces(&self) {
        let entries = fs::read_dir(self.run_dir().join("netns")).into_iter().flatten();
        for entry in entries.flatten() {
            let _ = netlib::netns::remove(&entry.path());
        }
    }

    /// Where an agent of this host keeps its namespaces.
    pub fn run_dir(&self) -> PathBuf {
        self.folder.path().join("run-dir")
    }

    /// The URI of this host's libvirt.
    pub fn uri(&self) -> String {
        format!("qemu:///system?socket={}/sock/libvirt-sock", self.folder.path().display())
    }

    /// A folder that is removed with the host.
    pub fn folder(&self) -> &Path {
        self.folder.path()
    }

    /// Runs `virsh` against this host and returns what it prints.
    pub fn virsh(&self, arguments: &[&str]) -> String {
        let output = Command::new("virsh").args(["-q", "-c", &self.uri()]).args(arguments).output();
        let output = output.expect("run virsh");
        let error = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "virsh {arguments:?}: {error}");
        String::from_utf8(output.stdout).expect("UTF-8 from virsh")
    }
}

impl Drop for PrivateHost {
    fn drop(&mut self) {
        let _ = self.daemon.kill();
        let _ = self.daemon.wait();
        self.unmount_namespaces();
        let Ok(files) = fs::read_dir(self.folder.path().join("run/qemu")) else { return };
        for file in files.flatten().filter(|file| is_pid_file(&file.path())) {
            let text = fs::read_to_string(file.path()).unwrap_or_default();
            if let Ok(pid) = text.trim().parse() {
                let _ = kill(Pid::from_raw(pid), Signal::SIGKILL);
            }
        }
    }
}

fn is_pid_file(path: &Path) -> bool {
    path.extension().is_some_and(|extension| extension == "pid")
}

/// Private mounts over libvirt's folders and its configuration.
fn isolate_mounts(root: &Path) {
    bind(None, "/", MsFlags::MS_REC | MsFlags::MS_PRIVATE);
    for (name, target) in [
        ("run", "/run/libvirt"),
        ("lib", "/var/lib/libvirt"),
        ("log", "/var/log/libvirt"),
        ("cache", "/var/cache/libvirt"),
        ("etc", "/etc/libvirt"),
    ] {
        let source = root.join(name);
        fs::create_dir_all(&source).expect("make a private folder");
        fs::create_dir_all(target).expect("make libvirt's folder");
        bind(Some(&source), target, MsFlags::MS_BIND);
    }
    for folder in ["etc/qemu", "etc/hooks", "lib/qemu"] {
        fs::create_dir_all(root.join(folder)).expect("make a private folder");
    }
    let qemu = "user = \"root\"\ngroup = \"root\"\nremember_owner = 0\nsecurity_driver = \"none\"\n\
                cgroup_controllers = []\nstdio_handler = \"file\"\n";
    fs::write(root.join("etc/qemu.conf"), qemu).expect("write qemu.conf");
}

fn bind(source: Option<&Path>, target: &str, flags: MsFlags) {
    let none: Option<&str> = None;
    mount(source, target, none, flags, none)
        .unwrap_or_else(|error| panic!("mount on {target}: {error}"));
}

/// Runs a command that must succeed.
pub fn run(command: &[&str]) {
    let status = Command::new(command[0]).args(&command[1..]).status();
    assert!(status.is_ok_and(|status| status.success()), "{command:?} failed");
}

/// The small guest, built once from packages, in the place where `make` builds it too.
pub fn guest_image() -> PathBuf {
    let here = Path::new(env!("CARGO_MANIFEST_DIR"));
    let folder = here.join("../.build/images");
    fs::create_dir_all(&folder).expect("make the images' folder");
    // Tests of several binaries may build it at the same time.
    let lock = fs::File::create(folder.join("vm.qcow2.lock")).expect("make the lock");
    let _lock = nix::fcntl::Flock::lock(lock, nix::fcntl::FlockArg::LockExclusive).expect("lock");
    let image = folder.join("vm.qcow2");
    let script = here.join("../tests/images/vm-image.sh");
    run(&[script.to_str().expect("a path"), image.to_str().expect("a path")]);
    image
}

/// Waits until the file has a line with `text`, and returns that line from there on.
pub async fn await_line(file: &Path, text: &str, patience: Duration) -> String {
    let deadline = Instant::now() + patience;
    loop {
        let bytes = fs::read(file).unwrap_or_default();
        let content = String::from_utf8_lossy(&bytes);
        if let Some(line) = content.lines().find_map(|line| Some(&line[line.find(text)?..])) {
            return line.trim_end().into();
        }
        assert!(Instant::now() < deadline, "no {text:?} in {}:\n{content}", file.display());
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

/// Whether a device of this name is in the calling thread's network namespace.
pub fn has_link(name: &str) -> bool {
    let name = CString::new(name).expect("a device's name");
    nix::net::if_::if_nametoindex(name.as_c_str()).is_ok()
}
