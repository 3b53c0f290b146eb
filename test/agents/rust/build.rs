use std::{env, error::Error, path::Path, process::Command};

const ROOTS: [&str; 3] = [
    "legion/registry/v1/registry_service.proto",
    "legion/dispatcher/v1/dispatcher_service.proto",
    "google/rpc/error_details.proto",
];

fn main() -> Result<(), Box<dyn Error>> {
    let protos = Path::new("../../../proto");
    println!("cargo::rerun-if-changed={}", protos.display());
    let mut files = protox::compile(ROOTS, [protos])?;
    // Rules for the mesh's own use: nothing in them is needed to speak to it.
    files.file.retain(|file| file.package() != "buf.validate");
    tonic_prost_build::configure()
        .build_server(false)
        .bytes(".legion.common.v1.Payload")
        .include_file("protos.rs")
        .compile_fds(files)?;

    let version = Command::new(env::var("RUSTC")?).arg("--version").output()?;
    let version = String::from_utf8(version.stdout)?;
    let number = version.split(' ').nth(1).unwrap_or("unknown");
    println!("cargo::rustc-env=RUST_VERSION={number}");
    Ok(())
}
