//! Multi-host tests: hosts made of namespaces, real daemons, real packets.
//!
//! A [`cloud::Cloud`] is an underlay network with a controld, any number of hosts and a client
//! outside, each of them a [`node::Node`]: its own network, mounts, processes and host name. A
//! host runs its own dockerd, libvirtd and agentd in their default places, so agentd is tested with
//! the settings that people run it with.
//!
//! Owns: processes and namespaces of its nodes, one folder under the system's temporary folder.
//! All of it is gone when the cloud is dropped, also after a panic or a kill of the test. Leaves
//! alone: Docker, libvirt and the network of the machine it runs on.

pub mod capture;
pub mod cloud;
pub mod docker;
pub mod echo;
pub mod guest;
pub mod host;
pub mod images;
pub mod libvirt;
pub mod node;
pub mod patience;
pub mod process;
pub mod programs;
pub mod rest;
pub mod traces;
pub mod underlay;
pub mod witness;
