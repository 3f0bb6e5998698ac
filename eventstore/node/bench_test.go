package node

import (
	"context"
	"encoding/binary"
	"errors"
	"io"
	"log/slog"
	"net"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/EventStore/EventStore-Client-Go/v4/esdb"
	"github.com/EventStore/EventStore-Client-Go/v4/protos/serverfeatures"
	api "github.com/EventStore/EventStore-Client-Go/v4/protos/streams"
	"github.com/cockroachdb/pebble/v2"
	"github.com/google/uuid"
	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/encoding"
	protocodec "google.golang.org/grpc/encoding/proto"
	"google.golang.org/grpc/mem"
	"google.golang.org/protobuf/proto"
)

// Events of the size SecBoard writes.
var (
	benchData     = make([]byte, 366)
	benchMetadata = make([]byte, 205)
)

// BenchmarkAppend appends single events through client and Unix socket. x_fsync is the rate of
// appends over the rate at which the same disk syncs writes of the same size, one after another.
func BenchmarkAppend(b *testing.B) {
	for _, writers := range []struct {
		name  string
		count int
	}{{"1", 1}, {"16", 16}, {"128", 128}} {
		b.Run("writers="+writers.name, func(b *testing.B) {
			dir := b.TempDir()
			client := unixClient(b, serveUnix(b, openNode(b, filepath.Join(dir, "store"))))
			limit := fsyncRate(b, dir)
			b.ResetTimer()
			var next atomic.Int64
			var running sync.WaitGroup
			for range writers.count {
				running.Go(func() {
					stream := uuid.NewString()
					event := esdb.EventData{
						EventType: "user.renamed", ContentType: esdb.ContentTypeJson, Data: benchData,
						Metadata: benchMetadata,
					}
					expected := esdb.ExpectedRevision(esdb.NoStream{})
					for next.Add(1) <= int64(b.N) {
						event.EventID = uuid.New()
						result, err := client.AppendToStream(context.Background(), stream,
							esdb.AppendToStreamOptions{ExpectedRevision: expected}, event)
						if err != nil {
							b.Error(err)
							return
						}
						expected = esdb.Revision(result.NextExpectedVersion)
					}
				})
			}
			running.Wait()
			b.StopTimer()
			rate := float64(b.N) / b.Elapsed().Seconds()
			limit = (limit + fsyncRate(b, dir)) / 2
			b.ReportMetric(rate, "appends/s")
			b.ReportMetric(limit, "fsyncs/s")
			b.ReportMetric(rate/limit, "x_fsync")
		})
	}
}

// fsyncRate overwrites a file that is there already, the fastest that a log can do.
func fsyncRate(b *testing.B, dir string) float64 {
	b.Helper()
	file, err := os.Create(filepath.Join(dir, "fsync"))
	if err != nil {
		b.Fatal(err)
	}
	defer func() {
		if err := file.Close(); err != nil {
			b.Fatal(err)
		}
	}()
	_, err = file.Write(make([]byte, 4<<20))
	if err != nil {
		b.Fatal(err)
	}
	if err := file.Sync(); err != nil {
		b.Fatal(err)
	}
	record := make([]byte, len(benchData)+len(benchMetadata)+200)
	count, start := 0, time.Now()
	for time.Since(start) < 500*time.Millisecond {
		_, err := file.WriteAt(record, int64(count*len(record))%(4<<20-4096))
		if err != nil {
			b.Fatal(err)
		}
		if err := file.Sync(); err != nil {
			b.Fatal(err)
		}
		count++
	}
	return float64(count) / time.Since(start).Seconds()
}

const benchEvents = 50_000

// BenchmarkReadAll reads $all from the node and from a straightforward server in turns, and
// reports the ratio of their rates: through the client, and through a connection that takes
// messages without decoding them, which shows the servers alone.
func BenchmarkReadAll(b *testing.B) {
	n := openNode(b, b.TempDir())
	plain := openPlainServer(b)
	ids := make([]uuid.UUID, 1000)
	for range benchEvents / len(ids) {
		request := &appendRequest{ctx: b.Context(), stream: []byte(uuid.NewString()), expected: expectNoStream}
		for range ids {
			request.events = append(request.events,
				newProposal(request.stream, uuid.New(), "user.renamed", true, benchMetadata, benchData))
		}
		_, err := n.append(request)
		if err != nil {
			b.Fatal(err)
		}
	}
	eachKey(b, n, keyLog, plain.store)
	if err := n.db.Flush(); err != nil {
		b.Fatal(err)
	}
	if err := plain.db.Flush(); err != nil {
		b.Fatal(err)
	}
	ours, theirs := serveUnix(b, n), plain.serve(b)

	for _, reader := range []struct {
		name string
		read func(b *testing.B, socket string) (time.Duration, int)
	}{{"client", readAllByClient}, {"undecoded", readAllUndecoded}} {
		b.Run(reader.name, func(b *testing.B) {
			var node, straightforward []time.Duration
			for b.Loop() {
				for socket, times := range map[string]*[]time.Duration{ours: &node, theirs: &straightforward} {
					took, events := reader.read(b, socket)
					if events != benchEvents {
						b.Fatalf("events = %v, want %v", events, benchEvents)
					}
					*times = append(*times, took)
				}
			}
			b.ReportMetric(benchEvents/median(node).Seconds(), "events/s")
			b.ReportMetric(benchEvents/median(straightforward).Seconds(), "straightforward_events/s")
			b.ReportMetric(median(straightforward).Seconds()/median(node).Seconds(), "x_straightforward")
		})
	}
}

// median is less troubled by what else the machine does than the mean.
func median(times []time.Duration) time.Duration {
	slices.Sort(times)
	return times[len(times)/2]
}

func readAllByClient(b *testing.B, socket string) (time.Duration, int) {
	client := unixClient(b, socket)
	start, events := time.Now(), 0
	reader, err := client.ReadAll(b.Context(), esdb.ReadAllOptions{}, benchEvents*2)
	if err != nil {
		b.Fatal(err)
	}
	defer reader.Close()
	for {
		if _, err := reader.Recv(); errors.Is(err, io.EOF) {
			return time.Since(start), events
		} else if err != nil {
			b.Fatal(err)
		}
		events++
	}
}

// discardCodec drops what is received.
type discardCodec struct{ encoding.CodecV2 }

func (discardCodec) Unmarshal(mem.BufferSlice, any) error { return nil }

func readAllUndecoded(b *testing.B, socket string) (time.Duration, int) {
	connection, err := grpc.NewClient("unix:"+socket, grpc.WithTransportCredentials(insecure.NewCredentials()),
		grpc.WithDefaultCallOptions(grpc.ForceCodecV2(discardCodec{encoding.GetCodecV2(protocodec.Name)})))
	if err != nil {
		b.Fatal(err)
	}
	defer func() {
		if err := connection.Close(); err != nil {
			b.Fatal(err)
		}
	}()
	request := subscribeRequest()
	request.Options.CountOption = &api.ReadReq_Options_Count{Count: benchEvents * 2}
	start, events := time.Now(), 0
	call, err := api.NewStreamsClient(connection).Read(b.Context(), request)
	if err != nil {
		b.Fatal(err)
	}
	var message api.ReadResp
	for {
		if err := call.RecvMsg(&message); errors.Is(err, io.EOF) {
			return time.Since(start), events
		} else if err != nil {
			b.Fatal(err)
		}
		events++
	}
}

// plainServer is the straightforward way: each event is stored as a RecordedEvent message, and
// decoded and encoded again to be sent.
type plainServer struct {
	api.UnimplementedStreamsServer
	db *pebble.DB
}

func openPlainServer(b *testing.B) *plainServer {
	b.Helper()
	db, err := pebble.Open(b.TempDir(),
		&pebble.Options{Logger: pebbleLogger{&Node{logger: slog.New(slog.DiscardHandler)}, newPaced()}})
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() {
		if err := db.Close(); err != nil {
			b.Fatal(err)
		}
	})
	return &plainServer{db: db}
}

func (s *plainServer) store(key, value []byte) {
	var message api.ReadResp
	if err := proto.Unmarshal(record(value).message(), &message); err != nil {
		panic(err)
	}
	recorded, err := proto.Marshal(message.GetEvent().GetEvent())
	if err != nil {
		panic(err)
	}
	if err := s.db.Set(key, recorded, pebble.NoSync); err != nil {
		panic(err)
	}
}

func (s *plainServer) serve(b *testing.B) (socket string) {
	b.Helper()
	socket = filepath.Join(shortDir(b), "s")
	listener, err := net.Listen("unix", socket)
	if err != nil {
		b.Fatal(err)
	}
	server := grpc.NewServer()
	api.RegisterStreamsServer(server, s)
	serverfeatures.RegisterServerFeaturesServer(server, features{})
	go func() {
		if err := server.Serve(listener); err != nil {
			panic(err)
		}
	}()
	b.Cleanup(server.Stop)
	return socket
}

func (s *plainServer) Read(_ *api.ReadReq, stream api.Streams_ReadServer) error {
	iter, err := s.db.NewIter(nil)
	if err != nil {
		return err
	}
	for ok := iter.First(); ok; ok = iter.Next() {
		var recorded api.ReadResp_ReadEvent_RecordedEvent
		if err := proto.Unmarshal(iter.Value(), &recorded); err != nil {
			return errors.Join(err, iter.Close())
		}
		event := &api.ReadResp_ReadEvent{Event: &recorded, Position: &api.ReadResp_ReadEvent_CommitPosition{
			CommitPosition: binary.BigEndian.Uint64(iter.Key()[1:]),
		}}
		if err := stream.Send(&api.ReadResp{Content: &api.ReadResp_Event{Event: event}}); err != nil {
			return errors.Join(err, iter.Close())
		}
	}
	return errors.Join(iter.Error(), iter.Close())
}
