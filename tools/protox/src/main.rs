//! Compiles protobuf schemas to a descriptor set, called as prost-build calls `protoc`.
//!
//! A dependency's build script asks for a `protoc`, and Larder builds without one: `tools/protoc` runs this instead.

use std::{env, error::Error, ffi::OsString, fs, path::PathBuf};

#[derive(Default)]
struct Arguments {
    includes: Vec<PathBuf>,
    files: Vec<PathBuf>,
    output: PathBuf,
    imports: bool,
    source_info: bool,
}

fn main() -> Result<(), Box<dyn Error>> {
    let arguments = parse(env::args_os().skip(1))?;
    let mut compiler = protox::Compiler::new(arguments.includes)?;
    compiler
        .include_imports(arguments.imports)
        .include_source_info(arguments.source_info)
        .open_files(arguments.files)?;
    fs::write(arguments.output, compiler.encode_file_descriptor_set())?;
    Ok(())
}

fn parse(mut words: impl Iterator<Item = OsString>) -> Result<Arguments, String> {
    let mut arguments = Arguments::default();
    while let Some(word) = words.next() {
        let mut value = || {
            let value = words.next();
            value
                .map(PathBuf::from)
                .ok_or_else(|| format!("{} needs a value", word.display()))
        };
        match word.to_str() {
            Some("-I") => arguments.includes.push(value()?),
            Some("-o") => arguments.output = value()?,
            Some("--include_imports") => arguments.imports = true,
            Some("--include_source_info") => arguments.source_info = true,
            Some(other) if other.starts_with('-') => return Err(format!("unknown flag {other}")),
            _ => arguments.files.push(PathBuf::from(word)),
        }
    }
    if arguments.output.as_os_str().is_empty() || arguments.files.is_empty() {
        return Err("usage: -I FOLDER... -o OUTPUT FILE...".into());
    }
    Ok(arguments)
}
