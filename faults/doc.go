// Package faults holds the fault suite: it runs the built program with its event store and its Postgres as processes of
// their own, breaks them and the connections between them at random, and compares what clients were answered with what
// is there in the end. docs/reliability.md says what is promised; `make faults` runs it for as long as one likes. It
// needs Linux.
package faults
