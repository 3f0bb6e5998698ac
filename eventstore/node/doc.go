// Package node is an embedded event store: a single node that speaks EventStoreDB's gRPC protocol
// and keeps its log on the local disk. A client for EventStoreDB, such as
// github.com/EventStore/EventStore-Client-Go/v4, works against it as against EventStoreDB 24.10.
//
// An append is answered after its events are on the disk (fsync). Appends that arrive while the
// disk is busy are committed together with one fsync. What was acknowledged survives kill -9 and
// loss of power; a tail of the log that was only half written is cut off at the next start.
//
// Commit and prepare position of an event are the same number. Positions start above 0, rise
// strictly and are never used again. They have gaps on EventStoreDB, so nobody should count with them.
//
// # What it leaves out
//
//   - Deleting: Delete and Tombstone are refused with PermissionDenied. Stream metadata ($maxCount,
//     $maxAge, $tb) hide events from reads of the stream, as they do on EventStoreDB, but the log
//     and $all keep them: there is no scavenging. A $tb of 2^63-1, which EventStoreDB takes for a
//     deleted stream, hides all events and does nothing else.
//   - Persistent subscriptions, projections, users, operations and monitoring: these services
//     answer Unimplemented. BatchAppend too; it isn't announced, so clients use Append.
//   - Links: link events ("$>") are events like others, resolve_links does nothing.
//   - Access control lists: stream metadata may hold them, nobody is held to them. There is one user.
//   - Clustering: gossip shows one leader.
//   - System events and streams: $all holds what was appended and nothing else, no $stats, $users,
//     $settings, $by_category.
//   - HTTP and AtomPub, and the web interface.
//   - Regular expressions in filters are RE2, without .NET's lookaround and backreferences.
//   - The compatibility levels of reads (control_option): first and last positions of a stream or
//     of $all are never sent, as the Go client panics on them.
//   - Stream names longer than 65,536 bytes.
package node
