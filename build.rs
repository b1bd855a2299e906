//! `proto/` -> prost messages, the tonic client and server, their proto3 JSON form and the descriptor set for reflection.
//! protox compiles the files, so the build needs no protoc.
//!
//! A second pass generates the server. Its reply of GetComprehensiveUserData is a hand-written message that carries the
//! sealed bytes of a document (`src/proto/sealed.rs`), so a hit never decodes its document. On the wire both messages are
//! the same.

use std::{env, error::Error, fs, path::PathBuf};

/// The last one describes the details of errors, which arrive as `Any`: no file imports it, and reflection needs it.
const PROTOS: [&str; 3] = [
    "userdata/v1/user_data_service.proto",
    "userdata/v1/comprehensive_user_data.proto",
    "google/rpc/error_details.proto",
];
/// They only describe options; no code needs them.
const OPTIONS_ONLY: [&str; 2] = ["google/protobuf/descriptor.proto", "google/api/field_behavior.proto"];

fn main() -> Result<(), Box<dyn Error>> {
    println!("cargo::rerun-if-changed=proto");
    let out = PathBuf::from(env::var_os("OUT_DIR").ok_or("cargo sets OUT_DIR")?);

    let mut compiler = protox::Compiler::new(["proto"])?;
    compiler.include_imports(true).include_source_info(true);
    compiler.open_files(PROTOS)?;
    let descriptors = compiler.encode_file_descriptor_set();
    fs::write(out.join("userdata.v1.descriptors.binpb"), &descriptors)?;

    let mut files = compiler.file_descriptor_set();
    files.file.retain(|file| !OPTIONS_ONLY.contains(&file.name()));

    let mut messages = prost_build::Config::new();
    // Maps in key order, so that equal documents are equal bytes.
    messages.btree_map(["."]).compile_well_known_types().enable_type_names();
    tonic_prost_build::configure()
        .build_server(false)
        .compile_well_known_types(true)
        .compile_fds_with_config(files.clone(), messages)?;

    let server_out = out.join("server");
    fs::create_dir_all(&server_out)?;
    let mut server = prost_build::Config::new();
    server.compile_well_known_types();
    tonic_prost_build::configure()
        .build_client(false)
        .codec_path("crate::proto::SmallBuffers")
        .compile_well_known_types(true)
        .out_dir(&server_out)
        .extern_path(".userdata.v1.GetComprehensiveUserDataResponse", "crate::proto::SealedResponse")
        .extern_path(".userdata.v1", "crate::proto::userdata::v1")
        .extern_path(".google", "crate::proto::google")
        .compile_fds_with_config(files, server)?;

    pbjson_build::Builder::new()
        .register_descriptors(&descriptors)?
        .preserve_proto_field_names()
        .emit_fields()
        .ignore_unknown_fields()
        .btree_map(["."])
        .build(&[".userdata", ".google.rpc"])?;
    Ok(())
}
