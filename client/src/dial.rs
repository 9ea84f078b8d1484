//! Connections to nodes, as every part of the client makes them.

use std::error::Error;

use larder_proto::{
    limits,
    schema::{cluster_client::ClusterClient, data_client::DataClient},
};
use tonic::transport::{Channel, Endpoint};

use crate::{
    limits::{CONNECTION_WINDOW_BYTES, FRAME_BYTES_MAX, STREAM_WINDOW_BYTES},
    options::Options,
};

/// What is needed to connect to `host:port`.
pub(crate) fn endpoint(
    address: &str,
    options: &Options,
) -> Result<Endpoint, tonic::transport::Error> {
    Ok(Endpoint::from_shared(format!("http://{address}"))?
        .connect_timeout(options.connect_timeout)
        .tcp_nodelay(true)
        .initial_stream_window_size(STREAM_WINDOW_BYTES)
        .initial_connection_window_size(CONNECTION_WINDOW_BYTES)
        .max_frame_size(FRAME_BYTES_MAX)
        .http2_keep_alive_interval(options.keep_alive_interval)
        .keep_alive_timeout(options.keep_alive_timeout)
        .keep_alive_while_idle(true))
}

/// The data service over a connection.
pub(crate) fn data(channel: Channel) -> DataClient<Channel> {
    DataClient::new(channel)
        .max_decoding_message_size(limits::MESSAGE_BYTES_MAX)
        .max_encoding_message_size(limits::MESSAGE_BYTES_MAX)
}

/// The cluster service over a connection.
pub(crate) fn cluster(channel: Channel) -> ClusterClient<Channel> {
    ClusterClient::new(channel)
}

/// An error and its sources in one line. tonic's own text says no more than "transport error".
pub(crate) fn describe(error: &dyn Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(error) = source {
        let cause = error.to_string();
        if !text.ends_with(&cause) {
            text = format!("{text}: {cause}");
        }
        source = error.source();
    }
    text
}
