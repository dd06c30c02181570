//! The `ebbtide` program: shows what the transport does, measures it, and carries bytes for shell scripts.
//!
//! One file per command. This one knows the command line as a whole and the way out: 0 when all went well, 1 when
//! something failed at run time, 2 when the command line made no sense. It refuses to know what commands do.

mod bench;
mod conditioner;
mod decode;
mod demo;
mod failure;
mod meter;
mod nat;
mod noise;
mod output;
mod pipe;
mod punch;
mod quantity;
mod rendezvous;
mod signals;
mod transport;

use std::process::ExitCode;

use clap::error::ErrorKind;
use clap::{Parser, Subcommand};
use tokio::runtime::Runtime;

use failure::Failure;

/// uTP (BEP 29): bulk data over UDP at full speed, which ebbs away when anybody else needs the line.
#[derive(Parser)]
#[command(name = "ebbtide", version, max_term_width = 100, after_help = EXIT_CODES)]
struct CommandLine {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    Demo(demo::Options),
    Pipe(pipe::Options),
    Bench(bench::Options),
    Conditioner(conditioner::Options),
    Decode(decode::Options),
    Nat(nat::Options),
    Rendezvous(rendezvous::Options),
    Punch(punch::Options),
}

const EXIT_CODES: &str = "Exit codes: 0 success, 1 failure at run time, 2 wrong usage.\n\
    Sizes: 4096, 64k, 256MiB, 1.5GiB (powers of 1024), 64kB, 256MB, 1GB (powers of 1000). \
    Durations: seconds, such as 10 or 0.5.";

fn main() -> ExitCode {
    let command_line = match CommandLine::try_parse() {
        Ok(command_line) => command_line,
        Err(error) => return refuse(&error),
    };
    match run(command_line.command) {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => {
            failure.report();
            ExitCode::FAILURE
        }
    }
}

fn run(command: Command) -> Result<(), Failure> {
    match command {
        Command::Demo(options) => runtime()?.block_on(demo::run(options)),
        Command::Pipe(options) => runtime()?.block_on(pipe::run(options)),
        Command::Bench(options) => runtime()?.block_on(bench::run(options)),
        Command::Conditioner(options) => runtime()?.block_on(conditioner::run(options)),
        Command::Decode(options) => decode::run(&options),
        Command::Nat(options) => runtime()?.block_on(nat::run(options)),
        Command::Punch(options) => runtime()?.block_on(punch::run(options)),
        Command::Rendezvous(options) => runtime()?.block_on(rendezvous::run(options)),
    }
}

fn runtime() -> Result<Runtime, Failure> {
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build();
    runtime.map_err(|error| Failure::io("runtime", &error))
}

/// Help and version go out as they are; a mistake begins with our name as every other message does.
fn refuse(error: &clap::Error) -> ExitCode {
    let asked_for_help = matches!(
        error.kind(),
        ErrorKind::DisplayHelp
            | ErrorKind::DisplayVersion
            | ErrorKind::DisplayHelpOnMissingArgumentOrSubcommand
    );
    if asked_for_help {
        let printed = error.print();
        let code = u8::try_from(error.exit_code()).unwrap_or(2);
        return if printed.is_ok() { ExitCode::from(code) } else { ExitCode::FAILURE };
    }
    let text = error.render().to_string();
    failure::to_stderr(text.strip_prefix("error: ").unwrap_or(&text).trim_end());
    ExitCode::from(2)
}
