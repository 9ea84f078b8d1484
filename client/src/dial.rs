//! Connections to nodes, as every part of the client makes them.

use std::error::Error;

use larder_proto::{
    limits,
    schema::{CLUSTER_METADATA, cluster_client::ClusterClient, data_client::DataClient},
};
use tonic::{
    Request, Status,
    metadata::{Ascii, MetadataValue},
    service::{Interceptor, interceptor::InterceptedService},
    transport::{Channel, Endpoint},
};

use crate::{
    limits::{CONNECTION_WINDOW_BYTES, FRAME_BYTES_MAX, STREAM_WINDOW_BYTES},
    options::Options,
};

/// The data service of a node.
pub(crate) type Data = DataClient<Connection>;

/// The cluster service of a node.
pub(crate) type Cluster = ClusterClient<Connection>;

type Connection = InterceptedService<Channel, Introduction>;

/// Says with every call the password, and which cluster is meant, as far as there is something to say.
#[derive(Clone, Debug)]
pub(crate) struct Introduction {
    password: Option<MetadataValue<Ascii>>,
    cluster: Option<MetadataValue<Ascii>>,
}

impl Interceptor for Introduction {
    fn call(&mut self, mut request: Request<()>) -> Result<Request<()>, Status> {
        let metadata = request.metadata_mut();
        if let Some(password) = &self.password {
            metadata.insert("authorization", password.clone());
        }
        if let Some(cluster) = &self.cluster {
            metadata.insert(CLUSTER_METADATA, cluster.clone());
        }
        Ok(request)
    }
}

/// Connects to `host:port`.
pub(crate) async fn connect(address: &str, options: &Options) -> Result<Connection, String> {
    let channel = endpoint(address, options)?.connect().await;
    let channel = channel.map_err(|error| describe(&error))?;
    connection(channel, options)
}

/// A connection to `host:port` that is made when it is needed.
pub(crate) fn connect_lazy(address: &str, options: &Options) -> Result<Connection, String> {
    connection(endpoint(address, options)?.connect_lazy(), options)
}

fn connection(channel: Channel, options: &Options) -> Result<Connection, String> {
    let said = |text: &str, before: &str, what: &str| match text {
        "" => Ok(None),
        text => match format!("{before}{text}").parse() {
            Ok(value) => Ok(Some(value)),
            Err(_) => Err(format!("the {what} is not printable ASCII")),
        },
    };
    let introduction = Introduction {
        password: said(&options.password, "Bearer ", "password")?,
        cluster: said(&options.cluster, "", "cluster's name")?,
    };
    Ok(InterceptedService::new(channel, introduction))
}

fn endpoint(address: &str, options: &Options) -> Result<Endpoint, String> {
    let endpoint = Endpoint::from_shared(format!("http://{address}"));
    Ok(endpoint
        .map_err(|error| describe(&error))?
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
pub(crate) fn data(connection: Connection) -> Data {
    DataClient::new(connection)
        .max_decoding_message_size(limits::MESSAGE_BYTES_MAX)
        .max_encoding_message_size(limits::MESSAGE_BYTES_MAX)
}

/// The cluster service over a connection.
pub(crate) fn cluster(connection: Connection) -> Cluster {
    ClusterClient::new(connection)
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
