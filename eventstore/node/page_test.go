package node

import (
	"bytes"
	"errors"
	"io"
	"strconv"
	"testing"

	"github.com/EventStore/EventStore-Client-Go/v4/esdb"
	"github.com/google/uuid"
	"golang.org/x/sync/errgroup"
)

// filled is the content of event i, which no other event has.
func filled(i uint64) []byte {
	return bytes.Repeat([]byte(strconv.FormatUint(i, 10)+","), int(1+i*31%600))
}

// The memory of a page is used again as soon as gRPC has sent it: of many readers, some of whom go away in the middle,
// each must get what was appended. Under -race, memory that is used again too early is seen even where the content
// happens to be right.
func TestPagesAreNotUsedAgainTooEarly(t *testing.T) {
	t.Parallel()
	n := openNode(t, t.TempDir())
	const events = 2000
	for at := uint64(0); at < events; at += 100 {
		request := &appendRequest{ctx: t.Context(), stream: []byte("test-1"), expected: expectAny}
		for i := at; i < at+100; i++ {
			request.events = append(request.events,
				newProposal(request.stream, uuid.New(), "test.filled", false, []byte("{}"), filled(i)))
		}
		_, err := n.append(request)
		if err != nil {
			t.Fatal(err)
		}
	}
	socket := serveUnix(t, n)
	clients := []*esdb.Client{unixClient(t, socket), unixClient(t, socket)}

	read := func(reader *esdb.ReadStream, err error, most int) error {
		if err != nil {
			return err
		}
		defer reader.Close()
		for range most {
			event, err := reader.Recv()
			if errors.Is(err, io.EOF) {
				break
			}
			if err != nil {
				return err
			}
			if want := filled(event.Event.EventNumber); !bytes.Equal(event.Event.Data, want) {
				return errors.New("event " + strconv.FormatUint(event.Event.EventNumber, 10) +
					" has the content of another one")
			}
		}
		return nil
	}
	var readers errgroup.Group
	for i, client := range append(clients, clients...) {
		readers.Go(func() error {
			for turn := range 4 {
				forwards, err := client.ReadAll(t.Context(), esdb.ReadAllOptions{}, 2*events)
				if err := read(forwards, err, 2*events); err != nil {
					return err
				}
				backwards, err := client.ReadAll(t.Context(),
					esdb.ReadAllOptions{From: esdb.End{}, Direction: esdb.Backwards}, 2*events)
				if err := read(backwards, err, 100*i+turn); err != nil { // and gone
					return err
				}
				stream, err := client.ReadStream(t.Context(), "test-1", esdb.ReadStreamOptions{From: esdb.Start{}},
					events)
				if err := read(stream, err, events); err != nil {
					return err
				}
			}
			return nil
		})
	}
	if err := readers.Wait(); err != nil {
		t.Fatal(err)
	}
}
