#![doc = include_str!("../ARCHITECTURE.md")]

pub mod aggregate;
pub mod cache;
pub mod clock;
pub mod config;
pub mod database;
pub mod error;
pub mod model;
pub mod proto;
//pub mod background;
pub mod demo;
pub mod grpc;
//pub mod app;
//pub mod telemetry;
pub mod cli;
