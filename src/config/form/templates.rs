//! Forms of places of the sources: a database for all users, or templates of a file per user.

use serde_json::{Value as Json, json};

use super::{
    super::{FileTemplate, Secret},
    Form, Url,
};

/// A URL, or a template of a file per user. A mistake in a template would otherwise be the name of a file.
pub(in crate::config) struct UrlOrTemplate(pub(in crate::config) Url);

impl Form<Secret> for UrlOrTemplate {
    fn parse(&self, text: &str) -> Option<Secret> {
        self.0.parse(text).filter(|_| !FileTemplate::is_meant(text) || FileTemplate::parse(text).is_some())
    }
    fn show(&self, value: &Secret) -> String {
        self.0.show(value)
    }
    fn expected(&self) -> String {
        format!(
            "{}; for a file per user, sqlite:// and the path of a file with {{user}} below a folder",
            self.0.expected()
        )
    }
    fn schema(&self) -> Json {
        self.0.schema()
    }
    fn secret(&self) -> bool {
        self.0.secret()
    }
}

/// Templates, separated by commas.
pub(in crate::config) struct Templates;

impl Form<Vec<FileTemplate>> for Templates {
    fn parse(&self, text: &str) -> Option<Vec<FileTemplate>> {
        text.split(',').map(str::trim).filter(|url| !url.is_empty()).map(FileTemplate::parse).collect()
    }
    fn show(&self, value: &Vec<FileTemplate>) -> String {
        value.iter().map(FileTemplate::url).collect::<Vec<_>>().join(",")
    }
    fn expected(&self) -> String {
        "sqlite:// URLs with {user} below a folder, separated by commas".to_owned()
    }
    fn schema(&self) -> Json {
        json!({ "type": "string" })
    }
}
