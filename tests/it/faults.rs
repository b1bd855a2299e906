//! What an instance depends on breaks, and nothing that it leaves behind holds anybody up.

mod silence;
