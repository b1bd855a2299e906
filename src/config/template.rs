//! A file per user: the path of the file, with `{user}` for the user.
//!
//! Everything before the first component with `{user}` is the root. What follows it is looked up below the root, and
//! holds no `..`.

use std::path::{Component, Path, PathBuf};

use super::SourcesSettings;

/// What stands for the user.
const USER: &str = "{user}";
const SCHEME: &str = "sqlite://";

/// Where the files of the users are.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FileTemplate {
    root: PathBuf,
    /// The path below the root, with `{user}`.
    below: String,
}

impl FileTemplate {
    /// Reads `sqlite://PATH`. None if it is not the path of a file below a folder, with `{user}` in it.
    #[must_use]
    pub fn parse(url: &str) -> Option<Self> {
        let path = url.strip_prefix(SCHEME)?;
        // What SQLite's URLs give a meaning: no file of the application has it in its name.
        if path.contains(['?', '%', '#']) || path.chars().any(char::is_control) {
            return None;
        }
        let user = path.find(USER)?;
        let start = path[..user].rfind('/').map_or(0, |slash| slash + 1);
        let (root, below) = path.split_at(start);
        let is_plain = |part: Component<'_>| matches!(part, Component::Normal(_));
        let is_file = Path::new(below).components().all(is_plain) && !below.ends_with('/');
        let has_other_braces = below.replace(USER, "").contains(['{', '}']) || root.contains(['{', '}']);
        let root = Path::new(root);
        let names_a_folder = root.components().any(is_plain);
        (is_file && names_a_folder && !has_other_braces)
            .then(|| Self { root: root.to_owned(), below: below.to_owned() })
    }

    /// Whether a URL is meant as a template.
    #[must_use]
    pub fn is_meant(url: &str) -> bool {
        url.starts_with(SCHEME) && url.contains(['{', '}'])
    }

    /// The folder that no path leaves.
    #[must_use]
    pub fn root(&self) -> &Path {
        &self.root
    }

    /// The path of a user's file below the root.
    #[must_use]
    pub fn below_root(&self, user: &str) -> PathBuf {
        self.below.replace(USER, user).into()
    }

    /// The first component below the root: what is before and after the user in the name of each user's folder or file.
    #[must_use]
    pub fn first_component(&self) -> (&str, &str) {
        let first = self.below.split('/').next().unwrap_or_default();
        let (before, after) = first.split_once(USER).unwrap_or((first, ""));
        (before, after)
    }

    /// The template as it is written in the configuration.
    #[must_use]
    pub fn url(&self) -> String {
        let root = self.root.display().to_string();
        format!("{SCHEME}{}/{}", root.trim_end_matches('/'), self.below)
    }
}

impl SourcesSettings {
    /// Where the users' files are, in the order in which they are looked for. None: one database for all users.
    #[must_use]
    pub fn files(&self) -> Option<Vec<FileTemplate>> {
        let first = FileTemplate::parse(self.database_url.as_ref()?.expose())?;
        Some([first].into_iter().chain(self.file_fallbacks.iter().cloned()).collect())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_template_has_a_root_and_a_path_below_it() {
        for (url, root, below) in [
            ("sqlite:///srv/w/workspace_{user}/db/alwrity_{user}.db", "/srv/w/", "workspace_7/db/alwrity_7.db"),
            ("sqlite:///srv/{user}.db", "/srv/", "7.db"),
            ("sqlite://./w/{user}/alwrity.db", "./w/", "7/alwrity.db"),
            ("sqlite://w/a{user}b/alwrity.db", "w/", "a7b/alwrity.db"),
        ] {
            let template = FileTemplate::parse(url).unwrap();
            assert_eq!((template.root(), template.below_root("7")), (Path::new(root), PathBuf::from(below)), "{url}");
            assert_eq!(template.url(), url);
        }
    }

    #[test]
    fn what_could_leave_the_root_is_no_template() {
        for url in [
            "sqlite:///srv/w/alwrity.db",
            "sqlite:///{user}.db",
            "sqlite://{user}.db",
            "sqlite://./{user}.db",
            "sqlite:///srv/w/{user}/../alwrity.db",
            "sqlite:///srv/w/{user}/",
            "sqlite:///srv/w/{user}/a.db?mode=ro",
            "sqlite:///srv/w/{user}/%2e%2e/a.db",
            "sqlite:///srv/w/{user_id}/a.db",
            "sqlite:///srv/{other}/{user}/a.db",
            "postgres://h/{user}",
        ] {
            assert_eq!(FileTemplate::parse(url), None, "{url}");
        }
    }
}
