//! One request, one answer.

use crate::files::{self, Found};
use crate::fresh::Mark;
use crate::options::Options;
use crate::range::{self, Wanted};
use crate::target::{BadTarget, Target};
use crate::{auth, listing};
use axum::Router;
use axum::body::Body;
use axum::extract::{Request, State};
use axum::http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode, header};
use axum::response::Response;
use bytes::Bytes;
use futures_util::stream;
use std::fs::{File, Metadata};
use std::io::{self, Read as _, Seek as _, SeekFrom};
use std::sync::Arc;
use std::time::SystemTime;

/// Read from a file at a time.
const BLOCK: u64 = 128 * 1024;
/// The page for what is not there, if the site has one.
const NOT_FOUND_PAGE: &str = "404.html";

/// Answers every request for a site.
pub fn router(options: Options) -> Router {
    Router::new().fallback(answer).with_state(Arc::new(options))
}

async fn answer(State(options): State<Arc<Options>>, request: Request) -> Response {
    if let Some((user, password)) = &options.credentials {
        let given = text(request.headers(), &header::AUTHORIZATION);
        if !auth::allows(given, user, password) {
            let mut response = plain(StatusCode::UNAUTHORIZED);
            let realm = HeaderValue::from_static("Basic realm=\"Authentication service\"");
            response.headers_mut().insert(header::WWW_AUTHENTICATE, realm);
            return response;
        }
    }
    let method = request.method();
    if method != Method::GET && method != Method::HEAD {
        let mut response = plain(StatusCode::METHOD_NOT_ALLOWED);
        response
            .headers_mut()
            .insert(header::ALLOW, HeaderValue::from_static("GET, HEAD"));
        return response;
    }
    let target = match Target::parse(request.uri().path()) {
        Ok(target) => target,
        Err(BadTarget::Outside) => return plain(StatusCode::FORBIDDEN),
        Err(BadTarget::Malformed) => return plain(StatusCode::BAD_REQUEST),
    };
    let (headers, head) = (request.headers().clone(), method == Method::HEAD);
    let looked = tokio::task::spawn_blocking(move || look(&options, &target)).await;
    match looked {
        Ok(Ok(shown)) => {
            let response = show(shown, &headers);
            // Nothing of the file is read for it; the length stays.
            if head {
                response.map(|_| Body::empty())
            } else {
                response
            }
        }
        Ok(Err(error)) => failed(request.uri().path(), &error),
        Err(error) => failed(request.uri().path(), &io::Error::other(error)),
    }
}

/// The reason is for the log of whoever runs the site, not for its visitors.
fn failed(path: &str, error: &io::Error) -> Response {
    use std::io::Write as _;
    let _ = writeln!(io::stderr(), "serving {path}: {error}");
    plain(StatusCode::INTERNAL_SERVER_ERROR)
}

/// What a request will be shown.
enum Shown {
    File {
        name: String,
        file: File,
        meta: Metadata,
        status: StatusCode,
    },
    Page(String),
    Status(StatusCode),
    /// A folder without its slash: links in its page would lead elsewhere.
    Redirect(String),
}

fn look(options: &Options, target: &Target) -> io::Result<Shown> {
    let find = |path: &str| files::find(&options.root, path, options.follow_links);
    let file = |name: &str, file, meta, status| Shown::File {
        name: name.to_owned(),
        file,
        meta,
        status,
    };
    match find(&target.path)? {
        Found::File { file: found, meta } if !target.folder => {
            return Ok(file(&target.path, found, meta, StatusCode::OK));
        }
        Found::Forbidden => return Ok(Shown::Status(StatusCode::FORBIDDEN)),
        Found::Folder => {
            let index = match target.path.as_str() {
                "" => options.home_page.clone(),
                path => format!("{path}/index.html"),
            };
            let index_file = match find(&index)? {
                Found::File { file, meta } => Some((file, meta)),
                _ => None,
            };
            if (index_file.is_some() || options.listing) && !target.folder {
                let names: Vec<_> = target.path.split('/').map(crate::target::encode).collect();
                return Ok(Shown::Redirect(format!("/{}/", names.join("/"))));
            }
            if let Some((found, meta)) = index_file {
                return Ok(file(&index, found, meta, StatusCode::OK));
            }
            if options.listing {
                let (entries, cut) = files::list(&options.root, &target.path)?;
                return Ok(Shown::Page(listing::page(&target.path, entries, cut)));
            }
        }
        Found::File { .. } | Found::Missing => {}
    }
    if options.single_page {
        // A page at a made-up depth asks for its script beside itself; it is in the root.
        for name in [target.base(), &options.home_page] {
            if !name.is_empty()
                && let Found::File { file: found, meta } = find(name)?
            {
                return Ok(file(name, found, meta, StatusCode::OK));
            }
        }
    }
    if let Found::File { file: found, meta } = find(NOT_FOUND_PAGE)? {
        return Ok(file(NOT_FOUND_PAGE, found, meta, StatusCode::NOT_FOUND));
    }
    Ok(Shown::Status(StatusCode::NOT_FOUND))
}

fn show(shown: Shown, headers: &HeaderMap) -> Response {
    match shown {
        Shown::Status(status) => plain(status),
        Shown::Page(page) => with_type(StatusCode::OK, "text/html; charset=utf-8", Body::from(page)),
        Shown::Redirect(to) => {
            let mut response = plain(StatusCode::MOVED_PERMANENTLY);
            if let Ok(to) = HeaderValue::from_str(&to) {
                response.headers_mut().insert(header::LOCATION, to);
            }
            response
        }
        Shown::File {
            name,
            file,
            meta,
            status,
        } => show_file(&name, file, &meta, status, headers),
    }
}

fn show_file(name: &str, file: File, meta: &Metadata, status: StatusCode, headers: &HeaderMap) -> Response {
    let size = meta.len();
    let mark = Mark::new(meta.modified().unwrap_or(SystemTime::UNIX_EPOCH), size);
    let given = |name: HeaderName| text(headers, &name);
    let is_answer = status == StatusCode::OK;
    let mut response = if is_answer
        && mark.is_known(given(header::IF_NONE_MATCH), given(header::IF_MODIFIED_SINCE))
    {
        let mut response = Response::new(Body::empty());
        *response.status_mut() = StatusCode::NOT_MODIFIED;
        response
    } else {
        let wanted = match given(header::RANGE) {
            Some(wish) if is_answer && mark.allows_part(given(header::IF_RANGE)) => range::wanted(wish, size),
            _ => Wanted::All,
        };
        let (status, from, count) = match wanted {
            Wanted::All => (status, 0, size),
            Wanted::Part { from, count } => (StatusCode::PARTIAL_CONTENT, from, count),
            Wanted::Impossible => (StatusCode::RANGE_NOT_SATISFIABLE, 0, 0),
        };
        let mut response = with_type(status, content_type(name), blocks(file, from, count));
        set(&mut response, header::CONTENT_LENGTH, &count.to_string());
        match wanted {
            Wanted::All => {}
            Wanted::Part { .. } => {
                let last = from + count - 1;
                set(
                    &mut response,
                    header::CONTENT_RANGE,
                    &format!("bytes {from}-{last}/{size}"),
                );
            }
            Wanted::Impossible => set(&mut response, header::CONTENT_RANGE, &format!("bytes */{size}")),
        }
        response
    };
    if is_answer {
        set(&mut response, header::ETAG, &mark.tag);
        set(
            &mut response,
            header::LAST_MODIFIED,
            &httpdate::fmt_http_date(mark.modified),
        );
        set(&mut response, header::ACCEPT_RANGES, "bytes");
        // Pages of other origins may use what lies open here, as the original lets them.
        set(&mut response, header::ACCESS_CONTROL_ALLOW_ORIGIN, "*");
        set(&mut response, header::ACCESS_CONTROL_ALLOW_METHODS, "GET");
    }
    response
}

/// By the name's ending. Files without one are text, as far as the original knows.
fn content_type(name: &str) -> &'static str {
    let base = name.rsplit('/').next().unwrap_or(name);
    match base.trim_start_matches('.').contains('.') {
        true => mime_guess::from_path(name)
            .first_raw()
            .unwrap_or("application/octet-stream"),
        false => "text/plain",
    }
}

/// The bytes of a file, a block at a time and only as fast as they are taken.
fn blocks(file: File, from: u64, count: u64) -> Body {
    Body::from_stream(stream::try_unfold(
        (Some(file), from, count),
        |(file, at, left)| async move {
            let Some(file) = file.filter(|_| left > 0) else {
                return Ok(None);
            };
            let read = tokio::task::spawn_blocking(move || read_block(file, at, left.min(BLOCK))).await;
            let (file, block) = read.map_err(io::Error::other)??;
            let taken = block.len() as u64;
            Ok::<_, io::Error>(Some((block, (Some(file), at + taken, left - taken))))
        },
    ))
}

fn read_block(mut file: File, at: u64, count: u64) -> io::Result<(File, Bytes)> {
    file.seek(SeekFrom::Start(at))?;
    let mut block = Vec::with_capacity(usize::try_from(count).unwrap_or(0));
    (&mut file).take(count).read_to_end(&mut block)?;
    if block.is_empty() {
        // It was cut short meanwhile: the promised length can't be kept, so the connection has to end.
        return Err(io::ErrorKind::UnexpectedEof.into());
    }
    Ok((file, Bytes::from(block)))
}

/// A page with nothing but its status.
fn plain(status: StatusCode) -> Response {
    with_type(status, "text/html", Body::from(status.to_string()))
}

fn with_type(status: StatusCode, kind: &'static str, body: Body) -> Response {
    let mut response = Response::new(body);
    *response.status_mut() = status;
    response
        .headers_mut()
        .insert(header::CONTENT_TYPE, HeaderValue::from_static(kind));
    response
}

fn set(response: &mut Response, name: HeaderName, value: &str) {
    if let Ok(value) = HeaderValue::from_str(value) {
        response.headers_mut().insert(name, value);
    }
}

fn text<'h>(headers: &'h HeaderMap, name: &HeaderName) -> Option<&'h str> {
    headers.get(name)?.to_str().ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use axum::body::to_bytes;
    use tower::ServiceExt as _;

    struct Site {
        dir: tempfile::TempDir,
        options: Options,
    }

    fn site(vars: &[(&str, &str)]) -> Site {
        let dir = tempfile::tempdir().unwrap();
        let root = dir.path().join("root");
        std::fs::create_dir_all(root.join("sub")).unwrap();
        std::fs::create_dir_all(root.join("bare")).unwrap();
        for (name, content) in [
            ("index.html", "home"),
            ("app.js", "script"),
            ("sub/index.html", "sub"),
            ("sub/a b.txt", "0123456789"),
            ("plain", "text"),
            ("empty.txt", ""),
        ] {
            std::fs::write(root.join(name), content).unwrap();
        }
        std::fs::write(dir.path().join("secret"), "secret").unwrap();
        std::os::unix::fs::symlink("../secret", root.join("out")).unwrap();
        let env = |name: &str| {
            vars.iter()
                .find(|(k, _)| *k == name)
                .map(|(_, v)| (*v).to_owned())
        };
        let mut options = Options::from_env(env, dir.path()).unwrap();
        options.root = root;
        Site { dir, options }
    }

    impl Site {
        async fn ask(&self, method: &str, path: &str, headers: &[(&str, &str)]) -> (u16, HeaderMap, String) {
            let mut request = Request::builder().method(method).uri(path);
            for (name, value) in headers {
                request = request.header(*name, *value);
            }
            let request = request.body(Body::empty()).unwrap();
            let response = router(self.options.clone()).oneshot(request).await.unwrap();
            let (parts, body) = response.into_parts();
            let body = to_bytes(body, 1 << 24).await.unwrap();
            (
                parts.status.as_u16(),
                parts.headers,
                String::from_utf8(body.to_vec()).unwrap(),
            )
        }

        async fn get(&self, path: &str) -> (u16, String) {
            let (status, _, body) = self.ask("GET", path, &[]).await;
            (status, body)
        }
    }

    #[tokio::test]
    async fn files_and_what_is_not_one() {
        let site = site(&[]);
        for (path, status, body) in [
            ("/", 200, "home"),
            ("/index.html", 200, "home"),
            ("/sub/a%20b.txt?x=1", 200, "0123456789"),
            ("/sub/", 200, "sub"),
            ("/sub", 301, "301 Moved Permanently"),
            ("/bare", 404, "404 Not Found"),
            ("/index.html/", 404, "404 Not Found"),
            ("/out", 403, "403 Forbidden"),
            ("/..%2fsecret", 403, "403 Forbidden"),
            ("/%ff", 400, "400 Bad Request"),
            ("/nope", 404, "404 Not Found"),
        ] {
            assert_eq!(site.get(path).await, (status, body.to_owned()), "{path}");
        }
        let (_, headers, _) = site.ask("GET", "/app.js", &[]).await;
        assert_eq!(headers[header::CONTENT_TYPE], "text/javascript");
        assert_eq!(headers[header::ACCESS_CONTROL_ALLOW_ORIGIN], "*");
        let (_, headers, _) = site.ask("GET", "/plain", &[]).await;
        assert_eq!(headers[header::CONTENT_TYPE], "text/plain");
        let (status, headers, _) = site.ask("POST", "/", &[]).await;
        assert_eq!(
            (status, headers[header::ALLOW].to_str().unwrap()),
            (405, "GET, HEAD")
        );
        std::fs::write(site.options.root.join("404.html"), "lost").unwrap();
        assert_eq!(site.get("/nope").await, (404, "lost".into()));
    }

    #[tokio::test]
    async fn parts_and_freshness() {
        let site = site(&[]);
        let path = "/sub/a%20b.txt";
        let (status, headers, body) = site.ask("GET", path, &[("range", "bytes=2-4")]).await;
        assert_eq!((status, body.as_str()), (206, "234"));
        assert_eq!(headers[header::CONTENT_RANGE], "bytes 2-4/10");
        assert_eq!(headers[header::CONTENT_LENGTH], "3");
        let tag = headers[header::ETAG].to_str().unwrap().to_owned();
        let date = headers[header::LAST_MODIFIED].to_str().unwrap().to_owned();
        let (status, headers, _) = site.ask("GET", path, &[("range", "bytes=10-")]).await;
        assert_eq!(
            (status, headers[header::CONTENT_RANGE].to_str().unwrap()),
            (416, "bytes */10")
        );
        let (status, headers, body) = site.ask("GET", path, &[("if-none-match", &tag)]).await;
        assert_eq!(
            (status, body.as_str(), headers[header::ETAG].to_str().unwrap()),
            (304, "", tag.as_str())
        );
        assert_eq!(
            site.ask("GET", path, &[("if-modified-since", &date)]).await.0,
            304
        );
        let stale = [("range", "bytes=0-1"), ("if-range", "\"other\"")];
        assert_eq!(site.ask("GET", path, &stale).await.2, "0123456789");
        let (status, headers, body) = site.ask("HEAD", path, &[]).await;
        assert_eq!(
            (
                status,
                body.as_str(),
                headers[header::CONTENT_LENGTH].to_str().unwrap()
            ),
            (200, "", "10")
        );
        let (status, headers, _) = site.ask("GET", "/empty.txt", &[]).await;
        assert_eq!(
            (status, headers[header::CONTENT_LENGTH].to_str().unwrap()),
            (200, "0")
        );
    }

    #[tokio::test]
    async fn single_page_listing_and_password() {
        let spa = site(&[("PM2_SERVE_SPA", "true")]);
        assert_eq!(spa.get("/deep/down").await, (200, "home".into()));
        assert_eq!(spa.get("/deep/down/app.js").await, (200, "script".into()));
        assert_eq!(spa.get("/deep/none.css").await, (200, "home".into()));
        let listed = site(&[("PM2_SERVE_FTP", "true")]);
        let (status, body) = listed.get("/bare/").await;
        assert!(status == 200 && body.contains("Index of /bare/"), "{body}");
        assert_eq!(listed.get("/bare").await.0, 301);
        let closed = site(&[
            ("PM2_SERVE_BASIC_AUTH", "true"),
            ("PM2_SERVE_BASIC_AUTH_USERNAME", "u"),
            ("PM2_SERVE_BASIC_AUTH_PASSWORD", "p"),
        ]);
        let (status, headers, _) = closed.ask("GET", "/", &[]).await;
        assert!(status == 401 && headers.contains_key(header::WWW_AUTHENTICATE));
        assert_eq!(
            closed.ask("GET", "/", &[("authorization", "Basic dTpw")]).await.0,
            200
        );
        drop(closed.dir);
    }

    #[tokio::test]
    async fn a_large_file_comes_whole_and_a_cut_one_is_no_success() {
        let site = site(&[]);
        let path = site.options.root.join("large.bin");
        let content: String = (0..100_000).map(|n| format!("{n:07}\n")).collect();
        std::fs::write(&path, &content).unwrap();
        assert_eq!(site.get("/large.bin").await, (200, content));
        let request = Request::builder().uri("/large.bin").body(Body::empty()).unwrap();
        let response = router(site.options.clone()).oneshot(request).await.unwrap();
        std::fs::write(&path, "short").unwrap();
        assert!(to_bytes(response.into_body(), 1 << 24).await.is_err());
    }
}
