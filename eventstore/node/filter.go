package node

import (
	"bytes"
	"regexp"

	api "github.com/EventStore/EventStore-Client-Go/v4/protos/streams"
)

// defaultWindow is the window of a filter that gives none.
const defaultWindow = 32

// filter chooses events of $all by their type or stream name. A nil filter chooses all.
type filter struct {
	byStream   bool
	prefixes   [][]byte
	expression *regexp.Regexp

	// checkpointInterval is the number of events considered between two checkpoints.
	checkpointInterval uint64
}

func newFilter(options *api.ReadReq_Options_FilterOptions) (*filter, error) {
	f := &filter{}
	var expression *api.ReadReq_Options_FilterOptions_Expression
	switch by := options.GetFilter().(type) {
	case *api.ReadReq_Options_FilterOptions_StreamIdentifier:
		f.byStream, expression = true, by.StreamIdentifier
	case *api.ReadReq_Options_FilterOptions_EventType:
		expression = by.EventType
	default:
		return nil, invalid("filter is empty: filter by stream_identifier or by event_type")
	}
	for _, prefix := range expression.GetPrefix() {
		f.prefixes = append(f.prefixes, []byte(prefix))
	}
	if len(f.prefixes) == 0 {
		if expression.GetRegex() == "" {
			return nil, invalid("filter has neither prefixes nor a regular expression")
		}
		compiled, err := regexp.Compile(expression.GetRegex())
		if err != nil {
			return nil,
				invalid("filter's regular expression is invalid, or needs what RE2 lacks, such as lookahead: " +
					err.Error())
		}
		f.expression = compiled
	}
	window := uint64(defaultWindow)
	if limit, ok := options.GetWindow().(*api.ReadReq_Options_FilterOptions_Max); ok {
		window = uint64(limit.Max)
	}
	f.checkpointInterval = window * uint64(options.GetCheckpointIntervalMultiplier())
	if f.checkpointInterval == 0 {
		return nil, invalid("filter's window and checkpointIntervalMultiplier must be at least 1")
	}
	return f, nil
}

func (f *filter) matches(r record) bool {
	if f == nil {
		return true
	}
	text := r.eventType()
	if f.byStream {
		text = r.stream()
	}
	if f.expression != nil {
		return f.expression.Match(text)
	}
	for _, prefix := range f.prefixes {
		if bytes.HasPrefix(text, prefix) {
			return true
		}
	}
	return false
}
