//! What a running server tells: metrics as they are scraped and as they are pushed, traces, and what happens to them
//! when no collector listens.

mod collector;
mod deploy;
mod lines;
mod page;
mod prometheus;
mod push;
mod redaction;
mod scrape;
mod traces;
