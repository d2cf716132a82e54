//! Prints the probe plan of ELF images: `cargo run -p wstap-symbols --example plan -- FILE...`

use std::process::ExitCode;

use wstap_symbols::{Options, Plan, plan};

fn main() -> ExitCode {
    let mut code = ExitCode::SUCCESS;
    for path in std::env::args_os().skip(1) {
        let read = std::fs::read(&path).map_err(|error| error.to_string());
        let planned =
            read.and_then(|b| plan(&b, &Options::default()).map_err(|error| error.to_string()));
        match planned {
            Ok(plan) => print(&path.to_string_lossy(), &plan),
            Err(error) => {
                eprintln!("{}: {error}", path.to_string_lossy());
                code = ExitCode::FAILURE;
            }
        }
    }
    code
}

fn print(path: &str, plan: &Plan) {
    let id = plan.build_id.as_ref().map_or("none".to_owned(), ToString::to_string);
    println!("{path}: build id {id}, {} libraries", plan.libraries.len());
    for library in &plan.libraries {
        println!(
            "  {} {}, {}, functions from {}: {}",
            library.stack.as_str(),
            library.version.as_deref().unwrap_or("of unknown version"),
            library.linkage.as_str(),
            library.symbols.as_str(),
            library.verdict.as_str(),
        );
        for probe in &library.probes {
            println!(
                "    {:#010x} {:8} {}: {}",
                probe.offset,
                probe.technique.as_str(),
                probe.covers.join(", "),
                probe.reason
            );
        }
    }
}
