//! The ports that the server listens on, and the endpoints that it calls: connected to, with a TLS handshake at most.

use std::{io, net::SocketAddr, path::Path, sync::Arc};

use futures::future::join_all;
use rustls::{ClientConfig, RootCertStore, pki_types::ServerName};
use rustls_platform_verifier::BuilderVerifierExt as _;
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::{TcpListener, TcpStream},
    time::timeout,
};
use tokio_rustls::TlsConnector;

use super::{Findings, REACH_MAX};
use crate::{
    config::{Config, OpenTelemetry, Secret},
    error::with_causes,
    reload::{pem, read_once},
};

/// The response to a probe has some hundred bytes.
const PROBE_BYTES_MAX: u64 = 4096;

/// Whether the two ports are free, or used by a userdata server.
pub(super) async fn listeners(config: &Config, found: &mut Findings) {
    let probes = config.metrics.listen;
    for (check, setting, address) in
        [("listener", "server.listen", config.server.listen), ("metrics listener", "metrics.listen", probes)]
    {
        match TcpListener::bind(address).await {
            Ok(_) => found.ok(check, format!("{address} is free")),
            Err(error) if error.kind() == io::ErrorKind::AddrInUse => match readiness(probes).await.as_deref() {
                Some("ready") => found.ok(check, format!("{address} is taken; a userdata server runs and is ready")),
                Some("not ready") => found.warn(
                    check,
                    format!("{address} is taken; a userdata server runs and is not ready"),
                    "see the findings about the cache database; it serves as soon as that can be read",
                ),
                _ => found.fail(
                    check,
                    format!("{address} is taken, and no userdata server answers on {probes}"),
                    format!("end what listens there (ss -ltnp), or change {setting}"),
                ),
            },
            Err(error) => found.fail(check, format!("{address}: {error}"), format!("correct {setting}")),
        }
    }
}

/// The response of `/readyz`.
async fn readiness(address: SocketAddr) -> Option<String> {
    let asked = async {
        let mut stream = TcpStream::connect(address).await?;
        let request = format!("GET /readyz HTTP/1.1\r\nHost: {address}\r\nConnection: close\r\n\r\n");
        stream.write_all(request.as_bytes()).await?;
        let mut reply = String::new();
        stream.take(PROBE_BYTES_MAX).read_to_string(&mut reply).await?;
        io::Result::Ok(reply)
    };
    let reply = timeout(REACH_MAX, asked).await.ok()?.ok()?;
    reply.split_once("\r\n\r\n").map(|(_, body)| body.trim().to_owned())
}

pub(super) async fn collectors(telemetry: &OpenTelemetry, found: &mut Findings) {
    if telemetry.collectors.is_empty() {
        return found.ok("collector", "not configured (OTEL_EXPORTER_OTLP_ENDPOINT): nothing is sent");
    }
    let reached = join_all(telemetry.collectors.iter().map(|url| reach(url, telemetry.authority.as_deref()))).await;
    for (url, reached) in telemetry.collectors.iter().zip(reached) {
        // It may hold a password.
        let url = Secret::new(url).place();
        match reached {
            Ok(()) => found.ok("collector", format!("{url} can be reached")),
            Err(error) => found.warn(
                "collector",
                format!("{url} cannot be reached: {error}"),
                "start it or correct OTEL_EXPORTER_OTLP_ENDPOINT: what cannot be sent is dropped",
            ),
        }
    }
}

/// Connects, with a TLS handshake for https. `authority`: a file of trusted CAs instead of those of this machine.
pub(super) async fn reach(url: &str, authority: Option<&Path>) -> Result<(), String> {
    let uri: http::Uri = url.parse().map_err(|_| "it is no URL".to_owned())?;
    let host = uri.host().ok_or("it has no host")?.trim_matches(['[', ']']);
    let encrypted = uri.scheme_str() == Some("https");
    let port = uri.port_u16().unwrap_or(if encrypted { 443 } else { 80 });
    let greeted = async {
        let stream = TcpStream::connect((host, port)).await.map_err(|error| error.to_string())?;
        if encrypted {
            let name = ServerName::try_from(host.to_owned()).map_err(|error| error.to_string())?;
            tls(authority).await?.connect(name, stream).await.map_err(|error| error.to_string())?;
        }
        Ok(())
    };
    timeout(REACH_MAX, greeted).await.unwrap_or_else(|_| Err(format!("no answer within {REACH_MAX:?}")))
}

/// Trusts the same CAs as later calls.
async fn tls(authority: Option<&Path>) -> Result<TlsConnector, String> {
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let builder = ClientConfig::builder_with_provider(provider).with_safe_default_protocol_versions();
    let builder = builder.map_err(|error| error.to_string())?;
    let builder = match authority {
        Some(file) => builder.with_root_certificates(roots(file).await?),
        None => builder.with_platform_verifier().map_err(|error| error.to_string())?,
    };
    Ok(TlsConnector::from(Arc::new(builder.with_no_client_auth())))
}

async fn roots(file: &Path) -> Result<RootCertStore, String> {
    let pem = read_once(file).await.map_err(|error| with_causes(&error))?;
    pem::roots(&pem).map_err(|error| format!("{}: {error}", file.display()))
}
