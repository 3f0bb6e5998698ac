package node

import (
	"bytes"
	"encoding/json"
	"errors"
	"time"
)

// bounds are what the metadata of a stream leave visible of it. The events stay in the log, and
// $all shows them.
type bounds struct {
	first     uint64 // revision of the first event that may be visible
	notBefore int64  // created, in 100 ns ticks; events before it are hidden
}

func (b bounds) hides(created int64) bool { return created < b.notBefore }

// streamMetadata are the system properties that hide events, see "Stream metadata" in
// EventStoreDB's documentation.
type streamMetadata struct {
	MaxCount       *int64 `json:"$maxCount"`
	MaxAge         *int64 `json:"$maxAge"` // seconds
	TruncateBefore *int64 `json:"$tb"`
}

// visible returns the bounds of a stream whose last event has this revision.
func (n *Node) visible(stream []byte, last uint64, upTo uint64) (bounds, error) {
	if bytes.HasPrefix(stream, []byte("$$")) {
		// EventStoreDB shows the last event only of a metadata stream, and the client counts on it.
		return bounds{first: last}, nil
	}
	metadata, err := n.streamMetadata(stream, upTo)
	if err != nil {
		return bounds{}, err
	}
	var b bounds
	if metadata.MaxCount != nil && uint64(*metadata.MaxCount) <= last {
		b.first = last - uint64(*metadata.MaxCount) + 1
	}
	if metadata.TruncateBefore != nil {
		b.first = max(b.first, uint64(*metadata.TruncateBefore))
	}
	if metadata.MaxAge != nil {
		seconds := min(*metadata.MaxAge, maxAgeLimit)
		b.notBefore = time.Now().Add(-time.Duration(seconds)*time.Second).UnixNano() / 100
	}
	return b, nil
}

// maxAgeLimit keeps $maxAge within a time.Duration: 200 years.
const maxAgeLimit = 200 * 365 * 24 * 3600

// streamMetadata returns the metadata in force. Metadata that aren't valid hide nothing.
func (n *Node) streamMetadata(stream []byte, upTo uint64) (streamMetadata, error) {
	name := append([]byte("$$"), stream...)
	last, found, err := n.lastRevision(name, upTo)
	if err != nil || !found {
		return streamMetadata{}, err
	}
	position, err := n.positionOf(name, last)
	if err != nil {
		return streamMetadata{}, err
	}
	value, closer, err := n.db.Get(logKey(position))
	if err != nil {
		return streamMetadata{}, err
	}
	stored, err := parseRecord(value)
	if err != nil {
		return streamMetadata{}, errors.Join(err, closer.Close())
	}
	data, err := stored.eventData()
	if err := errors.Join(err, closer.Close()); err != nil {
		return streamMetadata{}, err
	}
	var metadata streamMetadata
	if json.Unmarshal(data, &metadata) != nil || !metadata.valid() {
		return streamMetadata{}, nil //nolint:nilerr // see above
	}
	return metadata, nil
}

func (m streamMetadata) valid() bool {
	return (m.MaxCount == nil || *m.MaxCount > 0) &&
		(m.MaxAge == nil || *m.MaxAge > 0) &&
		(m.TruncateBefore == nil || *m.TruncateBefore >= 0)
}
