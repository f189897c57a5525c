//! The language of the system as a BCP 47 tag, from its locale.

use crate::assignments::Assignments;
use crate::text;

/// The first of the usual places that names a language; empty for the locales `C` and `POSIX`.
pub(crate) fn read() -> String {
    let files = ["locale.conf", "default/locale"]
        .into_iter()
        .filter_map(|path| text("etc", path));
    files
        .map(|file| of_settings(&Assignments::parse(&file)))
        .find(|tag| !tag.is_empty())
        .unwrap_or_default()
}

/// locale(7): the language of messages, in the order in which the variables override each other.
fn of_settings(settings: &Assignments) -> String {
    let variables = ["LC_ALL", "LC_MESSAGES", "LANG"];
    let locale = variables
        .map(|name| settings.get(name))
        .into_iter()
        .find(|value| !value.is_empty());
    tag(locale.unwrap_or_default()).unwrap_or_default()
}

/// `language[_REGION][.charset][@modifier]` as a tag.
fn tag(locale: &str) -> Option<String> {
    let (locale, modifier) = locale.split_once('@').unwrap_or((locale, ""));
    let (locale, _charset) = locale.split_once('.').unwrap_or((locale, ""));
    let (language, region) = locale.split_once('_').unwrap_or((locale, ""));
    let is_language =
        (2..=3).contains(&language.len()) && language.bytes().all(|b| b.is_ascii_lowercase());
    let is_region = region.len() == 2 && region.bytes().all(|b| b.is_ascii_uppercase())
        || region.len() == 3 && region.bytes().all(|b| b.is_ascii_digit());
    if !is_language || !(is_region || region.is_empty()) {
        return None;
    }
    let subtags = [language, script(modifier), region];
    Some(
        subtags
            .into_iter()
            .filter(|subtag| !subtag.is_empty())
            .collect::<Vec<_>>()
            .join("-"),
    )
}

fn script(modifier: &str) -> &'static str {
    match modifier {
        "latin" => "Latn",
        "cyrillic" => "Cyrl",
        "devanagari" => "Deva",
        _ => "",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn locales_become_tags() {
        for (locale, expected) in [
            ("en_GB.UTF-8", Some("en-GB")),
            ("de_CH", Some("de-CH")),
            ("eo", Some("eo")),
            ("de_DE@euro", Some("de-DE")),
            ("sr_RS.UTF-8@latin", Some("sr-Latn-RS")),
            ("es_419.UTF-8", Some("es-419")),
            ("ast_ES.UTF-8", Some("ast-ES")),
            ("C", None),
            ("C.UTF-8", None),
            ("POSIX", None),
            ("", None),
            ("en_gb", None),
            ("../../etc", None),
        ] {
            assert_eq!(tag(locale).as_deref(), expected, "{locale}");
        }
    }

    #[test]
    fn the_variable_that_overrides_counts() {
        let of = |text| of_settings(&Assignments::parse(text));
        assert_eq!(of("LANG=de_DE.UTF-8\nLC_MESSAGES=en_GB.UTF-8"), "en-GB");
        assert_eq!(of("LANG=\"fr_FR.UTF-8\"\nLC_ALL=\n"), "fr-FR");
        assert_eq!(of("LC_TIME=fr_FR.UTF-8"), "");
    }
}
