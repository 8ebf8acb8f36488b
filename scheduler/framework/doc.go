// Package framework is the vocabulary of scheduling: pods and nodes with
// everything that placing needs computed once, immutable snapshots of a
// cluster, verdicts, and the interfaces a plugin implements.
//
// It knows no queue, no client and no clock. All its values are plain data;
// NodeInfo and PodInfo are immutable once they are part of a Snapshot.
package framework
