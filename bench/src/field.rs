//! The compared caches, each used for loading as its own documentation says. The probes hold the common steps; here is
//! only each library's spelling of them.

pub(crate) mod cachet;
pub(crate) mod foyer;
pub(crate) mod moka;
pub(crate) mod multi_tier_cache;
pub(crate) mod origin;
pub(crate) mod ours;

use crate::machine;

/// A cache.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Library {
    Moka,
    MultiTierCache,
    Cachet,
    Foyer,
    Ours,
}

/// In the order of the table.
pub(crate) const LIBRARIES: [Library; 5] =
    [Library::Moka, Library::MultiTierCache, Library::Cachet, Library::Foyer, Library::Ours];

impl Library {
    /// Its name and the version that was compiled in.
    pub(crate) fn name(self) -> String {
        let package = match self {
            Self::Moka => "moka",
            Self::MultiTierCache => "multi-tier-cache",
            Self::Cachet => "cachet",
            Self::Foyer => "foyer",
            Self::Ours => "userdata",
        };
        format!("{package} {}", machine::version_of(package))
    }

    /// The channel on which its instances announce invalidations. None: it has neither a channel nor a shared tier.
    pub(crate) fn channel(self) -> Option<&'static str> {
        match self {
            Self::MultiTierCache => Some(multi_tier_cache::CHANNEL),
            Self::Ours => Some("comprehensive_user_data:notifications"),
            // foyer's second tier is a disk, cachet's is its user's own code.
            Self::Moka | Self::Cachet | Self::Foyer => None,
        }
    }
}

/// One instance of a cache.
#[derive(Debug)]
pub(crate) enum Node {
    Moka(moka::Moka),
    MultiTierCache(multi_tier_cache::MultiTierCache),
    Cachet(cachet::Cachet),
    Foyer(foyer::Foyer),
    Ours(ours::Ours),
}

impl Node {
    /// A user's document, here a number: from the cache, otherwise loaded.
    pub(crate) async fn get(&self, user: &str) -> Result<i64, String> {
        match self {
            Self::Moka(cache) => cache.get(user).await,
            Self::MultiTierCache(cache) => cache.get(user).await,
            Self::Cachet(cache) => cache.get(user).await,
            Self::Foyer(cache) => cache.get(user).await,
            Self::Ours(cache) => cache.get(user).await,
        }
    }

    /// Returns once the cache reports that its entries of the user are gone.
    pub(crate) async fn invalidate(&self, user: &str) {
        match self {
            Self::Moka(cache) => cache.invalidate(user).await,
            Self::MultiTierCache(cache) => cache.invalidate(user).await,
            Self::Cachet(cache) => cache.invalidate(user).await,
            Self::Foyer(cache) => cache.invalidate(user),
            Self::Ours(cache) => cache.invalidate(user).await,
        }
    }
}
