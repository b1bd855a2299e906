//! The contract as a stock client finds it: health, reflection, probes, and what surrounds a reply.

mod probes;
mod reflection;
mod reply;
