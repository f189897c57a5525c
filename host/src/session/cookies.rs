//! Cookies within one session, so that a server can recognise it (RFC 6265, as little of it as that takes).
//!
//! A cookie goes back to the origin that set it and nowhere else, and is forgotten with the session. Attributes are
//! ignored, except that an age of zero or less takes the cookie away.

use hyper::header::{HeaderMap, HeaderValue, SET_COOKIE};

use super::Endpoint;

/// Cookies of one session. Stops a server that fills memory with them.
const COOKIES: usize = 16;
/// Bytes of name and value (RFC 6265 §6.1 asks for 4096).
const BYTES: usize = 4096;

#[derive(Debug, Default)]
pub(super) struct Cookies {
    kept: Vec<Cookie>,
}

#[derive(Debug)]
struct Cookie {
    origin: Endpoint,
    name: String,
    value: String,
}

impl Cookies {
    /// Takes what a server set.
    pub(super) fn take(&mut self, origin: &Endpoint, headers: &HeaderMap) {
        for line in headers.get_all(SET_COOKIE).iter().take(COOKIES) {
            let Ok(line) = line.to_str() else { continue };
            let mut parts = line.split(';').map(str::trim);
            let Some((name, value)) = parts.next().and_then(|pair| pair.split_once('=')) else {
                continue;
            };
            let (name, value) = (name.trim(), value.trim());
            if name.is_empty() || name.len() + value.len() > BYTES {
                continue;
            }
            self.kept
                .retain(|known| known.name != name || !known.origin.is_same_origin(origin));
            if !parts.any(is_over) && self.kept.len() < COOKIES {
                let (name, value) = (name.to_owned(), value.to_owned());
                self.kept.push(Cookie {
                    origin: origin.clone(),
                    name,
                    value,
                });
            }
        }
    }

    /// The `Cookie` field for a request, if there is something to say.
    pub(super) fn field(&self, to: &Endpoint) -> Option<HeaderValue> {
        let pairs: Vec<String> = self
            .kept
            .iter()
            .filter(|cookie| cookie.origin.is_same_origin(to))
            .map(|cookie| format!("{}={}", cookie.name, cookie.value))
            .collect();
        if pairs.is_empty() {
            return None;
        }
        HeaderValue::from_str(&pairs.join("; ")).ok()
    }
}

/// `Max-Age=0`, or less.
fn is_over(attribute: &str) -> bool {
    attribute.split_once('=').is_some_and(|(name, value)| {
        name.trim().eq_ignore_ascii_case("max-age")
            && value.trim().parse::<i64>().is_ok_and(|age| age <= 0)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn endpoint(text: &str) -> Endpoint {
        Endpoint::parse(text).expect(text)
    }

    fn set(lines: &[&str]) -> HeaderMap {
        let mut headers = HeaderMap::new();
        for line in lines {
            headers.append(SET_COOKIE, line.parse().expect("a header value"));
        }
        headers
    }

    fn shown(cookies: &Cookies, to: &str) -> Option<String> {
        cookies
            .field(&endpoint(to))
            .map(|value| value.to_str().expect("ASCII").to_owned())
    }

    #[test]
    fn a_cookie_goes_back_to_its_origin_alone() {
        let mut cookies = Cookies::default();
        let home = endpoint("https://dm.example/oma");
        cookies.take(
            &home,
            &set(&["sid=1; Path=/; HttpOnly", "b=x", "malformed", "=y"]),
        );
        assert_eq!(
            shown(&cookies, "https://dm.example/other").as_deref(),
            Some("sid=1; b=x")
        );
        assert_eq!(shown(&cookies, "https://dm.example:8443/oma"), None);
        assert_eq!(shown(&cookies, "https://evil.example/oma"), None);

        cookies.take(
            &endpoint("https://evil.example/"),
            &set(&["sid=2; Domain=dm.example"]),
        );
        assert_eq!(
            shown(&cookies, "https://dm.example/").as_deref(),
            Some("sid=1; b=x")
        );

        cookies.take(&home, &set(&["sid=3", "b=; Max-Age=0"]));
        assert_eq!(
            shown(&cookies, "https://dm.example/").as_deref(),
            Some("sid=3")
        );
    }

    #[test]
    fn cookies_are_bounded() {
        let mut cookies = Cookies::default();
        let home = endpoint("https://dm.example/");
        let huge = format!("huge={}", "x".repeat(BYTES));
        cookies.take(&home, &set(&[&huge]));
        assert_eq!(shown(&cookies, "https://dm.example/"), None);
        for n in 0..3 * COOKIES {
            cookies.take(&home, &set(&[&format!("c{n}=1")]));
        }
        assert_eq!(cookies.kept.len(), COOKIES);
    }
}
