// Package nftables puts the rules of package model into the kernel, in one
// table named kube-proxy for each IP family, through the nft program.
//
// What one rule of the model contributes (chains, sets, map elements) is
// computed by a pure function; the table compares that with what it installed
// before and sends the difference as one transaction, so a change touches
// nothing of other services. It acts in the network namespace of the calling
// OS thread.
package nftables
