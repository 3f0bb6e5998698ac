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

	"github.com/google/uuid"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

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
	contents := []string{`{"b":1,"a":"é<&>\u2028"}`, `{ "spaced" : [1, 2 ] }`, "{\"two\":\n\"lines\"}", "no JSON \x00\xff", `"text"`, "null", ""}
	revisions := map[string]eventstore.Revision{}
	for i := range 120 {
		stream := fmt.Sprintf("user-%d", i/3%5)
		expected := eventstore.NoStream
		if revision, exists := revisions[stream]; exists {
			expected = revision
		}
		appended, err := log.Append(t.Context(), stream, expected, []eventstore.Proposed{
			{ID: uuid.New(), Type: "user.registered", Data: []byte(contents[i%len(contents)]), Metadata: []byte(contents[(i+1)%len(contents)])},
		})
		require.NoError(t, err)
		revisions[stream] = appended.Revision
	}
	return everything(t, log)
}

func everything(t *testing.T, log eventstore.Log) []eventstore.Recorded {
	t.Helper()
	var events []eventstore.Recorded
	for event, err := range log.ReadAll(t.Context(), 0) {
		require.NoError(t, err)
		events = append(events, event)
	}
	return events
}

func written(t *testing.T, log eventstore.Log) []byte {
	t.Helper()
	var file bytes.Buffer
	summary, err := backup.Write(t.Context(), &file, log, time.Now(), silent)
	require.NoError(t, err)
	checked, err := backup.Check(t.Context(), bytes.NewReader(file.Bytes()), silent)
	require.NoError(t, err)
	assert.Equal(t, summary, checked)
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
	embedded, err := node.Open(node.Options{Dir: filepath.Join(t.TempDir(), "store"), Logger: slog.New(slog.DiscardHandler)})
	require.NoError(t, err)
	require.NoError(t, embedded.AppendInOrder(t.Context(), appends(file, 0)))
	require.NoError(t, embedded.AppendInOrder(t.Context(), appends(file, 0)), "a second time")
	require.NoError(t, embedded.Close())
	address, _ := nodetest.ListenAndServe(t, filepath.Join(t.TempDir(), "other"), "127.0.0.1:0")
	remote, err := esdb.Connect("esdb://"+address+"?tls=false", esdb.Options{})
	require.NoError(t, err)
	t.Cleanup(func() { assert.NoError(t, remote.Close()) })
	require.NoError(t, backup.AppendTo(t.Context(), remote, appends(file, 0), time.Minute))

	restored := everything(t, remote)
	require.Len(t, restored, len(original))
	for i := range original {
		want, got := original[i], restored[i]
		got.Position, got.Created = want.Position, want.Created // those of a store
		if want.Data == nil {
			want.Data = got.Data
		}
		assert.Equal(t, want, got)
	}
	assert.Equal(t, everything(t, source), original)
	same, err := backup.Compare(t.Context(), bytes.NewReader(file), remote, silent)
	require.NoError(t, err)
	assert.EqualValues(t, len(original), same)
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
	require.ErrorIs(t, backup.AppendTo(t.Context(), target, cut, time.Minute), interruption)
	had, err := backup.Compare(t.Context(), bytes.NewReader(file), target, silent)
	require.NoError(t, err)
	require.Positive(t, had)
	require.Less(t, had, int64(len(original)))
	require.NoError(t, backup.AppendTo(t.Context(), target, appends(file, had), time.Minute))
	same, err := backup.Compare(t.Context(), bytes.NewReader(file), target, silent)
	require.NoError(t, err)
	assert.EqualValues(t, len(original), same)

	_, err = target.Append(t.Context(), "user-more", eventstore.NoStream, []eventstore.Proposed{{ID: uuid.New(), Type: "user.registered", Data: []byte("{}"), Metadata: []byte("{}")}})
	require.NoError(t, err)
	_, err = backup.Compare(t.Context(), bytes.NewReader(file), target, silent)
	require.ErrorIs(t, err, backup.ErrNotEmpty)
	other := nodetest.Connect(t)
	fill(t, other) // the same but for the ids
	_, err = backup.Compare(t.Context(), bytes.NewReader(file), other, silent)
	require.ErrorIs(t, err, backup.ErrNotEmpty)
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
		require.Error(t, check(file[:length]), "cut after %d of %d bytes", length, len(file))
	}
	for at := range file {
		altered := slices.Clone(file)
		altered[at] ^= 0x10
		if err := check(altered); err == nil {
			// Some bits of a Zstandard frame mean nothing. Then the content has to be the same.
			target := nodetest.Connect(t)
			require.NoError(t, backup.AppendTo(t.Context(), target, appends(altered, 0), time.Minute))
			assert.Equal(t, len(everything(t, source)), len(everything(t, target)), "byte %d altered", at)
		}
	}
	require.ErrorIs(t, check(append(slices.Clone(file), file...)), backup.ErrBroken)
	require.ErrorIs(t, check([]byte("something else")), backup.ErrBroken)
	require.ErrorIs(t, check(nil), backup.ErrBroken)
}
