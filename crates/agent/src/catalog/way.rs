//! The keys `bastion` and `document` of a Target: the way to it.

use std::collections::BTreeMap;

use model::{Bastion, EcsTasks, Endpoint, SessionDocument};
use serde::{Deserialize, Deserializer, de};
use toml::Spanned;

use super::Fault;

const NONE: &str = "none";
const BASTION_FORMS: &str =
    "`{ instance = \"i-…\" }`, `{ tag = \"…\", value = \"…\" }`, `{ cluster = \"…\", service = \"…\" }` or \"none\"";

/// `bastion` as written.
pub(super) type BastionField = Spanned<WordOr<BastionTable>>;
/// `document` as written.
pub(super) type DocumentField = Spanned<WordOr<DocumentTable>>;

/// The way to a Target.
pub(super) fn parsed(
    bastion: BastionField,
    document: Option<DocumentField>,
) -> Result<(Bastion, SessionDocument), Fault> {
    let at = bastion.span().start;
    let bastion = match bastion.into_inner() {
        WordOr::Word(word) if word == NONE => Bastion::Direct { at: None },
        WordOr::Word(word) => {
            return Err((at, format!("`bastion` cannot be \"{word}\": write {BASTION_FORMS}")));
        }
        WordOr::Table(table) => table.into_bastion(at)?,
    };
    let document = match (&bastion, document) {
        (Bastion::Direct { .. }, Some(document)) => {
            let cause = "`document` is for a bastion, and this target has none: remove it, or name a `bastion`";
            return Err((document.span().start, cause.to_owned()));
        }
        (_, document) => document.map(into_document).transpose()?.unwrap_or_default(),
    };
    Ok((bastion, document))
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub(super) struct BastionTable {
    cluster: Option<Spanned<String>>,
    container: Option<Spanned<String>>,
    direct: Option<Spanned<String>>,
    family: Option<Spanned<String>>,
    instance: Option<Spanned<String>>,
    service: Option<Spanned<String>>,
    tag: Option<Spanned<String>>,
    task: Option<Spanned<String>>,
    value: Option<Spanned<String>>,
}

impl BastionTable {
    fn into_bastion(mut self, at: usize) -> Result<Bastion, Fault> {
        let firsts = [&self.cluster, &self.direct, &self.instance, &self.tag];
        if firsts.into_iter().flatten().count() != 1 {
            return Err((at, format!("`bastion` must say one thing: {BASTION_FORMS}")));
        }
        let bastion = if let Some(cluster) = self.cluster.take() {
            let tasks = self.take_tasks(at)?;
            let container = self.container.take().map(|name| ecs_name("container", name)).transpose()?;
            Bastion::Ecs { cluster: ecs_name("cluster", cluster)?, tasks, container }
        } else if let Some(tag) = self.tag.take() {
            let without = || (at, "`tag` needs a `value` beside it".to_owned());
            let value = self.value.take().ok_or_else(without)?.into_inner();
            Bastion::Tag { key: filled("tag", tag)?, value }
        } else if let Some(instance) = self.instance.take() {
            Bastion::Instance(instance_id(instance)?)
        } else {
            Bastion::Direct { at: self.direct.take().map(endpoint).transpose()? }
        };
        self.nothing_left()?;
        Ok(bastion)
    }

    fn take_tasks(&mut self, at: usize) -> Result<EcsTasks, Fault> {
        match (self.service.take(), self.family.take(), self.task.take()) {
            (Some(service), None, None) => Ok(EcsTasks::Service(ecs_name("service", service)?)),
            (None, Some(family), None) => Ok(EcsTasks::Family(ecs_name("family", family)?)),
            (None, None, Some(task)) => Ok(EcsTasks::Task(ecs_name("task", task)?)),
            _ => Err((at, "`cluster` needs one of `service`, `family` and `task` beside it".to_owned())),
        }
    }

    fn nothing_left(self) -> Result<(), Fault> {
        let left = [
            ("container", self.container),
            ("family", self.family),
            ("service", self.service),
            ("task", self.task),
            ("value", self.value),
        ];
        match left.into_iter().find_map(|(key, value)| Some((key, value?))) {
            Some((key, value)) => {
                Err((value.span().start, format!("`{key}` does not belong to this form of `bastion`: remove it")))
            }
            None => Ok(()),
        }
    }
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub(super) struct DocumentTable {
    name: Spanned<String>,
    #[serde(default)]
    parameters: BTreeMap<String, Spanned<String>>,
    port: Option<Spanned<u16>>,
}

fn into_document(field: DocumentField) -> Result<SessionDocument, Fault> {
    let span = field.span();
    let DocumentTable { name, parameters, port } = match field.into_inner() {
        WordOr::Word(name) => DocumentTable { name: Spanned::new(span, name), parameters: BTreeMap::new(), port: None },
        WordOr::Table(table) => table,
    };
    let at = name.span().start;
    let name = name.into_inner();
    if let (Some(port), true) = (&port, name != SessionDocument::PLAIN_PORT) {
        return Err((port.span().start, format!("`port` is only for the document {}", SessionDocument::PLAIN_PORT)));
    }
    match name.as_str() {
        SessionDocument::PLAIN_PORT | SessionDocument::REMOTE_HOST if !parameters.is_empty() => {
            Err((at, format!("{name} gets its parameters from `host` and `port` of the target: remove `parameters`")))
        }
        SessionDocument::REMOTE_HOST => Ok(SessionDocument::RemoteHost),
        SessionDocument::PLAIN_PORT => Ok(SessionDocument::PlainPort { port: port.map(Spanned::into_inner) }),
        other if other.starts_with("AWS-") => Err((
            at,
            format!(
                "the document `{other}` forwards no port: write {}, {} or one of your own of session type Port",
                SessionDocument::REMOTE_HOST,
                SessionDocument::PLAIN_PORT
            ),
        )),
        _ => Ok(SessionDocument::Custom { name: document_name(at, name)?, parameters: filled_in(parameters)? }),
    }
}

fn document_name(at: usize, name: String) -> Result<String, Fault> {
    let fits = |c: char| c.is_ascii_alphanumeric() || "_-.:/".contains(c);
    if (3..=128).contains(&name.len()) && name.chars().all(fits) {
        return Ok(name);
    }
    Err((at, format!("`{name}` is no name of a session document: 3 to 128 letters, digits and `_-.:/`")))
}

/// Only the placeholders there are.
fn filled_in(parameters: BTreeMap<String, Spanned<String>>) -> Result<BTreeMap<String, String>, Fault> {
    let known = |(name, value): (String, Spanned<String>)| {
        let rest = value.get_ref().replace("{host}", "").replace("{port}", "");
        if rest.contains(['{', '}']) {
            let cause = format!("the value of `{name}` may name `{{host}}` and `{{port}}` of the target, nothing else");
            return Err((value.span().start, cause));
        }
        Ok((name, value.into_inner()))
    };
    parameters.into_iter().map(known).collect()
}

fn instance_id(id: Spanned<String>) -> Result<String, Fault> {
    let digits = id.get_ref().strip_prefix("mi-").or_else(|| id.get_ref().strip_prefix("i-"));
    if digits.is_some_and(|digits| !digits.is_empty() && digits.chars().all(|c| c.is_ascii_alphanumeric())) {
        return Ok(id.into_inner());
    }
    Err((id.span().start, format!("`instance` is `{}`: write the id of a managed node, `i-…` or `mi-…`", id.get_ref())))
}

fn ecs_name(key: &str, name: Spanned<String>) -> Result<String, Fault> {
    let fits = |c: char| c.is_ascii_alphanumeric() || c == '-' || c == '_';
    if (1..=255).contains(&name.get_ref().len()) && name.get_ref().chars().all(fits) {
        return Ok(name.into_inner());
    }
    let cause = format!("`{key}` is `{}`: write its short name, which is the last part of its ARN", name.get_ref());
    Err((name.span().start, cause))
}

fn filled(key: &str, text: Spanned<String>) -> Result<String, Fault> {
    if text.get_ref().is_empty() {
        return Err((text.span().start, format!("`{key}` is empty: write what it names, or remove it")));
    }
    Ok(text.into_inner())
}

fn endpoint(text: Spanned<String>) -> Result<Endpoint, Fault> {
    let parts = text.get_ref().rsplit_once(':').and_then(|(host, port)| Some((host, port.parse().ok()?)));
    match parts {
        Some((host, port)) if !host.is_empty() && port != 0 => Ok(Endpoint { host: host.to_owned(), port }),
        _ => Err((text.span().start, format!("`direct` is `{}`: write `host:port`", text.get_ref()))),
    }
}

/// A string, or a table whose mistakes are told where they are.
pub(super) enum WordOr<T> {
    Word(String),
    Table(T),
}

impl<'de, T: Deserialize<'de>> Deserialize<'de> for WordOr<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Either<T>(std::marker::PhantomData<T>);
        impl<'de, T: Deserialize<'de>> de::Visitor<'de> for Either<T> {
            type Value = WordOr<T>;

            fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.write_str("a string or a table")
            }

            fn visit_str<E: de::Error>(self, word: &str) -> Result<Self::Value, E> {
                Ok(WordOr::Word(word.to_owned()))
            }

            fn visit_map<A: de::MapAccess<'de>>(self, map: A) -> Result<Self::Value, A::Error> {
                T::deserialize(de::value::MapAccessDeserializer::new(map)).map(WordOr::Table)
            }
        }
        deserializer.deserialize_any(Either(std::marker::PhantomData))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Deserialize)]
    struct Way {
        bastion: BastionField,
        document: Option<DocumentField>,
    }

    fn way(text: &str) -> Result<(Bastion, SessionDocument), String> {
        let Way { bastion, document } = toml::from_str(text).map_err(|error| error.message().to_owned())?;
        parsed(bastion, document).map_err(|(at, cause)| format!("{at}: {cause}"))
    }

    fn bastion(text: &str) -> Bastion {
        way(&format!("bastion = {text}")).expect(text).0
    }

    #[test]
    fn a_bastion_is_an_instance_a_tag_a_task_or_none() {
        let ecs = |tasks, container: Option<&str>| Bastion::Ecs {
            cluster: "tools".to_owned(),
            tasks,
            container: container.map(str::to_owned),
        };
        let at = Endpoint { host: "127.0.0.1".to_owned(), port: 15_432 };
        for (text, expected) in [
            ("{ instance = 'mi-0da7' }", Bastion::Instance("mi-0da7".to_owned())),
            ("{ tag = 'role', value = '' }", Bastion::Tag { key: "role".to_owned(), value: String::new() }),
            ("{ cluster = 'tools', service = 'jump' }", ecs(EcsTasks::Service("jump".to_owned()), None)),
            ("{ cluster = 'tools', family = 'jump', container = 'ssm' }", {
                ecs(EcsTasks::Family("jump".to_owned()), Some("ssm"))
            }),
            ("{ cluster = 'tools', task = '0a1b' }", ecs(EcsTasks::Task("0a1b".to_owned()), None)),
            ("'none'", Bastion::Direct { at: None }),
            ("{ direct = '127.0.0.1:15432' }", Bastion::Direct { at: Some(at) }),
        ] {
            assert_eq!(bastion(text), expected, "{text}");
        }
    }

    #[test]
    fn a_document_is_one_of_awss_or_ones_own() {
        let document = |text: &str| way(&format!("bastion = {{ instance = 'i-1' }}\n{text}")).expect(text).1;
        assert_eq!(document(""), SessionDocument::RemoteHost);
        assert_eq!(document("document = 'AWS-StartPortForwardingSessionToRemoteHost'"), SessionDocument::RemoteHost);
        let plain = |port| SessionDocument::PlainPort { port };
        assert_eq!(document("document = 'AWS-StartPortForwardingSession'"), plain(None));
        assert_eq!(document("document = { name = 'AWS-StartPortForwardingSession', port = 6432 }"), plain(Some(6432)));
        let parameters = BTreeMap::from([("to".to_owned(), "{host}".to_owned())]);
        let custom = SessionDocument::Custom { name: "Acme-Orders".to_owned(), parameters };
        assert_eq!(document("document = { name = 'Acme-Orders', parameters = { to = '{host}' } }"), custom);
    }

    #[test]
    fn what_makes_no_sense_is_told_with_its_key_and_what_to_write() {
        let instance = "bastion = { instance = 'i-1' }\n";
        for (text, expected) in [
            ("bastion = 'nobody'".to_owned(), "10: `bastion` cannot be \"nobody\": write `{ instance"),
            ("bastion = { instance = 'i-1', tag = 'a' }".to_owned(), "`bastion` must say one thing"),
            ("bastion = {}".to_owned(), "`bastion` must say one thing"),
            ("bastion = { instanse = 'i-1' }".to_owned(), "unknown field `instanse`"),
            ("bastion = { instance = 'bastion' }".to_owned(), "23: `instance` is `bastion`: write the id"),
            ("bastion = { instance = 'i-1', value = 'x' }".to_owned(), "`value` does not belong"),
            ("bastion = { tag = 'a' }".to_owned(), "`tag` needs a `value`"),
            ("bastion = { tag = '', value = 'x' }".to_owned(), "`tag` is empty"),
            ("bastion = { cluster = 'tools' }".to_owned(), "`cluster` needs one of `service`"),
            ("bastion = { cluster = 'tools', service = 'a', task = 'b' }".to_owned(), "`cluster` needs one of"),
            ("bastion = { cluster = 'arn:aws:ecs:x', task = 'b' }".to_owned(), "the last part of its ARN"),
            ("bastion = { direct = 'db' }".to_owned(), "`direct` is `db`: write `host:port`"),
            ("bastion = 'none'\ndocument = 'Acme-Orders'".to_owned(), "28: `document` is for a bastion"),
            (format!("{instance}document = 'AWS-StartSSHSession'"), "`AWS-StartSSHSession` forwards no port"),
            (format!("{instance}document = 'a b c'"), "`a b c` is no name"),
            (format!("{instance}document = {{ name = 'Acme-X', port = 1 }}"), "`port` is only for"),
            (
                format!("{instance}document = {{ name = 'Acme-X', parameters = {{ a = '{{user}}' }} }}"),
                "of `a` may name",
            ),
            (
                format!(
                    "{instance}document = {{ name = 'AWS-StartPortForwardingSession', parameters = {{ a = 'b' }} }}"
                ),
                "remove `parameters`",
            ),
        ] {
            let fault = way(&text).expect_err(&text);
            assert!(fault.contains(expected), "`{fault}` must say `{expected}`");
        }
    }
}
