//! `OMADM-Accept`: which media types the server wants in later PUT and POST bodies. Same grammar as `Accept`
//! (RFC 9110 §12.5.1).

use bailiwick_protocol::HEADER_ACCEPT;
use bailiwick_protocol::object::ACCEPTED_MEDIA_TYPES;
use hyper::header::HeaderMap;

/// Media ranges of a field that are looked at. Stops a list made to be slow.
const RANGES: usize = 32;

/// The media type that the server likes best among those that the device writes. `None`: the server has said
/// nothing; `Some(None)`: it wants none of them.
pub(super) fn wanted(headers: &HeaderMap) -> Option<Option<&'static str>> {
    let mut fields = headers.get_all(HEADER_ACCEPT).iter().peekable();
    fields.peek()?;
    let text: Vec<&str> = fields.filter_map(|field| field.to_str().ok()).collect();
    let text = text.join(",");
    let ranges: Vec<(&str, f32)> = text.split(',').take(RANGES).filter_map(range).collect();
    let mut best: Option<(&'static str, f32)> = None;
    for ours in ACCEPTED_MEDIA_TYPES {
        let quality = quality(ours, &ranges);
        if quality > best.map_or(0.0, |(_, best)| best) {
            best = Some((ours, quality));
        }
    }
    Some(best.map(|(media_type, _)| media_type))
}

/// The most specific range that fits decides (RFC 9110 §12.5.1).
fn quality(media_type: &str, ranges: &[(&str, f32)]) -> f32 {
    let kind = media_type.split_once('/').map_or("", |(kind, _)| kind);
    let fit = |range: &str| match range.split_once('/') {
        _ if range.eq_ignore_ascii_case(media_type) => 3,
        Some((range, "*")) if range.eq_ignore_ascii_case(kind) => 2,
        Some(("*", "*")) => 1,
        _ => 0,
    };
    let fitting = ranges.iter().filter(|(range, _)| fit(range) > 0);
    fitting
        .max_by_key(|(range, _)| fit(range))
        .map_or(0.0, |(_, quality)| *quality)
}

fn range(text: &str) -> Option<(&str, f32)> {
    let mut parts = text.split(';').map(str::trim);
    let range = parts.next().filter(|range| range.contains('/'))?;
    let quality = parts
        .filter_map(|parameter| parameter.split_once('='))
        .find(|(name, _)| name.trim().eq_ignore_ascii_case("q"))
        .map_or(Some(1.0), |(_, value)| value.trim().parse().ok())?;
    Some((range, quality)).filter(|(_, quality)| (0.0..=1.0).contains(quality))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_best_type_that_is_wanted_is_chosen() {
        let dmmo = Some(Some("application/dmmo+json"));
        let json = Some(Some("application/json"));
        let rows: [(&[&str], Option<Option<&str>>); 11] = [
            (&[], None),
            (&["*/*"], dmmo),
            (&["application/*"], dmmo),
            (&["application/json"], json),
            (&["APPLICATION/JSON"], json),
            (
                &["application/json;q=0.5, application/dmmo+json;q=0.4"],
                json,
            ),
            (&["application/json", "application/dmmo+json"], dmmo),
            (
                &["*/*;q=0.1, application/dmmo+json;q=0, application/json"],
                json,
            ),
            (&["text/plain, image/*"], Some(None)),
            (&["application/json;q=0"], Some(None)),
            (&["nonsense, application/json;q=7"], Some(None)),
        ];
        for (fields, expected) in rows {
            let mut headers = HeaderMap::new();
            for field in fields {
                headers.append(HEADER_ACCEPT, field.parse().expect("a header value"));
            }
            assert_eq!(wanted(&headers), expected, "{fields:?}");
        }
    }
}
