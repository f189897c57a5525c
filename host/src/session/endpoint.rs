//! Where a ServerURI points to. Only `https` is ever spoken.

use std::fmt;

use hyper::Uri;

/// A server and a resource on it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Endpoint {
    host: String,
    port: u16,
    target: String,
}

/// Why a text is no endpoint.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum EndpointError {
    /// Plain HTTP.
    #[error("plain http is refused; use an https URI")]
    Plain,
    /// Not a URI of a server.
    #[error("{0:?} is not an https URI with a host")]
    Syntax(String),
    /// A name or password in the URI.
    #[error("a ServerURI must not carry a user name or password")]
    UserInfo,
}

impl Endpoint {
    /// Reads an `https` URI (RFC 9110 §4.2.2). A fragment is dropped.
    pub fn parse(text: &str) -> Result<Self, EndpointError> {
        let syntax = || EndpointError::Syntax(text.chars().take(80).collect());
        let uri: Uri = text.parse().map_err(|_| syntax())?;
        match uri.scheme_str() {
            Some("https") => {}
            Some("http") => return Err(EndpointError::Plain),
            _ => return Err(syntax()),
        }
        let authority = uri.authority().ok_or_else(syntax)?;
        if authority.as_str().contains('@') {
            return Err(EndpointError::UserInfo);
        }
        let host = authority.host();
        let host = host
            .strip_prefix('[')
            .and_then(|h| h.strip_suffix(']'))
            .unwrap_or(host);
        let has_port = authority.as_str().len() > authority.host().len();
        let port = match (authority.port_u16(), has_port) {
            (Some(port), _) if port > 0 => port,
            (None, false) => 443,
            _ => return Err(syntax()),
        };
        if host.is_empty() {
            return Err(syntax());
        }
        let target = uri.path_and_query().map_or("/", |target| target.as_str());
        Ok(Self {
            host: host.to_ascii_lowercase(),
            port,
            target: target.to_owned(),
        })
    }

    /// Host name or address, IPv6 without brackets.
    pub fn host(&self) -> &str {
        &self.host
    }

    /// TCP port.
    pub fn port(&self) -> u16 {
        self.port
    }

    /// Path and query, as in a request line.
    pub fn target(&self) -> &str {
        &self.target
    }

    /// As in a `Host` field.
    pub fn host_field(&self) -> String {
        let host = match self.host.contains(':') {
            true => format!("[{}]", self.host),
            false => self.host.clone(),
        };
        match self.port {
            443 => host,
            port => format!("{host}:{port}"),
        }
    }

    /// Whether both are on the same server (RFC 6454).
    pub fn is_same_origin(&self, other: &Endpoint) -> bool {
        (self.host(), self.port) == (other.host(), other.port)
    }
}

impl fmt::Display for Endpoint {
    /// Without the query, which may hold a secret.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let path = self.target.split('?').next().unwrap_or_default();
        write!(f, "https://{}{path}", self.host_field())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_https_uris_with_a_host_are_endpoints() {
        let good = [
            ("https://dm.example/oma", "dm.example", 443, "/oma"),
            ("https://DM.Example", "dm.example", 443, "/"),
            (
                "https://dm.example:8443/a?b=c#d",
                "dm.example",
                8443,
                "/a?b=c",
            ),
            ("https://[2001:db8::1]:99/", "2001:db8::1", 99, "/"),
            ("https://192.0.2.1", "192.0.2.1", 443, "/"),
            ("HTTPS://dm.example/", "dm.example", 443, "/"),
        ];
        for (text, host, port, target) in good {
            let endpoint = Endpoint::parse(text).expect(text);
            assert_eq!(
                (endpoint.host(), endpoint.port(), endpoint.target()),
                (host, port, target)
            );
        }
        let bad = [
            ("http://dm.example/", EndpointError::Plain),
            ("https://user:pw@dm.example/", EndpointError::UserInfo),
            (
                "ftp://dm.example/",
                EndpointError::Syntax("ftp://dm.example/".into()),
            ),
            ("/oma", EndpointError::Syntax("/oma".into())),
            ("https:///oma", EndpointError::Syntax("https:///oma".into())),
            (
                "https://dm.example:0/",
                EndpointError::Syntax("https://dm.example:0/".into()),
            ),
            (
                "https://dm.example:/",
                EndpointError::Syntax("https://dm.example:/".into()),
            ),
            (
                "https://dm.example:99999/",
                EndpointError::Syntax("https://dm.example:99999/".into()),
            ),
        ];
        for (text, error) in bad {
            assert_eq!(Endpoint::parse(text), Err(error), "{text}");
        }
    }

    #[test]
    fn reports_show_no_query_and_requests_name_the_host() {
        let rows = [
            (
                "https://dm.example/a?token=1",
                "https://dm.example/a",
                "dm.example",
            ),
            ("https://[::1]:8443/", "https://[::1]:8443/", "[::1]:8443"),
        ];
        for (text, shown, host) in rows {
            let endpoint = Endpoint::parse(text).expect(text);
            assert_eq!(endpoint.to_string(), shown);
            assert_eq!(endpoint.host_field(), host);
        }
    }
}
