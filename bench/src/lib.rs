//! Side-by-side benchmarks; the first ones come with the hot path.
