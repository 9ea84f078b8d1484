//! Compiles the schema with protox, so that building needs no `protoc`.

use std::{env, error::Error, fs, path::PathBuf};

fn main() -> Result<(), Box<dyn Error>> {
    println!("cargo:rerun-if-changed=schema");
    let mut compiler = protox::Compiler::new(["schema"])?;
    compiler
        .include_source_info(true)
        .include_imports(true)
        .open_file("larder.proto")?;
    let out = PathBuf::from(env::var("OUT_DIR")?);
    fs::write(
        out.join("larder.bin"),
        compiler.encode_file_descriptor_set(),
    )?;
    tonic_prost_build::configure()
        .bytes(".")
        .compile_fds(compiler.file_descriptor_set())?;
    Ok(())
}
