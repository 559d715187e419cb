//! The `controld` command.

use anyhow::Context as _;
use clap::Parser as _;
use controld::args::{Args, Command, Places, TokenCommand};
use controld::config::Config;
use controld::operator::{self, Wish};
use std::io::IsTerminal as _;
use tracing_subscriber::EnvFilter;

fn main() -> anyhow::Result<()> {
    let args = Args::parse();
    log();
    // Whatever is written here is the cloud's own: keys, user data, environments.
    nix::sys::stat::umask(nix::sys::stat::Mode::from_bits_truncate(0o077));
    let runtime = tokio::runtime::Runtime::new().context("cannot start the runtime")?;
    runtime.block_on(run(args.command))
}

async fn run(command: Command) -> anyhow::Result<()> {
    match command {
        Command::Serve(args) => controld::serve::serve(Config::of(&args)?).await?,
        Command::Token { command } => {
            let (places, wish) = wish(command);
            let config = Config::at(&places)?;
            let text = operator::wish(&config.data, config.settings(), wish).await?;
            print(&text)?;
        }
    }
    Ok(())
}

fn wish(command: TokenCommand) -> (Places, Wish) {
    match command {
        TokenCommand::Create { places, uses, valid } => (places, Wish::CreateToken { uses, valid }),
        TokenCommand::List { places } => (places, Wish::ListTokens),
        TokenCommand::Revoke { places, id } => (places, Wish::RevokeToken { id }),
    }
}

fn print(text: &str) -> anyhow::Result<()> {
    use std::io::Write as _;
    writeln!(std::io::stdout(), "{text}").context("cannot print")
}

/// Human on a terminal, JSON otherwise; `RUST_LOG` chooses.
fn log() {
    let filter = EnvFilter::try_from_default_env().unwrap_or_else(|_| EnvFilter::new("info"));
    let log = tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr);
    if std::io::stderr().is_terminal() {
        log.init();
    } else {
        log.json().init();
    }
}
