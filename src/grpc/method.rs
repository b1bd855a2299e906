//! The methods of this server, as a closed list. Metrics, spans and limits are per method, and a path that a caller
//! makes up must not become a label.

/// The method of a request, by its path.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Method {
    /// A user's document.
    Get,
    /// An invalidation.
    Invalidate,
    /// Statistics.
    Stats,
    /// Deletion of expired rows.
    Cleanup,
    /// Warming.
    Warm,
    /// `grpc.health.v1`.
    Health,
    /// Reflection, v1 and v1alpha.
    Reflection,
    /// Anything else.
    Unknown,
}

impl Method {
    /// Every method, in the order of [`Method::index`].
    pub const ALL: [Self; 8] = [
        Self::Get,
        Self::Invalidate,
        Self::Stats,
        Self::Cleanup,
        Self::Warm,
        Self::Health,
        Self::Reflection,
        Self::Unknown,
    ];

    /// The method that a path names.
    #[must_use]
    pub fn of(path: &str) -> Self {
        let Some((service, method)) = path.strip_prefix('/').and_then(|path| path.split_once('/')) else {
            return Self::Unknown;
        };
        match (service, method) {
            ("userdata.v1.UserDataService", "GetComprehensiveUserData") => Self::Get,
            ("userdata.v1.UserDataService", "InvalidateCache") => Self::Invalidate,
            ("userdata.v1.UserDataService", "GetCacheStats") => Self::Stats,
            ("userdata.v1.UserDataService", "CleanupCache") => Self::Cleanup,
            ("userdata.v1.UserDataService", "WarmCache") => Self::Warm,
            ("grpc.health.v1.Health", _) => Self::Health,
            ("grpc.reflection.v1.ServerReflection" | "grpc.reflection.v1alpha.ServerReflection", _) => Self::Reflection,
            _ => Self::Unknown,
        }
    }

    /// Its name in metrics and spans: the semantic conventions' `rpc.method`.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Get => "userdata.v1.UserDataService/GetComprehensiveUserData",
            Self::Invalidate => "userdata.v1.UserDataService/InvalidateCache",
            Self::Stats => "userdata.v1.UserDataService/GetCacheStats",
            Self::Cleanup => "userdata.v1.UserDataService/CleanupCache",
            Self::Warm => "userdata.v1.UserDataService/WarmCache",
            Self::Health => "grpc.health.v1.Health",
            Self::Reflection => "grpc.reflection.ServerReflection",
            Self::Unknown => "_OTHER",
        }
    }

    /// Whether it is one of the contract's. The others need no permit, because they must be answered when the service is
    /// full or draining (health above all), and may stay open. The number of open ones is limited.
    #[must_use]
    pub fn is_ours(self) -> bool {
        !matches!(self, Self::Health | Self::Reflection | Self::Unknown)
    }

    /// Whether it only reads: the contract's NO_SIDE_EFFECTS.
    #[must_use]
    pub fn has_no_side_effects(self) -> bool {
        matches!(self, Self::Get | Self::Stats)
    }

    /// Whether its requests are one message each.
    #[must_use]
    pub fn has_one_message(self) -> bool {
        self.is_ours() || self == Self::Health
    }

    /// Whether calls are expected to end with this code: its series begins at 0. Any other series begins when its code
    /// first happens; all codes of all methods would be thousands of lines in each scrape.
    #[must_use]
    pub fn may_end_with(self, code: &str) -> bool {
        match code {
            "OK" | "CANCELLED" => true,
            "INVALID_ARGUMENT" | "DEADLINE_EXCEEDED" | "RESOURCE_EXHAUSTED" | "INTERNAL" | "UNAVAILABLE" => {
                self.is_ours()
            }
            "NOT_FOUND" => matches!(self, Self::Get | Self::Health),
            "UNIMPLEMENTED" => self == Self::Unknown,
            _ => false,
        }
    }

    /// Its place in arrays that hold one value per method.
    #[must_use]
    pub fn index(self) -> usize {
        self as usize
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_name_methods_and_anything_else_is_one_label() {
        for method in Method::ALL.into_iter().filter(|method| method.is_ours()) {
            assert_eq!(Method::of(&format!("/{}", method.name())), method);
        }
        for (path, method) in [
            ("/grpc.health.v1.Health/Check", Method::Health),
            ("/grpc.health.v1.Health/Watch", Method::Health),
            ("/grpc.reflection.v1.ServerReflection/ServerReflectionInfo", Method::Reflection),
            ("/grpc.reflection.v1alpha.ServerReflection/ServerReflectionInfo", Method::Reflection),
            ("/userdata.v1.UserDataService/Other", Method::Unknown),
            ("/userdata.v1.UserDataService", Method::Unknown),
            ("", Method::Unknown),
        ] {
            assert_eq!(Method::of(path), method, "{path}");
        }
        for (place, method) in Method::ALL.into_iter().enumerate() {
            assert_eq!(method.index(), place);
        }
    }
}
