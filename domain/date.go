package domain

import (
	"fmt"
	"time"
)

// Date is a calendar day, "2026-11-23"; its zero value stands for none.
type Date struct{ day time.Time }

// ParseDate reads YYYY-MM-DD between the years 1900 and 9999; "" is the zero Date.
func ParseDate(text string) (Date, error) {
	if text == "" {
		return Date{}, nil
	}
	day, err := time.Parse(time.DateOnly, text)
	if err != nil || day.Year() < 1900 {
		return Date{}, fmt.Errorf("%q is not a date: write YYYY-MM-DD, from the year 1900 on", text)
	}
	return Date{day}, nil
}

// DateOf is the day of t in UTC.
func DateOf(t time.Time) Date { return Date{t.UTC().Truncate(24 * time.Hour)} }

// IsZero says whether there is no date.
func (d Date) IsZero() bool { return d.day.IsZero() }

// Time is the day's first instant in UTC; the zero time for no date.
func (d Date) Time() time.Time { return d.day }

// Before says whether d is an earlier day than other.
func (d Date) Before(other Date) bool { return d.day.Before(other.day) }

func (d Date) String() string {
	if d.IsZero() {
		return ""
	}
	return d.day.Format(time.DateOnly)
}

// MarshalText writes YYYY-MM-DD, or nothing for no date.
func (d Date) MarshalText() ([]byte, error) { return []byte(d.String()), nil }

// UnmarshalText reads what MarshalText wrote.
func (d *Date) UnmarshalText(text []byte) error {
	parsed, err := ParseDate(string(text))
	if err != nil {
		return err
	}
	*d = parsed
	return nil
}
