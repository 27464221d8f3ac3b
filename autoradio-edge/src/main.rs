//! `autoradio-edge`: the daemon of one node.

use std::io::{self, IsTerminal};
use std::process::ExitCode;

use autoradio_edge::config::{Config, HostFacts, LogFormat, RunArgs};
use autoradio_edge::daemon;
use clap::{CommandFactory, Parser, Subcommand};
use clap_complete::Shell;
use tracing_subscriber::EnvFilter;

/// One node of an autoradio cluster: DNS, the front, Icecast and etcd under one roof
///
/// Every node runs the same daemon. Settings come from flags or from the environment
/// (/etc/default/autoradio under systemd).
#[derive(Parser)]
#[command(version, after_help = EXIT_CODES)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Run this node until SIGTERM or SIGINT
    #[command(after_help = EXAMPLES)]
    Run(Box<RunArgs>),
    /// Print a completion script for a shell
    Completions {
        /// The shell
        shell: Shell,
    },
}

const EXIT_CODES: &str = "Exit codes: 0 stopped as asked, 1 could not start, 2 wrong settings";
const EXAMPLES: &str = "Examples:
  autoradio-edge run --domain radio.example.com
  autoradio-edge run --domain radio.example.com --address 203.0.113.7 --xdp generic
  DOMAIN=radio.example.com AUTORADIO_XDP=off autoradio-edge run

Exit codes: 0 stopped as asked, 1 could not start, 2 wrong settings";

fn main() -> ExitCode {
    match Cli::parse().command {
        Command::Run(args) => run(&args),
        Command::Completions { shell } => {
            let mut command = Cli::command();
            clap_complete::generate(shell, &mut command, "autoradio-edge", &mut io::stdout());
            ExitCode::SUCCESS
        }
    }
}

fn run(args: &RunArgs) -> ExitCode {
    let config = match Config::from_args(args, &HostFacts::read(args)) {
        Ok(config) => config,
        Err(errors) => {
            for error in errors {
                eprintln!("autoradio-edge: {error}");
            }
            eprintln!("See `autoradio-edge run --help`.");
            return ExitCode::from(2);
        }
    };
    start_log(&config);
    match serve(config) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("autoradio-edge: {error}");
            ExitCode::FAILURE
        }
    }
}

fn start_log(config: &Config) {
    let log = tracing_subscriber::fmt()
        .with_env_filter(EnvFilter::new(&config.log_filter))
        .with_ansi(io::stderr().is_terminal())
        .with_writer(io::stderr);
    match config.log_format {
        LogFormat::Text => log.init(),
        LogFormat::Json => log.json().init(),
    }
}

#[tokio::main]
async fn serve(config: Config) -> anyhow::Result<()> {
    Ok(daemon::run(config).await?)
}
