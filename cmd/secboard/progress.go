package main

import (
	"fmt"
	"os"
	"strings"
	"time"

	"github.com/dustin/go-humanize"
	"golang.org/x/term"
)

// progress shows long work on standard error: a bar that moves on a terminal, else a line now and then.
type progress struct {
	p        *program
	terminal bool
	width    int // of the last line on a terminal
	step     string
	said     time.Time
}

// linePace is how often progress makes a line where there is no terminal.
const linePace = 10 * time.Second

func (p *program) progress() *progress {
	file, ok := p.stderr.(*os.File)
	return &progress{p: p, terminal: ok && term.IsTerminal(int(file.Fd()))}
}

// show says how far a step is: done of total, a rate for each second, and the time that all takes further. What is 0
// is unknown, and so is a negative eta.
func (g *progress) show(step string, done, total, rate int64, eta time.Duration) {
	parts := []string{step}
	switch {
	case total > 0:
		parts = append(parts, fmt.Sprintf("%s of %s events", humanize.Comma(done), humanize.Comma(total)))
	case done > 0:
		parts = append(parts, humanize.Comma(done)+" events")
	}
	if rate > 0 {
		parts = append(parts, humanize.Comma(rate)+" events/s")
	}
	if eta >= 0 {
		parts = append(parts, "ready in "+eta.Round(time.Second).String())
	}
	line := strings.Join(parts, ", ")
	if !g.terminal {
		if step != g.step || time.Since(g.said) >= linePace {
			g.step, g.said = step, time.Now()
			g.p.complain(line)
		}
		return
	}
	if total > 0 {
		const cells = 30
		full := int(min(done, total) * cells / total)
		line = "[" + strings.Repeat("█", full) + strings.Repeat("░", cells-full) + "] " + line
	}
	pad := max(0, g.width-len(line))
	g.width = len(line)
	//nolint:errcheck // if standard error is gone there is nobody left to tell
	_, _ = fmt.Fprint(g.p.stderr, "\r"+line+strings.Repeat(" ", pad))
}

// end leaves the line.
func (g *progress) end() {
	if g.terminal && g.width > 0 {
		g.p.complain("")
	}
}

// counting gives a function that is told about each event of a step. total is 0 where it is unknown.
func (g *progress) counting(step string, total int64) func(done int64) {
	started, last := time.Now(), time.Time{}
	return func(done int64) {
		if done%1000 != 0 && done != total || time.Since(last) < 200*time.Millisecond {
			return
		}
		last = time.Now()
		spent := last.Sub(started)
		rate, eta := int64(float64(done)/max(spent.Seconds(), 0.001)), time.Duration(-1)
		if total > 0 && done > 0 {
			eta = time.Duration(float64(spent) * float64(total-done) / float64(done))
		}
		g.show(step, done, total, rate, eta)
	}
}
