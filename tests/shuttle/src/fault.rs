//! No planned faults: here the database itself is what fails.

pub use userdata::fault::Call;

/// None.
#[derive(Clone, Copy, Debug, Default)]
pub struct Faults;

impl Faults {
    /// None.
    #[must_use]
    pub fn here() -> Self {
        Self
    }

    /// The call itself.
    pub fn through<F: Future>(&self, _: Call, work: F) -> F {
        work
    }
}
