//! controld as a process of its own.

use serde_json::Value;
use std::io::{BufRead, BufReader};
use std::net::SocketAddr;
use std::path::Path;
use std::process::{Child, Command, Stdio};

/// `controld serve` with a configuration.
pub fn serve(data: &Path, config: &str) -> Command {
    let path = data.with_extension("toml");
    std::fs::write(&path, config).unwrap();
    let mut command = Command::new(env!("CARGO_BIN_EXE_controld"));
    command.arg("serve").arg("--config").arg(path).arg("--data").arg(data);
    command
}

/// A controld as a process of its own, killed when it goes out of scope.
pub struct Daemon {
    pub child: Child,
    pub address: SocketAddr,
}

impl Daemon {
    pub fn start(data: &Path) -> Self {
        let mut child = serve(data, "overlay = \"vxlan\"\n")
            .args(["--open", "--listen", "127.0.0.1:0", "--agent-listen", "127.0.0.1:0"])
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let mut log = BufReader::new(child.stderr.take().unwrap());
        let mut line = String::new();
        while !line.contains("controld serves") {
            line.clear();
            assert!(log.read_line(&mut line).unwrap() > 0, "controld did not start");
        }
        // It must not stall on a full pipe.
        std::thread::spawn(move || std::io::copy(&mut log, &mut std::io::sink()));
        let line: Value = serde_json::from_str(&line).unwrap();
        Self { child, address: line["fields"]["api"].as_str().unwrap().parse().unwrap() }
    }

    pub fn kill(&mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }
}

impl Drop for Daemon {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
