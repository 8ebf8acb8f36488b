// Package podnetwork is the network that pods get when nobody installs another:
// on each node a bridge with the node's pod CIDR behind it, and a route to every
// other node's pod CIDR by that node's address. All nodes are on one layer 2.
//
// It writes the CNI configuration that the container runtime reads, owns the
// routes with its own protocol number, one nftables table, and the kernel
// settings that bridged service traffic needs. It runs no CNI plugin itself and
// knows nothing of services. It acts in the network namespace of its process.
package podnetwork
