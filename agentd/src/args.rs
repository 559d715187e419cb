//! The command line.

use crate::config::Config;
use std::net::IpAddr;
use std::path::PathBuf;

/// Makes this host be what its cloud wants it to be.
#[derive(Debug, clap::Parser)]
#[command(name = "agentd", version)]
pub struct Args {
    /// What to do.
    #[command(subcommand)]
    pub command: Command,
}

/// What agentd can be asked to do.
#[derive(Debug, clap::Subcommand)]
pub enum Command {
    /// Run the daemon in the foreground.
    Run(RunArgs),
    /// Show what the running agent sees and does.
    Status {
        /// Where the agent is.
        #[command(flatten)]
        places: Places,
        /// Print JSON.
        #[arg(long)]
        json: bool,
    },
    /// Say what is wrong with this host and how to cure it; exit status 1 when something is.
    Doctor {
        /// Where the agent is.
        #[command(flatten)]
        places: Places,
    },
    /// Remove everything of ours from this host and nothing else. The agent must not be running.
    CleanHost {
        /// Where the agent is, and what it works with.
        #[command(flatten)]
        run: RunArgs,
        /// Remove the data folder as well: keys, ledger, disks.
        #[arg(long)]
        data_too: bool,
    },
}

/// Where an agent keeps its things; tells several agents of one machine apart.
#[derive(Clone, Debug, Default, clap::Args)]
pub struct Places {
    /// Configuration file (TOML); every flag has its key.
    #[arg(long, value_name = "FILE")]
    pub config: Option<PathBuf>,
    /// What must survive a reboot [default: /var/lib/stampede/agentd].
    #[arg(long, value_name = "DIR")]
    pub data: Option<PathBuf>,
    /// What ends with a reboot [default: /run/stampede].
    #[arg(long, value_name = "DIR")]
    pub run_dir: Option<PathBuf>,
}

impl Places {
    /// Puts what was given in place of the file's settings.
    pub fn apply(self, config: &mut Config) {
        if let Some(data) = self.data {
            config.data = data;
        }
        if let Some(run_dir) = self.run_dir {
            config.run_dir = run_dir;
        }
    }
}

/// Flags of `agentd run`.
#[derive(Clone, Debug, Default, clap::Args)]
pub struct RunArgs {
    /// Where the agent keeps its things.
    #[command(flatten)]
    pub places: Places,
    /// controld's port for agents, `https://host:9443`.
    #[arg(long, value_name = "URL")]
    pub controld: Option<String>,
    /// File with the registration token; the environment variable STAMPEDE_TOKEN does as well.
    #[arg(long, value_name = "FILE")]
    pub token_file: Option<PathBuf>,
    /// The registration token itself; only with --simulate.
    #[arg(long, value_name = "TOKEN")]
    pub token: Option<String>,
    /// Swap the drivers for simulated ones: touches nothing, needs no root.
    #[arg(long)]
    pub simulate: bool,
    /// Docker's socket [default: /var/run/docker.sock].
    #[arg(long, value_name = "FILE")]
    pub docker: Option<PathBuf>,
    /// Where Docker looks for plugins' sockets [default: /run/docker/plugins].
    #[arg(long, value_name = "DIR")]
    pub docker_plugins: Option<PathBuf>,
    /// Where libvirt is [default: qemu:///system].
    #[arg(long, value_name = "URI")]
    pub libvirt: Option<String>,
    /// Images and disks [default: <data>/storage].
    #[arg(long, value_name = "DIR")]
    pub storage: Option<PathBuf>,
    /// The address other hosts reach this one at.
    #[arg(long, value_name = "ADDRESS")]
    pub advertise: Option<IpAddr>,
}
