package node

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"sync"
	"syscall"
	"time"

	"github.com/cockroachdb/pebble/v2"
	"github.com/cockroachdb/pebble/v2/bloom"
	"github.com/cockroachdb/pebble/v2/vfs"
)

// ErrInUse says that another node, in this process or another, has the store open.
var ErrInUse = errors.New("the event store is open in another process")

// ErrClosed says that the node was closed.
var ErrClosed = errors.New("the event store node is closed")

// Options of a node.
type Options struct {
	// Dir is the folder that holds the store and nothing else. It is created, and made
	// accessible to its owner only (mode 0700).
	Dir string

	// Logger takes what the node and its storage engine have to say. Default: slog.Default().
	Logger *slog.Logger

	// disk stands in for the disk in tests of disk faults.
	disk vfs.FS
}

// Node is one open event store. Its methods may be called from several goroutines.
type Node struct {
	db     *pebble.DB
	lock   *pebble.Lock
	logger *slog.Logger
	head   head
	queue  chan *appendRequest

	closing   chan struct{} // closed: servers stop
	quit      chan struct{} // closed after the servers have stopped: the committer stops
	committer chan struct{} // closed when the committer has stopped

	failed   chan struct{} // closed: no append is taken any more
	failOnce sync.Once
	failure  error // why; read after failed is closed

	mu      sync.Mutex
	closed  bool
	serving sync.WaitGroup
}

// Open opens the store in a folder, or makes a new one there. What earlier nodes have
// acknowledged is there again, also after kill -9 or loss of power. It returns ErrInUse while
// another node has the store open.
func Open(options Options) (*Node, error) {
	if options.Dir == "" {
		return nil, errors.New("node: Dir is empty: name the folder that holds the event store")
	}
	dir, err := filepath.Abs(options.Dir)
	if err != nil {
		return nil, fmt.Errorf("event store folder %s: %w", options.Dir, err)
	}
	if err := makePrivate(dir); err != nil {
		return nil, fmt.Errorf("event store folder %s: %w", dir, err)
	}
	n := &Node{
		logger:    options.Logger,
		queue:     make(chan *appendRequest, 1024),
		closing:   make(chan struct{}),
		quit:      make(chan struct{}),
		committer: make(chan struct{}),
		failed:    make(chan struct{}),
	}
	if n.logger == nil {
		n.logger = slog.Default()
	}
	if options.disk == nil {
		options.disk = vfs.Default
	}
	n.lock, err = lockDirectory(dir, options.disk)
	if err != nil {
		return nil, fmt.Errorf("event store folder %s: %w", dir, err)
	}
	n.db, err = pebble.Open(dir, n.pebbleOptions(options.disk))
	if err != nil {
		return nil, errors.Join(fmt.Errorf("event store folder %s: %w", dir, err), n.lock.Close())
	}
	if err := n.load(); err != nil {
		return nil, errors.Join(fmt.Errorf("event store folder %s: %w", dir, err), n.db.Close(), n.lock.Close())
	}
	go n.commitLoop()
	return n, nil
}

// makePrivate creates a folder that only its owner can enter, or restricts an existing one. New
// folders are synced into their parents: a store must not vanish with its folder.
func makePrivate(dir string) error {
	var parents []string // of the folders that are missing
	for at := dir; ; at = filepath.Dir(at) {
		if _, err := os.Stat(at); !errors.Is(err, fs.ErrNotExist) {
			break
		}
		parents = append(parents, filepath.Dir(at))
	}
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return err
	}
	for _, parent := range parents {
		if err := syncDir(parent); err != nil {
			return err
		}
	}
	info, err := os.Stat(dir)
	if err != nil {
		return err
	}
	if info.Mode().Perm()&0o077 == 0 {
		return nil
	}
	return os.Chmod(dir, 0o700)
}

func syncDir(dir string) error {
	opened, err := os.Open(dir)
	if err != nil {
		return err
	}
	return errors.Join(opened.Sync(), opened.Close())
}

func lockDirectory(dir string, disk vfs.FS) (*pebble.Lock, error) {
	lock, err := pebble.LockDirectory(dir, disk)
	if err == nil {
		return lock, nil
	}
	var path *os.PathError
	if errors.As(err, &path) {
		return nil, err // the lock file itself can't be made
	}
	// What remains is fcntl's EAGAIN or EACCES, or pebble's own error for this process.
	var errno syscall.Errno
	if errors.As(err, &errno) && errno != syscall.EAGAIN && errno != syscall.EACCES {
		return nil, err
	}
	return nil, ErrInUse
}

func (n *Node) pebbleOptions(disk vfs.FS) *pebble.Options {
	options := &pebble.Options{
		FS:                 disk,
		Lock:               n.lock,
		Logger:             pebbleLogger{n, newPaced()},
		FormatMajorVersion: pebble.FormatWALSyncChunks,
		CacheSize:          64 << 20,
		MemTableSize:       32 << 20,
	}
	for i := range options.Levels {
		// Appends ask for heads of streams and for ids that mostly don't exist.
		options.Levels[i].FilterPolicy = bloom.FilterPolicy(10)
		// The engine's own 4 KiB hold five events: whoever read the whole log spent most of the time on finding blocks.
		options.Levels[i].BlockSize = 16 << 10
	}
	return options
}

// load checks the format of the store and finds the end of the log.
func (n *Node) load() error {
	format, found, err := n.get([]byte{keyFormat})
	if err != nil {
		return err
	}
	if !found {
		format = binary.BigEndian.AppendUint64(nil, storeFormat)
		if err := n.db.Set([]byte{keyFormat}, format, pebble.Sync); err != nil {
			return err
		}
	}
	if len(format) != 8 || binary.BigEndian.Uint64(format) != storeFormat {
		return fmt.Errorf("the store has a format that this version doesn't know (%x, known is %d): use the version "+
			"that wrote it or a newer one", format, storeFormat)
	}
	position, err := n.lastPosition()
	if err != nil {
		return err
	}
	n.head.moved = make(chan struct{})
	n.head.position = position
	return nil
}

func (n *Node) lastPosition() (position uint64, err error) {
	iter, err := n.db.NewIter(&pebble.IterOptions{LowerBound: []byte{keyLog}, UpperBound: prefixEnd([]byte{keyLog})})
	if err != nil {
		return 0, err
	}
	defer func() { err = errors.Join(err, iter.Close()) }()
	if iter.Last() {
		position = binary.BigEndian.Uint64(iter.Key()[1:])
	}
	return position, nil
}

// get returns a copy of a value.
func (n *Node) get(key []byte) (value []byte, found bool, err error) {
	stored, closer, err := n.db.Get(key)
	if errors.Is(err, pebble.ErrNotFound) {
		return nil, false, nil
	}
	if err != nil {
		return nil, false, err
	}
	value = append(value, stored...)
	return value, true, closer.Close()
}

// Err returns why the node takes no more appends, or nil. It doesn't recover from that: a write
// that failed leaves open what is on the disk, so the store has to be opened again.
func (n *Node) Err() error {
	select {
	case <-n.failed:
		return n.failure
	default:
		return nil
	}
}

func (n *Node) fail(err error) {
	n.failOnce.Do(func() {
		n.failure = err
		close(n.failed)
		n.logger.Error("the event store accepts no more appends until it is opened again", "error", err)
	})
}

// closeGrace bounds how long calls under way may take to end when a server stops.
const closeGrace = 5 * time.Second

// Close stops all servers of the node and closes the store: subscriptions end with Unavailable,
// appends under way are finished. Further calls do nothing.
func (n *Node) Close() error {
	n.mu.Lock()
	if n.closed {
		n.mu.Unlock()
		return nil
	}
	n.closed = true
	n.mu.Unlock()

	close(n.closing)
	n.serving.Wait()
	close(n.quit)
	if n.Err() != nil {
		return n.closeFailed()
	}
	<-n.committer
	return errors.Join(n.db.Close(), n.lock.Close())
}

// closeFailed closes a store whose engine failed in the middle of its work. Then it may hang or
// panic on closing, and there is nothing left to save: what was acknowledged is on the disk.
func (n *Node) closeFailed() error {
	ctx, cancel := context.WithTimeout(context.Background(), closeGrace)
	defer cancel()
	result := make(chan error, 1)
	go func() {
		defer func() {
			if r := recover(); r != nil {
				result <- fmt.Errorf("closing the failed event store: %v", r)
			}
		}()
		<-n.committer
		result <- errors.Join(n.db.Close(), n.lock.Close())
	}()
	select {
	case err := <-result:
		return err
	case <-ctx.Done():
		return fmt.Errorf("the event store failed before (%w) and can't be closed: end the process", n.failure)
	}
}

// head is the end of the log as readers see it: everything up to it is on the disk.
type head struct {
	mu       sync.Mutex
	position uint64
	moved    chan struct{}
}

// load returns the position of the last event, 0 if there is none, and a channel that is closed
// when it has moved on.
func (h *head) load() (uint64, <-chan struct{}) {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.position, h.moved
}

func (h *head) advance(position uint64) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.position = position
	close(h.moved)
	h.moved = make(chan struct{})
}
