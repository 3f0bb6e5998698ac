package node

import (
	"bytes"
	"encoding/binary"

	"github.com/google/uuid"
)

// The keys of the store. All integers are big endian, so that keys sort by number.
//
//	f                             -> format of the store, 8 bytes
//	l | position                  -> record (see record.go)
//	s | stream | revision         -> position, 8 bytes
//	h | stream                    -> last revision, its position, 16 bytes
//	i | stream | event id         -> last revision that has this id, 8 bytes
const (
	keyFormat      = 'f'
	keyLog         = 'l'
	keyStreamEvent = 's'
	keyStreamHead  = 'h'
	keyEventID     = 'i'
)

// storeFormat is the layout that this code reads and writes.
const storeFormat = 1

// appendStream appends a stream name so that keys sort by name and no name is the prefix of
// another: a zero byte becomes 00 FF, the end is 00 01.
func appendStream(key, stream []byte) []byte {
	for {
		zero := bytes.IndexByte(stream, 0)
		if zero < 0 {
			key = append(key, stream...)
			return append(key, 0x00, 0x01)
		}
		key = append(key, stream[:zero]...)
		key = append(key, 0x00, 0xff)
		stream = stream[zero+1:]
	}
}

func logKey(position uint64) []byte {
	return binary.BigEndian.AppendUint64([]byte{keyLog}, position)
}

// streamPrefix is common to the keys of all events of a stream.
func streamPrefix(stream []byte) []byte {
	return appendStream(append(make([]byte, 0, len(stream)+11), keyStreamEvent), stream)
}

func streamEventKey(stream []byte, revision uint64) []byte {
	return binary.BigEndian.AppendUint64(streamPrefix(stream), revision)
}

func streamHeadKey(stream []byte) []byte {
	return appendStream(append(make([]byte, 0, len(stream)+3), keyStreamHead), stream)
}

func eventIDKey(stream []byte, id uuid.UUID) []byte {
	key := appendStream(append(make([]byte, 0, len(stream)+19), keyEventID), stream)
	return append(key, id[:]...)
}

// prefixEnd is the smallest key greater than every key with this prefix. Our prefixes never end in FF.
func prefixEnd(prefix []byte) []byte {
	end := bytes.Clone(prefix)
	end[len(end)-1]++
	return end
}
