#![doc = include_str!("../ARCHITECTURE.md")]

// In the order of the layers, bottom first: a module uses only modules above it.
pub mod sync;
pub mod mutant;
pub mod fault;
pub mod text;
pub mod config;
pub mod clock;
pub mod circuit_breaker;
pub mod reload;
pub mod telemetry;
pub mod proto;
pub mod planning_json;
pub mod model;
pub mod database;
pub mod entity;
pub mod privacy;
pub mod user_files;
pub mod source_schema;
pub mod changes;
pub mod lease;
pub mod aggregate;
pub mod error;
pub mod cache;
pub mod background;
pub mod demo;
pub mod jwt;
pub mod grpc;
pub mod http;
pub mod probes;
pub mod app;
pub mod doctor;
pub mod cli;
#[cfg(feature = "mutants")]
pub mod fuzzing;

#[cfg(test)]
mod testing;
