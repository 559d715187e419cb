//! `agentd`: the command line of the host's daemon.

use agentd::args::{Args, Command, Places};
use agentd::config::Config;
use agentd::{clean, control, doctor, run};
use anyhow::Context;
use clap::Parser;
use std::io::{IsTerminal, Write};
use std::process::ExitCode;
use tracing_subscriber::EnvFilter;

fn main() -> ExitCode {
    let args = Args::parse();
    log();
    let runtime = match tokio::runtime::Runtime::new() {
        Ok(runtime) => runtime,
        Err(error) => return fail(&anyhow::Error::new(error).context("cannot start a runtime")),
    };
    match runtime.block_on(obey(args.command)) {
        Ok(code) => code,
        Err(error) => fail(&error),
    }
}

/// The chain of causes once, on one line.
fn fail(error: &anyhow::Error) -> ExitCode {
    tracing::error!("{error:#}");
    ExitCode::FAILURE
}

/// What is logged unless the environment says otherwise. The DNS library writes lines about single
/// datagrams, up to warnings, so a guest would decide how much is logged.
const LOGGED: &str = "info,hickory_server=error,hickory_net=error";

fn log() {
    let filter = EnvFilter::try_from_default_env().unwrap_or_else(|_| EnvFilter::new(LOGGED));
    let builder = tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr);
    if std::io::stderr().is_terminal() {
        builder.init();
    } else {
        builder.json().flatten_event(true).init();
    }
}

async fn obey(command: Command) -> anyhow::Result<ExitCode> {
    match command {
        Command::Run(args) => {
            run::run(Config::of_run(args)?).await?;
            Ok(ExitCode::SUCCESS)
        }
        Command::Status { places, json } => status(places, json).await,
        Command::Doctor { places } => examine(places).await,
        Command::CleanHost { run, data_too } => {
            let report = clean::clean_host(&Config::of_run(run)?, data_too).await?;
            print(&report.to_string())?;
            Ok(if report.failures.is_empty() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
        }
    }
}

async fn status(places: Places, json: bool) -> anyhow::Result<ExitCode> {
    let overview = control::overview(&settings(places)?.control_socket()).await?;
    match json {
        true => print(&format!("{}\n", serde_json::to_string_pretty(&overview)?))?,
        false => print(&overview.to_string())?,
    }
    Ok(ExitCode::SUCCESS)
}

async fn examine(places: Places) -> anyhow::Result<ExitCode> {
    let overview = control::overview(&settings(places)?.control_socket()).await?;
    print(&doctor::capabilities(&overview))?;
    let findings = doctor::diagnose(&overview);
    if findings.is_empty() {
        print("nothing is wrong\n")?;
        return Ok(ExitCode::SUCCESS);
    }
    for finding in &findings {
        print(&format!("{finding}\n"))?;
    }
    Ok(ExitCode::FAILURE)
}

fn settings(places: Places) -> anyhow::Result<Config> {
    let mut config = Config::read(places.config.as_deref())?;
    places.apply(&mut config);
    Ok(config)
}

fn print(text: &str) -> anyhow::Result<()> {
    std::io::stdout().write_all(text.as_bytes()).context("cannot write to standard output")
}
