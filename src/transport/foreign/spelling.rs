//! The spelling of a host, for inner clients that would read `0x7f.1` as a name.

use std::net::IpAddr;

use http::Uri;
use http::uri::InvalidUri;

use crate::error::Error;
use crate::transport::target::Dial;

/// Returns whether a URI's host is written as the client reads it.
pub(super) fn is_canonical(uri: &Uri, dial: &Dial) -> bool {
    let host = uri.host().unwrap_or_default();
    match dial {
        Dial::Name(name) => host.eq_ignore_ascii_case(name),
        Dial::Address(address) => {
            let bare = host.strip_prefix('[').and_then(|h| h.strip_suffix(']'));
            bare.unwrap_or(host).parse() == Ok(*address)
        }
    }
}

/// Writes a URI's host in the form that is dialed.
pub(super) fn canonicalize(uri: &mut Uri, dial: &Dial) -> Result<(), Error> {
    if is_canonical(uri, dial) {
        return Ok(());
    }
    let host = match dial {
        Dial::Name(name) => name.clone(),
        Dial::Address(IpAddr::V4(address)) => address.to_string(),
        Dial::Address(IpAddr::V6(address)) => format!("[{address}]"),
    };
    let mut parts = uri.clone().into_parts();
    let written = parts.authority.as_ref().map_or("", |whole| whole.as_str());
    let userinfo = written.rsplit_once('@').map(|(userinfo, _)| userinfo);
    let userinfo = userinfo.map_or_else(String::new, |userinfo| format!("{userinfo}@"));
    let port = uri
        .port()
        .map_or_else(String::new, |port| format!(":{port}"));
    let authority = format!("{userinfo}{host}{port}").parse();
    parts.authority = Some(authority.map_err(|error: InvalidUri| Error::invalid().because(error))?);
    *uri = Uri::from_parts(parts).map_err(|error| Error::invalid().because(error))?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::transport::target::host;

    #[test]
    fn uri_is_written_with_the_dialed_address() {
        for (uri, written) in [
            ("http://api.test/v1?a=b", "http://api.test/v1?a=b"),
            ("http://API.test/", "http://API.test/"),
            ("http://0x7f.1:8080/v1?a=b", "http://127.0.0.1:8080/v1?a=b"),
            ("http://user:pw@127.1/", "http://user:pw@127.0.0.1/"),
            ("http://127.0.0.1./", "http://127.0.0.1/"),
            ("http://[::1]:80/", "http://[::1]:80/"),
            ("foo://2130706433:80/", "foo://127.0.0.1:80/"),
        ] {
            let mut uri: Uri = uri.parse().unwrap();
            let url = uri.to_string().parse().unwrap();
            canonicalize(&mut uri, &host(&url).unwrap()).unwrap();
            assert_eq!(uri.to_string(), written);
        }
    }
}
