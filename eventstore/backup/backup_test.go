package backup_test

import (
	"bytes"
	"errors"
	"fmt"
	"iter"
	"log/slog"
	"path/filepath"
	"slices"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/uuid"

	"github.com/secboard/secboard/eventstore"
	"github.com/secboard/secboard/eventstore/backup"
	"github.com/secboard/secboard/eventstore/esdb"
	"github.com/secboard/secboard/eventstore/node"
	"github.com/secboard/secboard/eventstore/nodetest"
)

func silent(int64) {}

// fill writes events of interleaved streams, with contents that a careless format would change.
func fill(t *testing.T, log eventstore.Log) []eventstore.Recorded {
	t.Helper()
	contents := []string{`{"b":1,"a":"é<&>\u2028"}`, `{ "spaced" : [1, 2 ] }`, "{\"two\":\n\"lines\"}",
		"no JSON \x00\xff", `"text"`, "null", ""}
	revisions := map[string]eventstore.Revision{}
	for i := range 120 {
		stream := fmt.Sprintf("user-%d", i/3%5)
		expected := eventstore.NoStream
		if revision, exists := revisions[stream]; exists {
			expected = revision
		}
		appended, err := log.Append(t.Context(), stream, expected, []eventstore.Proposed{
			{ID: uuid.New(), Type: "user.registered", Data: []byte(contents[i%len(contents)]),
				Metadata: []byte(contents[(i+1)%len(contents)])},
		})
		if err != nil {
			t.Fatal(err)
		}
		revisions[stream] = appended.Revision
	}
	return everything(t, log)
}

func everything(t *testing.T, log eventstore.Log) []eventstore.Recorded {
	t.Helper()
	var events []eventstore.Recorded
	for event, err := range log.ReadAll(t.Context(), 0) {
		if err != nil {
			t.Fatal(err)
		}
		events = append(events, event)
	}
	return events
}

func written(t *testing.T, log eventstore.Log) []byte {
	t.Helper()
	var file bytes.Buffer
	summary, err := backup.Write(t.Context(), &file, log, time.Now(), silent)
	if err != nil {
		t.Fatal(err)
	}
	checked, err := backup.Check(t.Context(), bytes.NewReader(file.Bytes()), silent)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(summary, checked); diff != "" {
		t.Errorf("checked (-want +got):\n%s", diff)
	}
	return file.Bytes()
}

// appends gives those of a file behind some events.
func appends(file []byte, after int64) iter.Seq2[eventstore.Append, error] {
	return backup.Appends(bytes.NewReader(file), after, silent)
}

func TestARestoredLogIsTheOneThatWasBackedUp(t *testing.T) {
	t.Parallel()
	source := nodetest.Connect(t)
	original := fill(t, source)
	file := written(t, source)
	embedded, err := node.Open(
		node.Options{Dir: filepath.Join(t.TempDir(), "store"), Logger: slog.New(slog.DiscardHandler)})
	if err != nil {
		t.Fatal(err)
	}
	if err := embedded.AppendInOrder(t.Context(), appends(file, 0)); err != nil {
		t.Fatal(err)
	}
	if err := embedded.AppendInOrder(t.Context(), appends(file, 0)); err != nil {
		t.Fatalf("a second time: %v", err)
	}
	if err := embedded.Close(); err != nil {
		t.Fatal(err)
	}
	address, _ := nodetest.ListenAndServe(t, filepath.Join(t.TempDir(), "other"), "127.0.0.1:0")
	remote, err := esdb.Connect("esdb://"+address+"?tls=false", esdb.Options{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := remote.Close(); err != nil {
			t.Error(err)
		}
	})
	if err := backup.AppendTo(t.Context(), remote, appends(file, 0), time.Minute); err != nil {
		t.Fatal(err)
	}

	restored := everything(t, remote)
	if len(restored) != len(original) {
		t.Fatalf("restored has %d elements, want %d: %v", len(restored), len(original), restored)
	}
	for i := range original {
		want, got := original[i], restored[i]
		got.Position, got.Created = want.Position, want.Created // those of a store
		if want.Data == nil {
			want.Data = got.Data
		}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("got (-want +got):\n%s", diff)
		}
	}
	if diff := cmp.Diff(everything(t, source), original); diff != "" {
		t.Errorf("original (-want +got):\n%s", diff)
	}
	same, err := backup.Compare(t.Context(), bytes.NewReader(file), remote, silent)
	if err != nil {
		t.Fatal(err)
	}
	if int(same) != len(original) {
		t.Errorf("%d events are the same, want %d", same, len(original))
	}
}

func TestAnInterruptedRestoreGoesOn(t *testing.T) {
	t.Parallel()
	source := nodetest.Connect(t)
	original := fill(t, source)
	file := written(t, source)
	target := nodetest.Connect(t)
	interruption := errors.New("interrupted")
	cut := func(yield func(eventstore.Append, error) bool) {
		count := 0
		for next, err := range appends(file, 0) {
			if count += len(next.Events); count > 50 {
				yield(eventstore.Append{}, interruption)
				return
			}
			if !yield(next, err) {
				return
			}
		}
	}
	if err := backup.AppendTo(t.Context(), target, cut, time.Minute); !errors.Is(err, interruption) {
		t.Fatalf("%v, want %v", err, interruption)
	}
	had, err := backup.Compare(t.Context(), bytes.NewReader(file), target, silent)
	if err != nil {
		t.Fatal(err)
	}
	if had <= 0 {
		t.Fatalf("had = %v", had)
	}
	if had >= int64(len(original)) {
		t.Fatalf("had = %v, want less than %v", had, int64(len(original)))
	}
	if err := backup.AppendTo(t.Context(), target, appends(file, had), time.Minute); err != nil {
		t.Fatal(err)
	}
	same, err := backup.Compare(t.Context(), bytes.NewReader(file), target, silent)
	if err != nil {
		t.Fatal(err)
	}
	if int(same) != len(original) {
		t.Errorf("%d events are the same, want %d", same, len(original))
	}

	_, err = target.Append(t.Context(), "user-more", eventstore.NoStream,
		[]eventstore.Proposed{{ID: uuid.New(), Type: "user.registered", Data: []byte("{}"), Metadata: []byte("{}")}})
	if err != nil {
		t.Fatal(err)
	}
	_, err = backup.Compare(t.Context(), bytes.NewReader(file), target, silent)
	if !errors.Is(err, backup.ErrNotEmpty) {
		t.Fatalf("%v, want %v", err, backup.ErrNotEmpty)
	}
	other := nodetest.Connect(t)
	fill(t, other) // the same but for the ids
	_, err = backup.Compare(t.Context(), bytes.NewReader(file), other, silent)
	if !errors.Is(err, backup.ErrNotEmpty) {
		t.Fatalf("%v, want %v", err, backup.ErrNotEmpty)
	}
}

func TestACutOrAlteredFileIsRefused(t *testing.T) {
	t.Parallel()
	source := nodetest.Connect(t)
	fill(t, source)
	file := written(t, source)
	check := func(content []byte) error {
		_, err := backup.Check(t.Context(), bytes.NewReader(content), silent)
		return err
	}
	for length := range file {
		if err := check(file[:length]); err == nil {
			t.Fatalf("cut after %d of %d bytes: no error", length, len(file))
		}
	}
	for at := range file {
		altered := slices.Clone(file)
		altered[at] ^= 0x10
		if err := check(altered); err == nil {
			// Some bits of a Zstandard frame mean nothing. Then the content has to be the same.
			target := nodetest.Connect(t)
			if err := backup.AppendTo(t.Context(), target, appends(altered, 0), time.Minute); err != nil {
				t.Fatal(err)
			}
			if got := len(everything(t, target)); got != len(everything(t, source)) {
				t.Errorf("byte %d altered: got %v, want %v", at, got, len(everything(t, source)))
			}
		}
	}
	if err := check(append(slices.Clone(file), file...)); !errors.Is(err, backup.ErrBroken) {
		t.Fatalf("%v, want %v", err, backup.ErrBroken)
	}
	if err := check([]byte("something else")); !errors.Is(err, backup.ErrBroken) {
		t.Fatalf("%v, want %v", err, backup.ErrBroken)
	}
	if err := check(nil); !errors.Is(err, backup.ErrBroken) {
		t.Fatalf("%v, want %v", err, backup.ErrBroken)
	}
}
