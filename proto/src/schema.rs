//! Code generated from `schema/larder.proto`: messages, gRPC clients and servers.
#![allow(missing_docs, unreachable_pub, clippy::all, clippy::pedantic)]

tonic::include_proto!("larder.v1");

/// Metadata with which a caller says which cluster it means. A node of another refuses the call.
pub const CLUSTER_METADATA: &str = "larder-cluster";

/// The compiled schema, for the gRPC reflection service.
pub const DESCRIPTORS: &[u8] = include_bytes!(concat!(env!("OUT_DIR"), "/larder.bin"));
