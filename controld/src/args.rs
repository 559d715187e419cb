//! The command line.

use std::net::SocketAddr;
use std::path::PathBuf;

/// The cloud's daemon: intent, allocation, REST, snapshots.
#[derive(Debug, clap::Parser)]
#[command(name = "controld", version)]
pub struct Args {
    /// What to do.
    #[command(subcommand)]
    pub command: Command,
}

/// What controld can be asked to do.
#[derive(Debug, clap::Subcommand)]
pub enum Command {
    /// Run the daemon in the foreground.
    Serve(ServeArgs),
    /// Registration tokens, with which agents enrol.
    Token {
        /// What to do with them.
        #[command(subcommand)]
        command: TokenCommand,
    },
}

/// Flags of `serve`; each has its key in the configuration file.
#[derive(Clone, Debug, Default, clap::Args)]
pub struct ServeArgs {
    /// Where the cloud's data are.
    #[command(flatten)]
    pub places: Places,
    /// Where the API listens [default: 127.0.0.1:9080].
    #[arg(long, value_name = "ADDR:PORT")]
    pub listen: Option<SocketAddr>,
    /// Where agents are listened to [default: 0.0.0.0:9443].
    #[arg(long, value_name = "ADDR:PORT")]
    pub agent_listen: Option<SocketAddr>,
    /// No authentication: everybody who asks is admin. On loopback only.
    #[arg(long)]
    pub open: bool,
    /// Serve the API without TLS on an address that is not loopback.
    #[arg(long)]
    pub plain_http: bool,
}

/// Where the cloud's data are.
#[derive(Clone, Debug, Default, clap::Args)]
pub struct Places {
    /// Configuration file (TOML); every flag has its key.
    #[arg(long, value_name = "FILE")]
    pub config: Option<PathBuf>,
    /// Store, CA and sockets [default: /var/lib/stampede/controld].
    #[arg(long, value_name = "DIR")]
    pub data: Option<PathBuf>,
}

/// What can be done with registration tokens; also while the daemon runs.
#[derive(Debug, clap::Subcommand)]
pub enum TokenCommand {
    /// Make a token. It is printed as the last word of the last line, and never again.
    Create {
        /// Where the cloud's data are.
        #[command(flatten)]
        places: Places,
        /// How many hosts it may enrol; 0 means any number.
        #[arg(long, default_value_t = 1)]
        uses: u32,
        /// For how many seconds it is good.
        #[arg(long, value_name = "SECONDS", default_value_t = 24 * 3600)]
        valid: u64,
    },
    /// List tokens, without their secrets.
    List {
        /// Where the cloud's data are.
        #[command(flatten)]
        places: Places,
    },
    /// Take a token back. Hosts that have enrolled with it stay.
    Revoke {
        /// Where the cloud's data are.
        #[command(flatten)]
        places: Places,
        /// The token's id, its third part, for instance 1c9.
        id: String,
    },
}
