//! Sections of a document, sets of them, and their dependencies.

use std::fmt;

use super::Section;

/// All sections in the order of the contract's enum: the order of reports.
pub const SECTIONS: [Section; 7] = [
    Section::Onboarding,
    Section::Strategy,
    Section::AiAnalysis,
    Section::GapAnalysis,
    Section::Performance,
    Section::Recommendations,
    Section::Derived,
];

/// All sections in the order of their fields in the document: the order of its bytes.
pub const DOCUMENT_ORDER: [Section; 7] = [
    Section::Derived,
    Section::Onboarding,
    Section::Strategy,
    Section::AiAnalysis,
    Section::GapAnalysis,
    Section::Performance,
    Section::Recommendations,
];

/// Which section is made from which: an invalidation of the left one also invalidates the right one.
const MADE_FROM: [(Section, &[Section]); 2] = [
    (Section::Onboarding, &[Section::AiAnalysis, Section::GapAnalysis, Section::Derived]),
    (Section::Strategy, &[Section::AiAnalysis, Section::GapAnalysis, Section::Derived]),
];

/// A set of sections. The invalidation log stores its bits.
#[derive(Clone, Copy, Default, PartialEq, Eq, Hash)]
pub struct SectionSet(i64);

impl SectionSet {
    pub const NONE: Self = Self(0);
    /// All sections, including those of later versions.
    pub const ALL: Self = Self(i64::MAX);
    /// All sections of a purged user. The cleared top bit marks the row as a purge, so that prefetching skips this user.
    pub const ERASED: Self = Self(i64::MAX >> 1);

    /// The stored form: a bit for each section, all bits except the sign for all.
    #[must_use]
    pub fn bits(self) -> i64 {
        self.0
    }

    /// From the stored form. The sign bit has no meaning.
    #[must_use]
    pub fn from_bits(bits: i64) -> Self {
        Self(bits & i64::MAX)
    }

    #[must_use]
    pub fn contains(self, section: Section) -> bool {
        self.0 & bit(section) != 0
    }

    #[must_use]
    pub fn intersects(self, other: Self) -> bool {
        self.0 & other.0 != 0
    }

    #[must_use]
    pub fn is_empty(self) -> bool {
        self.0 == 0
    }

    /// Whether it contains every known section.
    #[must_use]
    pub fn is_all(self) -> bool {
        SECTIONS.into_iter().all(|section| self.contains(section))
    }

    #[must_use]
    pub fn union(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }

    #[must_use]
    pub fn with(self, section: Section) -> Self {
        Self(self.0 | bit(section))
    }

    /// With the sections that depend on it.
    #[must_use]
    pub fn with_dependents(self) -> Self {
        MADE_FROM
            .iter()
            .filter(|(base, _)| self.contains(*base))
            .fold(self, |set, (_, made)| set.union(made.iter().copied().collect()))
    }

    /// Its known sections, in the contract's order.
    pub fn iter(self) -> impl Iterator<Item = Section> {
        SECTIONS.into_iter().filter(move |section| self.contains(*section))
    }
}

impl FromIterator<Section> for SectionSet {
    fn from_iter<I: IntoIterator<Item = Section>>(sections: I) -> Self {
        sections.into_iter().fold(Self::NONE, Self::with)
    }
}

impl fmt::Debug for SectionSet {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        if *self == Self::ALL {
            return formatter.write_str("all");
        }
        formatter.debug_set().entries(self.iter()).finish()
    }
}

/// Bit n - 1 for section n (data.md's table); none for the unspecified one.
fn bit(section: Section) -> i64 {
    match section as i32 {
        number @ 1.. => 1 << (number - 1),
        _ => 0,
    }
}

/// Index in arrays with a value for each section, in the contract's order.
#[must_use]
pub fn index(section: Section) -> usize {
    usize::try_from(section as i32 - 1).unwrap_or_default()
}
