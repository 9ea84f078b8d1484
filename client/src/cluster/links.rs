//! The connections to every node of one topology.

use std::sync::{Arc, OnceLock};

use arc_swap::ArcSwapOption;
use larder_proto::topology::{Node, Topology};
use parking_lot::Mutex;

use crate::{dial, options::Options, pipe::Pipe};

/// A topology and a link to each of its nodes. Links to nodes that stay are carried from one topology to the next.
#[derive(Debug)]
pub(super) struct Links {
    topology: Arc<Topology>,
    /// In the order of [`Topology::nodes`].
    nodes: Vec<Arc<Link>>,
}

/// The connections to one incarnation of a node.
#[derive(Debug)]
struct Link {
    node: Node,
    pipes: Box<[ArcSwapOption<Pipe>]>,
    /// Held while a pipe is opened, so that there is only one.
    opening: Mutex<()>,
    /// For unary calls. Opened when first needed.
    data: OnceLock<dial::Data>,
}

impl Links {
    pub(super) fn new(topology: Arc<Topology>, options: &Options) -> Links {
        let nodes = topology
            .nodes
            .iter()
            .map(|node| Arc::new(Link::new(node, options)))
            .collect();
        Links { topology, nodes }.routed()
    }

    /// The links of a newer topology.
    pub(super) fn next(&self, topology: Arc<Topology>, options: &Options) -> Links {
        let nodes = topology
            .nodes
            .iter()
            .map(|node| match self.link(node) {
                Some(link) => Arc::clone(link),
                None => Arc::new(Link::new(node, options)),
            })
            .collect();
        Links { topology, nodes }.routed()
    }

    pub(super) fn topology(&self) -> &Arc<Topology> {
        &self.topology
    }

    /// The index here of a node of another topology.
    pub(super) fn find(&self, topology: &Arc<Topology>, node: usize) -> Option<usize> {
        if Arc::ptr_eq(topology, &self.topology) {
            return Some(node);
        }
        let node = &topology.nodes[node];
        self.nodes.iter().position(|link| link.is_to(node))
    }

    /// One of the pipes to a node; the same one for the same `choice`.
    pub(super) fn pipe(&self, node: usize, choice: usize, options: &Options) -> Arc<Pipe> {
        let link = &self.nodes[node];
        if link.node.grpc.is_empty() {
            return Arc::new(Pipe::closed("", "nobody knows the node's address"));
        }
        let place = &link.pipes[choice % link.pipes.len()];
        match open(place) {
            Some(pipe) => pipe,
            None => self.open(node, place, options),
        }
    }

    #[cold]
    fn open(&self, node: usize, place: &ArcSwapOption<Pipe>, options: &Options) -> Arc<Pipe> {
        let link = &self.nodes[node];
        let _opening = link.opening.lock();
        if let Some(pipe) = open(place) {
            return pipe;
        }
        let pipe = Arc::new(Pipe::open(&link.node.grpc, options));
        pipe.set_route(self.topology.epoch, self.term(node));
        place.store(Some(Arc::clone(&pipe)));
        pipe
    }

    /// For unary calls to a node.
    pub(super) fn data(&self, node: usize, options: &Options) -> Result<dial::Data, String> {
        let link = &self.nodes[node];
        if let Some(data) = link.data.get() {
            return Ok(data.clone());
        }
        if link.node.grpc.is_empty() {
            return Err("nobody knows the node's address".into());
        }
        let data = dial::data(dial::connect_lazy(&link.node.grpc, options)?);
        Ok(link.data.get_or_init(|| data).clone())
    }

    /// Tells the pipes that are carried over the epoch and the terms of this topology.
    fn routed(self) -> Links {
        for (node, link) in self.nodes.iter().enumerate() {
            for pipe in link.pipes.iter().filter_map(|pipe| pipe.load_full()) {
                pipe.set_route(self.topology.epoch, self.term(node));
            }
        }
        self
    }

    /// The term of the shard that a node is a member of; 0 if of none.
    fn term(&self, node: usize) -> u64 {
        let shard = self.topology.shard_of(node);
        shard.map_or(0, |shard| self.topology.shards[shard].term)
    }

    fn link(&self, node: &Node) -> Option<&Arc<Link>> {
        self.nodes.iter().find(|link| link.is_to(node))
    }
}

impl Link {
    fn new(node: &Node, options: &Options) -> Link {
        let pipes = options.pipes_per_node.max(1);
        Link {
            node: node.clone(),
            pipes: (0..pipes).map(|_| ArcSwapOption::empty()).collect(),
            opening: Mutex::new(()),
            data: OnceLock::new(),
        }
    }

    fn is_to(&self, node: &Node) -> bool {
        self.node.grpc == node.grpc && self.node.incarnation == node.incarnation
    }
}

fn open(place: &ArcSwapOption<Pipe>) -> Option<Arc<Pipe>> {
    place.load_full().filter(|pipe| !pipe.is_closed())
}
