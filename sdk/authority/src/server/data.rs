//! `/data/…`: devices fetch what HGET names, whole or from where they broke off, and send what HPUT, HPOST and SUB name.

use bailiwick_protocol::{media::MEDIA_DDF, object};
use http_body_util::{Either, Full};
use hyper::{
    Method, Request, Response, StatusCode,
    body::{Bytes, Incoming},
    header::{self, HeaderMap, HeaderValue},
};
use std::{
    io::{Seek, SeekFrom},
    os::unix::fs::MetadataExt,
    sync::Arc,
    time::SystemTime,
};
use tokio::{fs::File, io::AsyncWriteExt};
use tracing::info;

use super::{
    body::{FileBody, Outgoing, Reader},
    connection::Shared,
    request::{self, RequestError},
};
use crate::{
    clock,
    device::DeviceId,
    events::Event,
    journal::Entry,
    repository::{Repository, ResourceName},
};

/// Answers a GET.
pub(super) async fn send(
    shared: &Arc<Shared>,
    device: DeviceId,
    path: &str,
    headers: &HeaderMap,
) -> Result<Response<Outgoing>, RequestError> {
    let name = ResourceName::from_uri_path(path)?;
    let media_type = media_type_of(&name);
    if !request::accepts(headers, media_type) {
        return Err(RequestError::NotAcceptable {
            offered: media_type,
        });
    }
    let wanted = Wanted::read(headers);
    let working = Arc::clone(shared);
    let (opener, opened) = (device.clone(), name.clone());
    let (status, part, tag, file) = tokio::task::spawn_blocking(move || {
        let mut file = working
            .sessions
            .authority
            .repository()
            .open_for(&opener, &opened)?;
        let metadata = file.metadata()?;
        // A file is only ever replaced as a whole, by a new one, so these three tell versions apart.
        let tag = format!(
            "\"{:x}-{:x}-{:x}.{:x}\"",
            metadata.ino(),
            metadata.len(),
            metadata.mtime(),
            metadata.mtime_nsec()
        );
        let (status, part) = wanted.part(metadata.len(), &tag)?;
        file.seek(SeekFrom::Start(part.start))?;
        Ok::<_, RequestError>((status, part, tag, file))
    })
    .await??;

    info!(
        "{device}: GET {name}: {} ({} bytes)",
        status.as_u16(),
        part.bytes
    );
    let body = if part.bytes == 0 {
        Either::Left(Full::new(Bytes::new()))
    } else {
        Either::Right(FileBody::new(File::from_std(file), part.bytes))
    };
    let mut response = Response::new(body);
    *response.status_mut() = status;
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static(media_type));
    headers.insert(header::ACCEPT_RANGES, HeaderValue::from_static("bytes"));
    if let Ok(tag) = HeaderValue::from_str(&tag) {
        headers.insert(header::ETAG, tag);
    }
    if status == StatusCode::PARTIAL_CONTENT {
        let last = part.start + part.bytes - 1;
        if let Ok(range) =
            HeaderValue::from_str(&format!("bytes {}-{last}/{}", part.start, part.size))
        {
            headers.insert(header::CONTENT_RANGE, range);
        }
    }
    Ok(response)
}

/// Answers a PUT, which replaces an earlier upload of the same name, or a POST, which is kept beside it.
pub(super) async fn receive(
    shared: &Arc<Shared>,
    device: DeviceId,
    path: &str,
    request: Request<Incoming>,
) -> Result<Response<Outgoing>, RequestError> {
    let limits = &shared.sessions.limits;
    let name = Repository::upload_name(&device, &ResourceName::from_uri_path(path)?)?;
    let media_type = request::media_type(request.headers());
    let expected = &shared.upload_types;
    if !expected.is_empty()
        && !expected
            .iter()
            .any(|range| request::in_range(range, &media_type))
    {
        return Err(RequestError::MediaType {
            found: request
                .headers()
                .get(header::CONTENT_TYPE)
                .map_or("nothing".into(), request::shown),
            expected: expected.join(", "),
        });
    }
    let (working, uploader, named) = (Arc::clone(shared), device.clone(), name.clone());
    let (upload, file) = tokio::task::spawn_blocking(move || {
        let Shared { sessions, .. } = &*working;
        sessions
            .authority
            .repository()
            .begin_upload(&uploader, &named, &sessions.limits)
    })
    .await??;

    let method = request.method().clone();
    let mut file = File::from_std(file);
    let mut bytes = 0;
    let mut reader = Reader::new(
        request.into_body(),
        upload.room,
        limits.stall,
        limits.upload,
    );
    while let Some(piece) = reader.next().await? {
        file.write_all(&piece).await?;
        bytes += piece.len() as u64;
    }
    file.sync_all().await?;
    drop(file);

    let (working, uploader, is_put) = (Arc::clone(shared), device.clone(), method == Method::PUT);
    let (name, is_new) = tokio::task::spawn_blocking(move || {
        let Shared { sessions, .. } = &*working;
        let (name, is_new) = if is_put {
            upload.replace(bytes, &sessions.limits)?
        } else {
            (upload.add(bytes, &sessions.limits)?, true)
        };
        let entry = Entry::Upload {
            time: clock::rfc3339(SystemTime::now()),
            method: if is_put { "PUT" } else { "POST" }.into(),
            name: name.clone(),
            media_type: Some(media_type).filter(|media_type| !media_type.is_empty()),
            bytes,
        };
        let journal = sessions.authority.journal(&uploader)?;
        journal
            .append(&[entry], sessions.limits.journal_bytes)
            .map_err(crate::repository::RepositoryError::File)?;
        Ok::<_, RequestError>((name, is_new))
    })
    .await??;

    info!("{device}: {method} {name}: {bytes} bytes received");
    let status = if is_new {
        StatusCode::CREATED
    } else {
        StatusCode::NO_CONTENT
    };
    let mut response = request::text(status, String::new());
    if let Ok(location) = HeaderValue::from_str(&format!("/data/{device}/{name}")) {
        response.headers_mut().insert(header::LOCATION, location);
    }
    shared.sessions.events.send(Event::Uploaded {
        device,
        name,
        bytes,
    });
    Ok(response)
}

/// choice: `.json` is an MO serialization, `.ddf` a device description, everything else is bytes.
fn media_type_of(name: &ResourceName) -> &'static str {
    let name = name.to_string();
    match name.rsplit_once('.') {
        Some((_, "json")) => object::MEDIA_TYPE,
        Some((_, "ddf")) => MEDIA_DDF,
        _ => "application/octet-stream",
    }
}

/// What a GET asks for (RFC 9110 §13, §14): one range at most; whatever else is asked, the whole file is sent.
struct Wanted {
    range: Option<String>,
    if_range: Option<String>,
    if_none_match: Option<String>,
}

/// Some bytes of a file.
struct Part {
    start: u64,
    bytes: u64,
    size: u64,
}

impl Wanted {
    fn read(headers: &HeaderMap) -> Self {
        let text = |name| {
            headers
                .get(name)
                .and_then(|value| value.to_str().ok())
                .map(String::from)
        };
        Wanted {
            range: text(header::RANGE),
            if_range: text(header::IF_RANGE),
            if_none_match: text(header::IF_NONE_MATCH),
        }
    }

    fn part(&self, size: u64, tag: &str) -> Result<(StatusCode, Part), RequestError> {
        let known = |tags: &String| tags.split(',').any(|known| known.trim() == tag);
        if self.if_none_match.as_ref().is_some_and(known) {
            return Ok((
                StatusCode::NOT_MODIFIED,
                Part {
                    start: 0,
                    bytes: 0,
                    size,
                },
            ));
        }
        let whole = Part {
            start: 0,
            bytes: size,
            size,
        };
        let unchanged = self
            .if_range
            .as_ref()
            .is_none_or(|if_range| if_range == tag);
        match self.range.as_deref().and_then(bounds) {
            Some(bounds) if unchanged => {
                let (start, last) = match bounds {
                    (Some(start), last) => (start, last.unwrap_or(u64::MAX)),
                    (None, tail) => (size.saturating_sub(tail.unwrap_or(0)), u64::MAX),
                };
                let last = last.min(size.saturating_sub(1));
                if start >= size || start > last {
                    return Err(RequestError::Range { size });
                }
                let bytes = last - start + 1;
                Ok((StatusCode::PARTIAL_CONTENT, Part { start, bytes, size }))
            }
            _ => Ok((StatusCode::OK, whole)),
        }
    }
}

/// `bytes=5-9`, `bytes=5-` or `bytes=-5`.
fn bounds(range: &str) -> Option<(Option<u64>, Option<u64>)> {
    let (first, last) = range.strip_prefix("bytes=")?.split_once('-')?;
    let number = |text: &str| match text {
        "" => Some(None),
        _ => text.parse().ok().map(Some),
    };
    match (number(first)?, number(last)?) {
        (None, None) => None,
        (Some(first), Some(last)) if first > last => None,
        bounds => Some(bounds),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ranges_of_a_file_of_ten_bytes() {
        let part = |range: &str| {
            let wanted = Wanted {
                range: Some(range.into()),
                if_range: None,
                if_none_match: None,
            };
            wanted
                .part(10, "\"t\"")
                .ok()
                .map(|(status, part)| (status.as_u16(), part.start, part.bytes))
        };
        let rows = [
            ("bytes=0-", Some((206, 0, 10))),
            ("bytes=4-", Some((206, 4, 6))),
            ("bytes=4-4", Some((206, 4, 1))),
            ("bytes=4-99", Some((206, 4, 6))),
            ("bytes=-3", Some((206, 7, 3))),
            ("bytes=-99", Some((206, 0, 10))),
            ("bytes=10-", None),
            ("bytes=-0", None),
            ("bytes=18446744073709551615-", None),
            // Not understood, or several: the whole file.
            ("bytes=5-4", Some((200, 0, 10))),
            ("bytes=0-1,4-5", Some((200, 0, 10))),
            ("lines=1-2", Some((200, 0, 10))),
            ("bytes=-", Some((200, 0, 10))),
        ];
        for (range, expected) in rows {
            assert_eq!(part(range), expected, "{range}");
        }
    }

    #[test]
    fn a_file_that_changed_is_sent_whole() {
        let wanted = Wanted {
            range: Some("bytes=4-".into()),
            if_range: Some("\"old\"".into()),
            if_none_match: None,
        };
        let (status, part) = wanted.part(10, "\"new\"").unwrap();
        assert_eq!((status, part.start, part.bytes), (StatusCode::OK, 0, 10));
    }
}
