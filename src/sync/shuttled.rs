//! Stand-ins for tests in which Shuttle decides who runs next. What they check is the order of steps, not weaker memory
//! orderings than sequentially consistent ones.
//!
//! tokio's channels, its mutex and its cancellation tokens stay real. Each of their operations is one step, because tasks
//! switch only where Shuttle is called: at locks and atomics, at statements, and where a task waits.

pub mod chance;
pub mod locks;
pub mod task;
pub mod time;

pub use shuttle::sync::atomic;
