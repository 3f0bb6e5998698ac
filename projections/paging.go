package projections

import (
	"bytes"
	"context"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"
	"golang.org/x/text/collate"
	"golang.org/x/text/language"

	"github.com/secboard/secboard/projections/engine"
)

// Bounds of a page of a list, in items.
const (
	DefaultLimit = 50
	MaxLimit     = 200
)

// Errors of lists.
var (
	// ErrBadCursor: the cursor was not given by this list with this order.
	ErrBadCursor = errors.New("the cursor does not belong to this list in this order: start again without it")
	// ErrBadSort: its text names the orders that the list has.
	ErrBadSort = errors.New("unknown sort")
)

// PageRequest asks for one page of a list.
type PageRequest struct {
	Limit  int    // of items; 0: DefaultLimit, more than MaxLimit: MaxLimit
	Cursor string // of the page before; empty for the first page
	Sort   string // a column, with "-" in front for descending order; empty for the list's own order
}

func (p PageRequest) limit() int {
	if p.Limit <= 0 {
		return DefaultLimit
	}
	return min(p.Limit, MaxLimit)
}

// List is one page. NextCursor is nil on the last one. An item that is there all the time stands on exactly one page,
// whatever is added or changed between two requests, unless its own place in the order changes.
type List[T any] struct {
	Items      []T     `json:"items"`
	NextCursor *string `json:"next_cursor"`
}

// cursor is where a page ended: the last item's sort key and id.
type cursor struct {
	Sort string          `json:"s"`
	Key  json.RawMessage `json:"k"`
	ID   uuid.UUID       `json:"i"` // settles ties; none where keys are unique
}

// order is a column that a list can be sorted by. new makes a place for one of its values.
type order struct {
	column string
	new    func() any
}

func newBytes() any { return new([]byte) }
func newText() any  { return new(string) }
func newTime() any  { return new(time.Time) }
func newInt() any   { return new(int64) }

// query is a SELECT being put together: ? in a condition stands for its next argument.
type query struct {
	columns    string
	from       string
	id         string // unique uuid column that settles ties of the order; empty where there are none
	orders     map[string]order
	byDefault  string
	conditions []string
	args       []any
}

func (q *query) where(condition string, args ...any) {
	for _, arg := range args {
		condition = strings.Replace(condition, "?", q.arg(arg), 1)
	}
	q.conditions = append(q.conditions, condition)
}

func (q *query) arg(value any) string {
	q.args = append(q.args, value)
	return "$" + strconv.Itoa(len(q.args))
}

// whether keeps rows whose column, a boolean, has a value. The value stands in the statement, because an index of the
// rows that have it is of no use to a statement for either value.
func (q *query) whether(column string, value bool) {
	if value {
		q.where(column)
	} else {
		q.where("NOT " + column)
	}
}

// containing keeps rows whose column, lower-case text, contains each word of text, in any order and case.
func (q *query) containing(column, text string) {
	for word := range strings.FieldsSeq(strings.ToLower(text)) {
		q.where(column+` LIKE '%' || ? || '%'`,
			strings.NewReplacer(`\`, `\\`, `%`, `\%`, `_`, `\_`).Replace(engine.Storable(word)))
	}
}

// searchText is what a list's query looks at.
func searchText(parts ...string) string { return strings.ToLower(strings.Join(parts, " ")) }

// list runs a query for one page. scan reads a row's columns, passing on to rows.Scan what it gets last.
func list[T any](ctx context.Context, pool *pgxpool.Pool, q query, page PageRequest,
	scan func(rows pgx.Rows, place ...any) (T, error)) (List[T], error) {
	sort := page.Sort
	if sort == "" {
		sort = q.byDefault
	}
	name, descending := strings.CutPrefix(sort, "-")
	by, ok := q.orders[name]
	if !ok {
		return List[T]{}, fmt.Errorf("%w: the list can be sorted by %s, with - in front for descending order",
			ErrBadSort, strings.Join(slices.Sorted(maps.Keys(q.orders)), ", "))
	}
	direction, comparison := "ASC", ">"
	if descending {
		direction, comparison = "DESC", "<"
	}
	if page.Cursor != "" {
		key, id, err := readCursor(page.Cursor, sort, by)
		if err != nil {
			return List[T]{}, err
		}
		if q.id == "" {
			q.where(by.column+" "+comparison+" ?", key)
		} else {
			q.where(fmt.Sprintf("(%s, %s) %s (?, ?)", by.column, q.id, comparison), key, id)
		}
	}
	limit := page.limit()
	where := ""
	if len(q.conditions) > 0 {
		where = " WHERE " + strings.Join(q.conditions, " AND ")
	}
	places, orderBy := by.column, by.column+" "+direction
	if q.id != "" {
		places, orderBy = places+", "+q.id, orderBy+", "+q.id+" "+direction
	}
	rows, err := pool.Query(ctx, fmt.Sprintf("SELECT %s, %s FROM %s%s ORDER BY %s LIMIT %d",
		q.columns, places, q.from, where, orderBy, limit+1), q.args...)
	if err != nil {
		return List[T]{}, err
	}
	defer rows.Close()
	result := List[T]{Items: []T{}}
	var last cursor
	for rows.Next() {
		if len(result.Items) == limit {
			text, err := last.text()
			if err != nil {
				return List[T]{}, err
			}
			result.NextCursor = &text
			break
		}
		key := by.new()
		place := []any{key, &last.ID}
		if q.id == "" {
			place = place[:1]
		}
		item, err := scan(rows, place...)
		if err != nil {
			return List[T]{}, err
		}
		result.Items = append(result.Items, item)
		last.Sort = sort
		if last.Key, err = json.Marshal(key); err != nil {
			return List[T]{}, err
		}
	}
	rows.Close()
	return result, rows.Err()
}

func (c cursor) text() (string, error) {
	content, err := json.Marshal(c)
	return base64.RawURLEncoding.EncodeToString(content), err
}

// readCursor takes a text only as cursor.text writes it.
func readCursor(text, sort string, by order) (key any, id uuid.UUID, err error) {
	var read cursor
	content, err := base64.RawURLEncoding.DecodeString(text)
	if err != nil || json.Unmarshal(content, &read) != nil || read.Sort != sort {
		return nil, uuid.Nil, ErrBadCursor
	}
	key = by.new()
	if string(read.Key) == "null" || json.Unmarshal(read.Key, key) != nil {
		return nil, uuid.Nil, ErrBadCursor
	}
	if name, ok := key.(*string); ok && strings.ContainsRune(*name, 0) { // which Postgres would refuse
		return nil, uuid.Nil, ErrBadCursor
	}
	if read.Key, err = json.Marshal(key); err != nil {
		return nil, uuid.Nil, ErrBadCursor
	}
	if written, err := read.text(); err != nil || written != text {
		return nil, uuid.Nil, ErrBadCursor
	}
	return key, read.ID, nil
}

// nameKey sorts names as people of any language expect, in every database: it is a collation key of the Unicode
// collation algorithm, compared byte by byte.
func nameKey(name string) []byte {
	collator := collators.Get().(*collate.Collator)
	defer collators.Put(collator)
	key := collator.KeyFromString(new(collate.Buffer), name)
	return bytes.Clone(key[:min(len(key), maxNameKey)])
}

// maxNameKey is in bytes: some characters have keys of a hundred, and an index entry of Postgres has at most 2,700.
// Names that differ only behind that sort by their ids.
const maxNameKey = 1000

// collators: making one is expensive, and none may be used by two at once.
var collators = sync.Pool{New: func() any { return collate.New(language.Und) }}
